"""What planning a schedule yields: rows for the ledger and the schedule's new position in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple

from backend.model.schedule import Schedule


class NewRun(NamedTuple):
    """One row for the ledger `runs`. Instants in microseconds."""

    id: str
    schedule_key: int
    namespace: str
    nominal_at: int
    backfill_id: str
    trigger_type: str
    state: str
    reason: str | None
    scheduled_at: int
    queued_at: int
    available_at: int
    finished_at: int | None
    retry_until_at: int
    chained: int
    """0: alone; else one of a chain of which so many are at work at a time."""
    missed_count: int
    missed_first_at: int | None
    missed_last_at: int | None
    input: str | None
    revision: int


class RangeExtension(NamedTuple):
    """More occurrences for a range row that stands already."""

    schedule_key: int
    nominal_at: int
    added: int
    last_at: int


class Stop(StrEnum):
    """How the open runs of a schedule make room for a newer one."""

    ASK = "ask"
    """Those that wait are cancelled; one that is at work is asked to stop, and the newer one waits for its end."""
    REVOKE = "revoke"
    """All are cancelled at once; whoever works on one loses the lease."""


class Displacement(NamedTuple):
    """The open runs of a schedule make room for the occurrence at `nominal_at`."""

    schedule_key: int
    nominal_at: int
    how: Stop


class Planned(NamedTuple):
    """The outcome of planning one schedule up to an instant."""

    schedule: Schedule
    """The schedule with its new position; only what planning may change differs."""
    runs: Sequence[NewRun]
    extension: RangeExtension | None
    failure: str | None
    """Why planning failed; then there are no runs and the schedule is in state `error`."""
    walked: int = 0
    """How many instants were visited, or would have been for as much work."""
    unfinished: bool = False
    """Instants are due that this walk left to the next one."""
    displaces: Displacement | None = None


class Standing(NamedTuple):
    """A schedule, and what of it is under way. Backfills do not count."""

    schedule: Schedule
    open_run: bool
    buffered: int
    """Occurrences that wait for the end of the open runs."""
    room: int | None = None
    """How many runs its namespace may start; None: any number."""


Planner = Callable[[Sequence[Standing], int, str], Sequence[Planned]]
"""(schedules, now, the store's id) → one Planned each; never raises.

There may be fewer than schedules: the rest is left to the next turn."""
