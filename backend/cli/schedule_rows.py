"""How a person reads schedules and their times."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from backend.cli import times
from backend.cli.output import Column, Row, print_table

Json = dict[str, Any]
OFFSET = re.compile(r"(?:[Zz]|[+-]\d\d:\d\d)\Z")
COLUMNS = (
    Column("ID", flexible=True),
    Column("STATE"),
    Column("WHEN", flexible=True, whole=True),
    Column("NEXT"),
    Column(""),
    Column("LAST"),
)


def print_schedules(found: Sequence[Json], now: datetime) -> None:
    """Print schedules as a table."""
    print_table(
        COLUMNS, [Row(_cells(schedule, now), note_text(schedule) or schedule.get("error") or "") for schedule in found]
    )


def _cells(schedule: Json, now: datetime) -> Sequence[str]:
    upcoming, last = next_time(schedule), schedule.get("last_run")
    return (
        schedule["id"],
        schedule["state"],
        ", ".join(trigger_text(trigger) for trigger in schedule.get("triggers") or ()),
        times.local(upcoming),
        times.relative(upcoming, now) if upcoming else "",
        last["state"] if last else times.NONE,
    )


def next_time(schedule: Json) -> str | None:
    """Give the schedule's next time, if it is going to fire."""
    if schedule["state"] != "active":
        return None
    return schedule.get("next_scheduled_time") or schedule.get("next_nominal_time")


def trigger_text(trigger: Json) -> str:
    """Word a trigger in a few characters.

    >>> trigger_text({"kind": "interval", "every": "15m"})
    'every 15m'
    """
    zone = trigger.get("timezone") or "UTC"
    match trigger.get("kind"):
        case "cron":
            return f"{trigger['expression']} {zone}"
        case "interval":
            return f"every {trigger['every']}"
        case "once":
            at = str(trigger["at"])
            return f"at {at}" if OFFSET.search(at) else f"at {at} {zone}"
    return str(trigger.get("kind"))


def target_text(to: Json) -> str:
    """Word a target in one line."""
    match to.get("kind"):
        case "http":
            return f"{to.get('method', 'POST')} {to.get('url')}"
        case "command":
            return shlex.join(str(part) for part in to.get("argv", ()))
    return str(to.get("kind", times.NONE))


def next_text(schedule: Json, now: datetime) -> str:
    """Say when a schedule fires next, or why it does not."""
    upcoming = next_time(schedule)
    if upcoming is None:
        return f"it is {schedule['state']}"
    if times.moment(upcoming) < now:
        return f"catching up from {times.local(upcoming)}"
    return f"next {times.local(upcoming)}, {times.relative(upcoming, now)}"


def describe(schedule: Json, now: datetime) -> list[tuple[str, str]]:
    """Word a schedule, one field a line; what says nothing is left out."""
    retry = schedule.get("retry") or {}
    rows = [
        ("state", schedule["state"]),
        ("note", _note(schedule, now)),
        ("error", schedule.get("error")),
        ("name", schedule.get("name") if schedule.get("name") != schedule["id"] else None),
        *[("when", trigger_text(trigger)) for trigger in schedule.get("triggers") or ()],
        *[("except", trigger_text(trigger)) for trigger in schedule.get("exclusions") or ()],
        ("target", target_text(schedule.get("target") or {})),
        ("next", next_text(schedule, now).removeprefix("next ") if next_time(schedule) else None),
        ("window", _window(schedule)),
        ("owner", schedule.get("owner")),
        ("tags", " ".join(f"{key}={value}" for key, value in (schedule.get("tags") or {}).items())),
        ("input", _json(schedule.get("input"))),
        ("policies", f"misfire {schedule.get('misfire_policy')}, overlap {schedule.get('overlap_policy')}"),
        ("attempts", f"{retry.get('max_attempts')}, each at most {schedule.get('timeout')}"),
        ("revision", f"{schedule.get('revision')}, by {schedule.get('created_by')}"),
    ]
    return [(name, str(value)) for name, value in rows if value]


def note_text(schedule: Json) -> str:
    """Give the note; of a schedule that paused itself with the way out."""
    note = str(schedule.get("note") or "")
    if note and schedule["state"] == "paused" and schedule.get("note_by") == "scheduler":
        return f"{note}; fix the target, then scheduler resume {schedule['id']}"
    return note


def _note(schedule: Json, now: datetime) -> str:
    by, at = schedule.get("note_by"), schedule.get("note_at")
    author = f" — {by}, {times.relative(at, now)}" if by and at else ""
    return f"{note_text(schedule)}{author}" if schedule.get("note") else ""


def _window(schedule: Json) -> str:
    bounds = [
        f"{word} {times.local(schedule[field])}"
        for word, field in (("from", "start_at"), ("until", "end_at"))
        if schedule.get(field)
    ]
    return " ".join(bounds) + (f" at most {schedule['max_runs']} runs" if schedule.get("max_runs") else "")


def _json(document: object) -> str:
    return json.dumps(document, ensure_ascii=False) if document else ""


def silence(schedule: Json) -> str:
    """Say why a schedule's times will not fire; empty if they will."""
    return {
        "paused": "paused: these times would fire if it were resumed",
        "completed": "completed: it will not fire again",
        "error": "in error: it is planned again when that is mended, see `scheduler show`",
    }.get(schedule["state"], "")


def occurrences(answer: Json) -> list[Json]:
    """Give the next times of an answer of `upcoming` or `preview`."""
    return list(answer.get("occurrences") or answer.get("items") or ())


def print_occurrences(found: Sequence[Json], now: datetime) -> None:
    """Print next times: in the rule's own zone, in UTC, how far away, and what is odd about them."""
    columns = [Column("LOCAL"), Column("ZONE", flexible=True), Column("UTC"), Column("", right=True)]
    seconds = any(times.moment(item["nominal_time"]).second for item in found)
    print_table(columns, [Row(_occurrence(item, now, seconds=seconds), item.get("note") or "") for item in found])


def _occurrence(item: Json, now: datetime, *, seconds: bool) -> Sequence[str]:
    nominal = item["nominal_time"]
    when = times.moment(item.get("local_time") or nominal)
    return (
        f"{when:%a} {times.clock_text(when, seconds=seconds)}",
        item.get("timezone") or "UTC",
        nominal,
        times.relative(nominal, now) if times.moment(nominal) >= now else "",
    )
