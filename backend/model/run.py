"""A run: what one occurrence, or a person's wish, becomes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from backend.model.ids import RunId


class RunState(StrEnum):
    """Where a run stands."""

    BUFFERED = "buffered"
    """Waits, by its overlap policy, until no run of its schedule is open."""
    HELD = "held"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    DEAD = "dead"
    SKIPPED = "skipped"
    MISSED = "missed"


OPEN_STATES = frozenset({RunState.HELD, RunState.QUEUED, RunState.RUNNING, RunState.RETRYING})
"""What counts as open for the overlap policy."""
FINAL_STATES = frozenset(RunState) - OPEN_STATES - {RunState.BUFFERED}

# Every legal move; the store's statements each make one of them, conditional on the state it starts from.
MOVES: dict[RunState, frozenset[RunState]] = {
    RunState.BUFFERED: frozenset({RunState.QUEUED, RunState.CANCELLED, RunState.SKIPPED}),
    RunState.HELD: frozenset({RunState.QUEUED, RunState.CANCELLED, RunState.SKIPPED}),
    RunState.QUEUED: frozenset({RunState.RUNNING, RunState.CANCELLED, RunState.SKIPPED}),
    RunState.RUNNING: frozenset(
        {
            RunState.SUCCEEDED,
            RunState.FAILED,
            RunState.TIMED_OUT,
            RunState.RETRYING,
            RunState.QUEUED,
            RunState.DEAD,
            RunState.CANCELLED,
        }
    ),
    RunState.RETRYING: frozenset({RunState.RUNNING, RunState.CANCELLED, RunState.SKIPPED}),
}


class AttemptState(StrEnum):
    """How one dispatch of a run ended, or that it has not."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    RELEASED = "released"
    LOST = "lost"


class TriggerType(StrEnum):
    """What made a run."""

    SCHEDULE = "schedule"
    MANUAL = "manual"
    BACKFILL = "backfill"
    RETRY = "retry"
    NOTIFICATION = "notification"


class ClaimedRun(NamedTuple):
    """A run under lease. Instants in microseconds; `input` is the JSON of a manual trigger's input."""

    key: int
    id: str
    schedule_key: int
    namespace: str
    nominal_at: int
    scheduled_at: int
    started_at: int
    """When this attempt was claimed."""
    attempt: int
    losses: int
    released: int
    retry_until_at: int
    trigger_type: str
    missed_count: int
    missed_first_at: int | None
    missed_last_at: int | None
    input: str | None


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One attempt as its target sees it. `timeout` in seconds, instants in microseconds."""

    run_id: RunId
    schedule_id: str
    namespace: str
    trigger_type: str
    nominal_at: int
    scheduled_at: int
    attempt: int
    timeout: float
    input: dict[str, Any]
    missed_count: int
    missed_first_at: int | None
    missed_last_at: int | None
    traceparent: str | None = None
    """Names the span of this attempt, where traces are on."""
