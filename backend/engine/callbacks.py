"""What the word of a callee, or its silence, makes of an attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from backend.duration import format_duration
from backend.engine.errand import Errand, load_errand
from backend.engine.outcomes import facts_of
from backend.engine.retry import settle
from backend.events import Events
from backend.model.attempt import AttemptResult, Ended, Limits
from backend.model.policies import Delivery, RetryPolicy
from backend.model.run import AttemptState
from backend.store.callbacks import Awaited
from backend.store.port import EngineStore
from backend.store.runs import CALLEE


def attempt_of(
    awaited: Awaited,
    state: AttemptState,
    *,
    error: str | None = None,
    output: str = "",
    truncated: bool = False,
    permanent: bool = False,
) -> AttemptResult:
    """Say how an attempt ended, under whichever lease it is."""
    run, errand = awaited.run, _errand(awaited)
    return AttemptResult(
        run=run,
        token=awaited.lease_token,
        worker=CALLEE,
        schedule_id=awaited.schedule_id,
        target=errand.target.kind if errand else "unknown",
        ended=Ended(run.id, run.attempt, state, permanent, None),
        limits=Limits(
            policy=errand.retry if errand else RetryPolicy(),
            delivery=errand.delivery if errand else Delivery.AT_LEAST_ONCE,
            uncounted=run.losses + run.released,
            retry_until_at=run.retry_until_at,
        ),
        error=error,
        output=output,
        output_truncated=truncated,
        status_code=None,
    )


def silent(awaited: Awaited, now: int) -> AttemptResult:
    """Word that a callee has been silent for too long."""
    errand = _errand(awaited)
    if awaited.until is not None and now < awaited.until:
        limit = f" for {format_duration(errand.heartbeat_timeout)}" if errand and errand.heartbeat_timeout else ""
        error = f"timed out: no heartbeat of the callee{limit}, and it has not completed the run"
    else:
        limit = f" after {format_duration(errand.timeout)}" if errand else ""
        error = f"timed out{limit}: the callee has not completed the run"
    return attempt_of(awaited, AttemptState.TIMED_OUT, error=error)


def _errand(awaited: Awaited) -> Errand | None:
    try:
        return load_errand(awaited.errand)
    except ValueError:
        return None


@dataclass(slots=True)
class Listening:
    """Ends the attempts whose callees have fallen silent; but first it gives them the time to be heard at all."""

    store: EngineStore
    events: Events
    wake_workers: Callable[[], None]
    forgiven: bool = field(default=False, init=False)

    async def turn(self, limit: int) -> int:
        """End one batch; answers how many."""
        if not self.forgiven:
            await self.store.forgive_silence()
            self.forgiven = True
        finish = await self.store.end_silent(silent, settle, limit)
        for fact in facts_of(finish):
            self.events.emit(fact)
        if finish.finished:
            self.wake_workers()
        return len(finish.finished)
