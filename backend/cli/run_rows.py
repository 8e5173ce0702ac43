"""How runs are chosen, and how a person reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from backend.cli import times
from backend.cli.output import Column, Row, console, print_rows

Json = dict[str, Any]
State = Literal[
    "buffered",
    "held",
    "queued",
    "running",
    "retrying",
    "succeeded",
    "failed",
    "timed_out",
    "cancelled",
    "dead",
    "skipped",
    "missed",
]
DROPPED = frozenset({"skipped", "missed"})
REASONS = {
    "overlap": "an earlier run was still open",
    "paused": "the schedule was paused",
    "catchup_window": "older than the catch-up window",
    "cap": "beyond what is caught up at once",
    "error": "its times could not be planned",
    "deleted": "the schedule was deleted",
    "lost": "the worker was lost",
}
COLUMNS = (
    Column("WHEN"),
    Column("SCHEDULE", flexible=True),
    Column("STATE"),
    Column("TRY", right=True),
    Column("LATE", right=True),
    Column("TOOK", right=True),
)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which runs."""

    schedule: Annotated[str | None, Parameter(help="Only this schedule's.")] = None
    state: Annotated[State | None, Parameter(help="Only runs in this state.")] = None
    from_: Annotated[str | None, Parameter(name="--from", help="Nominal time at or after 2026-12-01T09:00:00Z.")] = None
    to: Annotated[str | None, Parameter(help="Nominal time before 2026-12-01T09:00:00Z.")] = None

    @property
    def path(self) -> tuple[str, ...]:
        """Where the server lists them."""
        return ("schedules", self.schedule, "runs") if self.schedule else ("runs",)


def print_runs(found: Sequence[Json], now: datetime) -> None:
    """Print runs as a table."""
    print_rows(console(), COLUMNS, [run_row(run, now) for run in found], title=True)


def run_row(run: Json, now: datetime) -> Row:
    """Word a run in one row; its error or the reason why it did not run is the note."""
    return Row(
        (
            times.both(run["nominal_time"], now),
            run["schedule_id"],
            run["state"],
            str(run["attempt"] or times.NONE),
            lateness(run),
            times.length(times.between(run.get("started_at"), run.get("finished_at"))),
        ),
        note_of(run),
    )


def lateness(run: Json) -> str:
    """Say how long after its time the run started; where a clock stepped back meanwhile, not at all."""
    late = times.between(run["scheduled_time"], run.get("started_at"))
    return times.length(None if late is None else max(late, timedelta(0)))


def note_of(run: Json) -> str:
    """Say what is odd about a run: why it failed or did not run, what it stands for."""
    kind = run.get("trigger_type")
    parts = [
        reason_text(run),
        (run.get("error") or "").partition("\n")[0],
        _others(run),
        str(kind) if kind not in {None, "schedule"} else "",
    ]
    return "; ".join(part for part in parts if part)


def reason_text(run: Json) -> str:
    """Say why an occurrence did not run."""
    reason = run.get("reason") or ""
    return "" if reason == run["state"] else REASONS.get(reason, reason)


def _others(run: Json) -> str:
    """Say what a row stands for: a range that did not run, or the missed occurrences that a run makes up for."""
    missed = run.get("missed") or {}
    if not missed.get("count"):
        return ""
    if run["state"] in DROPPED:
        last = missed.get("last")
        return f"{missed['count']} occurrences" + (f" until {times.local(last)}" if last else "")
    return f"{missed['count']} missed before it"


def describe_run(run: Json, now: datetime) -> list[tuple[str, str]]:
    """Word a run, one field a line; what says nothing is left out."""
    missed = run.get("missed") or {}
    rows = [
        ("schedule", run["schedule_id"]),
        ("state", run["state"]),
        ("reason", "; ".join(part for part in (run.get("reason"), reason_text(run)) if part)),
        ("error", run.get("error")),
        ("made by", run.get("trigger_type")),
        ("nominal", _instant(run["nominal_time"], now)),
        ("scheduled", _instant(run["scheduled_time"], now) if run["scheduled_time"] != run["nominal_time"] else None),
        ("started", _instant(run["started_at"], now, f", {lateness(run)} late") if run.get("started_at") else None),
        ("finished", _instant(run["finished_at"], now) if run.get("finished_at") else None),
        ("took", times.length(times.between(run.get("started_at"), run.get("finished_at")))),
        (
            "stands for" if run["state"] in DROPPED else "missed",
            f"{missed['count']}, {missed.get('first')} to {missed.get('last')}" if missed.get("count") else None,
        ),
    ]
    return [(name, str(value)) for name, value in rows if value]


def _instant(text: str, now: datetime, more: str = "") -> str:
    return f"{times.local(text)} ({text}), {times.relative(text, now)}{more}"


def describe_attempt(attempt: Json) -> list[tuple[str, str]]:
    """Word an attempt, one field a line."""
    rows = [
        ("state", attempt["state"]),
        ("status", attempt.get("status_code")),
        ("error", attempt.get("error")),
        ("started", attempt.get("started_at")),
        ("took", times.length(times.between(attempt.get("started_at"), attempt.get("finished_at")))),
        ("worker", attempt.get("worker")),
    ]
    return [(name, str(value)) for name, value in rows if value]
