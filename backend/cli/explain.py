"""The command that answers "why?"."""

from __future__ import annotations

import re
from typing import Annotated, Any

from cyclopts import Parameter

from backend.cli import times
from backend.cli.options import DEFAULTS, Common, connect
from backend.cli.output import print_fields, print_line, tell
from backend.cli.schedules import Id

Json = dict[str, Any]
GOOD = frozenset({"fired", "will_fire"})


def explain(
    id_: Id,
    /,
    *,
    at: Annotated[
        str,
        Parameter(help="2026-12-01T09:00:00Z, or without an offset local time in the schedule's zone."),
    ],
    common: Common = DEFAULTS,
) -> None:
    """Say why a schedule did, did not, will or will not fire at an instant."""
    tell(connect(common).get("schedules", id_, "explain", query={"at": at}), show_explanation, as_json=common.json)


def show_explanation(answer: Json) -> None:
    """Print the sentence, and what it rests on."""
    print_line(answer["sentence"], "green" if answer["verdict"] in GOOD else "yellow")
    rule, pause, revision, nearest = (answer.get(name) or {} for name in ("rule", "pause", "revision", "nearest"))
    window, jitter, run = (answer.get(name) or {} for name in ("window", "jitter", "run"))
    rows = [
        ("verdict", answer["verdict"]),
        ("at", f"{answer['at']}, local {answer['local_time']} {answer['timezone']}"),
        ("rule", rule.get("description")),
        ("window", _window(window)),
        ("due", jitter and _due(jitter, answer["at"])),
        ("paused", pause and _paused(pause)),
        ("run", run and f"{run['id']} {run['state']}{_stands_for(run)}"),
        ("beside", ", ".join(f"{run['id']} {run['trigger_type']} {run['state']}" for run in answer["other_runs"])),
        ("revision", revision and _revision(revision)),
        ("before", nearest.get("previous") or "none"),
        ("after", nearest.get("next") or "none"),
    ]
    print_fields([(name, str(value)) for name, value in rows if value])


def _short(text: str | None) -> str:
    """Write an instant to the millisecond."""
    return re.sub(r"(\.\d{3})\d+", r"\1", text or times.NONE)


def _paused(pause: Json) -> str:
    return f"{pause.get('by') or times.NONE}, {_short(pause.get('at'))} {pause.get('note')}".rstrip()


def _revision(revision: Json) -> str:
    return f"{revision['number']}, {_short(revision['changed_at'])} by {revision['changed_by']}"


def _due(jitter: Json, at: str) -> str:
    due = _short(jitter["scheduled_time"])
    return due if jitter["nominal_time"] == at else f"{due}, the occurrence of {jitter['nominal_time']}"


def _window(window: Json) -> str:
    return f"{window.get('start_at') or '…'} to {window.get('end_at') or '…'}" if window else ""


def _stands_for(run: Json) -> str:
    missed = run["missed"]
    if not missed["count"] or missed["first"] != run["nominal_time"]:
        return ""
    return f", one record of {missed['count']} up to {missed['last']}"
