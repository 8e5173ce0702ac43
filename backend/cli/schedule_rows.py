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
FEW = 2
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
        when_text(schedule),
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
        case "rrule":
            return f"{trigger['rule']} from {trigger['dtstart']} {zone}"
    return str(trigger.get("kind"))


def exclusion_text(exclusion: Json) -> str:
    """Word an exclusion in a few characters.

    >>> exclusion_text({"kind": "range", "from": "2026-12-24", "to": "2027-01-01"})
    '2026-12-24 to 2027-01-01 UTC'
    """
    zone = exclusion.get("timezone") or "UTC"
    match exclusion.get("kind"):
        case "cron":
            return f"{exclusion['expression']} {zone}"
        case "date":
            return f"{exclusion['date']} {zone}"
        case "range":
            return f"{exclusion['from']} to {exclusion['to']} {zone}"
        case "calendar":
            return f"calendar {exclusion['calendar']} {zone}"
    return str(exclusion.get("kind"))


def when_text(schedule: Json) -> str:
    """Word all triggers in a line; what is excluded by its name if it is little, else by its number."""
    fires = ", ".join(trigger_text(trigger) for trigger in schedule.get("triggers") or ())
    excluded = [exclusion_text(one) for one in schedule.get("exclusions") or ()]
    if not excluded:
        return fires
    return f"{fires}, except " + (", ".join(excluded) if len(excluded) <= FEW else f"{len(excluded)} exclusions")


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
        *[("except", exclusion_text(one)) for one in schedule.get("exclusions") or ()],
        ("in words", schedule.get("description")),
        *[("warning", text) for text in schedule.get("warnings") or ()],
        ("target", target_text(schedule.get("target") or {})),
        ("next", next_text(schedule, now).removeprefix("next ") if next_time(schedule) else None),
        ("jitter", _jitter(schedule)),
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
    most = schedule.get("max_runs")
    limit = [f"at most {most} run{'s' if most > 1 else ''}"] if most else []
    return ", ".join([" ".join(bounds)] * bool(bounds) + limit)


def _jitter(schedule: Json) -> str:
    jitter = schedule.get("jitter")
    return f"up to {jitter} later, each occurrence by an amount of its own" if jitter not in {None, "0s"} else ""


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
    """Print next times: in the rule's own zone, in UTC, how far away, and what is odd about them.

    Where jitter delays any, a column says when each fires in fact.
    """
    columns = [Column("LOCAL"), Column("ZONE", flexible=True), Column("UTC"), Column("", right=True)]
    seconds = any(times.moment(item["nominal_time"]).second for item in found)
    delayed = any(_fires(item) != item["nominal_time"] for item in found)
    if delayed:
        columns.insert(3, Column("FIRES"))
    rows = [_occurrence(item, now, seconds=seconds, delayed=delayed) for item in found]
    print_table(columns, [Row(row, item.get("note") or "") for row, item in zip(rows, found, strict=True)])


def _fires(item: Json) -> str:
    return str(item.get("scheduled_time") or item["nominal_time"])


def _occurrence(item: Json, now: datetime, *, seconds: bool, delayed: bool) -> Sequence[str]:
    nominal, fires = item["nominal_time"], _fires(item)
    when = times.moment(item.get("local_time") or nominal)
    return (
        f"{when:%a} {times.clock_text(when, seconds=seconds)}",
        item.get("timezone") or "UTC",
        nominal,
        *([times.utc_after(fires, nominal)] if delayed else []),
        times.relative(fires, now) if times.moment(fires) >= now else "",
    )
