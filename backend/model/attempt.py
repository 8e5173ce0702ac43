"""One dispatch of a run: how it ended, and what that makes of the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from backend.model.policies import Delivery, Reason, RetryPolicy
from backend.model.run import AttemptState, ClaimedRun, RunState


class Declined(NamedTuple):
    """A worker may not do what it has claimed, and has not begun it."""

    times: int
    """How often in a row before."""
    elsewhere: bool
    """Another worker that is there may do it."""
    unable_since_at: int | None
    """Since when no worker could."""
    available_at: int
    """Since when it has waited to be claimed."""
    ability: str | None = None
    """What the other worker may do and this one may not; only who may it too is offered the run again."""


class Ended(NamedTuple):
    """How an attempt ended. `retry_after` in seconds, as the target asked."""

    run_id: str
    number: int
    state: AttemptState
    permanent: bool
    retry_after: float | None
    declined: Declined | None = None


class Limits(NamedTuple):
    """What bounds the retries of a run."""

    policy: RetryPolicy
    delivery: Delivery
    uncounted: int
    """Attempts that were lost or released: they are no failures."""
    retry_until_at: int


class Settled(NamedTuple):
    """What an ended attempt makes of its run. `available_at` is when the next attempt may start."""

    state: RunState
    reason: Reason | None
    available_at: int
    finished_at: int | None
    unable_since_at: int | None = None


class Reaped(NamedTuple):
    """What a lost attempt makes of its run."""

    state: RunState
    reason: Reason | None
    losses: int
    error: str | None


class AttemptResult(NamedTuple):
    """What a worker writes back, naming the lease under which it worked."""

    run: ClaimedRun
    token: str
    worker: str
    schedule_id: str
    target: str
    """The kind of target that was invoked."""
    ended: Ended
    limits: Limits
    error: str | None
    output: str
    output_truncated: bool
    status_code: int | None


Settler = Callable[[Ended, Limits, int], Settled]
"""(ended, limits, now) → what becomes of the run."""


class LostSettler(Protocol):
    """Decides what becomes of a run whose attempt was lost."""

    def __call__(self, losses: int, *, at_most_once: bool) -> Reaped: ...
