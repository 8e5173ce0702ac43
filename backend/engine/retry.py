"""Whether, and when, a run is attempted again."""

from __future__ import annotations

import hashlib

from backend.model.attempt import Declined, Ended, Limits, Reaped, Settled
from backend.model.instants import SECOND, micros
from backend.model.policies import Delivery, Reason, RetryPolicy
from backend.model.run import AttemptState, RunState

MAX_LOSSES = 5
"""A run whose attempts were lost this often, with nobody to say what happened, is dead."""

DECLINED_PAUSES = (SECOND, 15 * SECOND)
"""How long a run rests, at first and at most, that a worker gave back because it may not do it; the pause doubles."""
UNABLE = 60 * SECOND
"""A run that no worker could do for so long has failed: a worker that is started again is back sooner."""


def settle(ended: Ended, limits: Limits, now: int) -> Settled:
    """Decide what an ended attempt makes of its run. No retry is planned at or after `retry_until_at`."""
    if ended.state is AttemptState.SUCCEEDED:
        return Settled(RunState.SUCCEEDED, None, now, now)
    if ended.state is AttemptState.CANCELLED:
        return Settled(RunState.CANCELLED, None, now, now)
    if ended.declined is not None:
        return _settle_declined(ended.declined, now)
    once = limits.delivery is Delivery.AT_MOST_ONCE
    if ended.state is AttemptState.RELEASED:
        return Settled(RunState.FAILED, Reason.LOST, now, now) if once else Settled(RunState.QUEUED, None, now, None)
    counted = ended.number - limits.uncounted
    retry_at = now + back_off(ended, limits.policy, counted)
    again = not (once or ended.permanent) and counted < limits.policy.max_attempts
    if again and retry_at < limits.retry_until_at:
        return Settled(RunState.RETRYING, None, retry_at, None)
    final = RunState.TIMED_OUT if ended.state is AttemptState.TIMED_OUT else RunState.FAILED
    return Settled(final, None, now, now)


def _settle_declined(declined: Declined, now: int) -> Settled:
    """Let another worker take it; nothing was dispatched, so this holds for `at_most_once` as well."""
    since = None if declined.elsewhere else _unable_since(declined, now)
    if since is not None and now - since >= UNABLE:
        return Settled(RunState.FAILED, None, now, now, since)
    first, longest = DECLINED_PAUSES
    return Settled(RunState.RETRYING, None, now + min(first << min(declined.times, 8), longest), None, since)


def _unable_since(declined: Declined, now: int) -> int:
    # Nobody who could have said so was there for long, as after an outage: who comes back now shall have its minute.
    unheard = now - declined.available_at >= UNABLE
    return now if declined.unable_since_at is None or unheard else declined.unable_since_at


def back_off(ended: Ended, policy: RetryPolicy, counted: int) -> int:
    """Wait between 0 and the exponential bound ("full jitter"), and never less than the target asked; microseconds.

    The jitter is a hash of the run and the attempt, so it is the same whoever computes it.
    """
    growth = policy.multiplier ** min(counted - 1, 64)
    bound = min(micros(policy.maximum), micros(policy.initial) * growth)
    asked = int((ended.retry_after or 0) * SECOND)
    return max(int(bound * _fraction(f"{ended.run_id}/{ended.number}")), asked)


def _fraction(text: str) -> float:
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def settle_lost(losses: int, *, at_most_once: bool) -> Reaped:
    """Decide what becomes of a run whose worker fell silent: no failure, unless it may not be sent again."""
    if at_most_once:
        return Reaped(RunState.FAILED, Reason.LOST, losses + 1, "the attempt was lost and may not be sent again")
    if losses + 1 >= MAX_LOSSES:
        return Reaped(RunState.DEAD, Reason.LOST, losses + 1, f"{losses + 1} attempts were lost")
    return Reaped(RunState.QUEUED, None, losses + 1, None)
