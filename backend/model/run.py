"""A run: what one occurrence, or a person's wish, becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from backend.model.egress import ANYWHERE, Egress
from backend.model.ids import RunId

if TYPE_CHECKING:
    from backend.model.secret import Secret  # it imports pydantic, for which the command line would wait


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
    declined: int = 0
    """Times in a row that a worker gave the run back because it may not do it."""
    unable_since_at: int | None = None
    """Since when no worker there could do it, as far as they who gave it back knew."""
    available_at: int = 0
    """Since when it has waited to be claimed."""


@dataclass(frozen=True, slots=True)
class Callback:
    """Where and by which token a callee completes its run; without a URL, the server does not know its own."""

    token: str
    url: str | None


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
    started_at: int = 0
    """When this attempt began."""
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    """The values that the target refers to, by name."""
    egress: Egress = ANYWHERE
    """Which hosts the run's namespace may call."""
    callback: Callback | None = None
    """How the callee is to say what became of the run; None: it says so by answering."""
