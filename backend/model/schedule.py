"""A schedule as it is stored: definition, state, and how far its occurrences have been planned."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class ScheduleState(StrEnum):
    """Where a schedule stands."""

    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    ERROR = "error"


class Schedule(NamedTuple):
    """One row of `schedules`. Instants and lengths in microseconds; `triggers` and `definition` are JSON text.

    A named tuple, because the engine makes thousands of them per turn. The statements that fill it name
    their columns in this order (tested).
    """

    key: int
    namespace: str
    id: str
    name: str
    owner: str | None
    target_kind: str
    state: str
    note: str
    note_by: str | None
    note_at: int | None
    definition: str
    triggers: str
    revision: int
    source: str | None
    created_at: int
    created_by: str
    updated_at: int
    effective_at: int
    """Recurring triggers plan no instant at or before this one."""
    cursor_at: int
    """The last nominal time that has been planned."""
    next_nominal_at: int | None
    next_scheduled_at: int | None
    """When the engine has to look again; None: never by itself."""
    misfire_policy: str
    misfire_threshold: int
    catchup_window: int
    overlap_policy: str
    delivery: str
    pause_after_failures: int
    jitter: int
    max_runs: int | None
    runs_made: int
    """Occurrences that became runs, for `max_runs`."""
    paused_cursor_at: int | None
    """The cursor at the time of pausing: where a resume with catch-up starts again."""
    missed_count: int
    """Missed occurrences that the next run will carry, because one walk over time did not reach now."""
    missed_first_at: int | None
    missed_last_at: int | None
    skip_reason: str | None
    """Reason of the latest occurrences that did not run, how many in a row, and the open range row."""
    skip_count: int
    skip_range_at: int | None
    failure_streak: int
    permanent_streak: int
    streak_since_at: int | None
    error: str | None
    error_count: int
    deleted_at: int | None
