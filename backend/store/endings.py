"""How runs ended, and what of it is worth telling."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from backend.model.attempt import AttemptResult, Settled
from backend.model.instants import rfc3339
from backend.model.notices import LEAST_LATENESS, NoticeEvent, NoticeFact
from backend.model.run import RunState
from backend.store.notices import late_fact


class Finished(NamedTuple):
    """A result, what it made of the run, and whether it was accepted: False means the lease was lost."""

    result: AttemptResult
    settled: Settled
    accepted: bool
    at: int


def facts_of(
    counted: Sequence[Finished], streaks: Mapping[int, int], expected: Collection[int], instant: int
) -> Iterator[NoticeFact]:
    """Say what of these ends is worth telling; of `expected` schedules also that they succeeded again."""
    failed: dict[int, Finished] = {}
    for f in counted:
        run, state = f.result.run, f.settled.state
        lateness = run.started_at - run.scheduled_at
        if run.attempt == 1 and lateness >= LEAST_LATENESS:
            yield late_fact(run.schedule_key, run.id, run.nominal_at, lateness)
        if state in {RunState.FAILED, RunState.TIMED_OUT, RunState.DEAD}:
            failed[run.schedule_key] = f
        elif state is RunState.SUCCEEDED:
            failed.pop(run.schedule_key, None)
            if run.schedule_key in expected:
                yield NoticeFact(NoticeEvent.RECOVERY, run.schedule_key, instant, run.id, {"run": _told(f)})
    for key, f in failed.items():
        details = {"failures": streaks.get(key), "run": _told(f)}
        yield NoticeFact(NoticeEvent.FAILURE, key, instant, f.result.run.id, details, streaks.get(key))


def _told(f: Finished) -> dict[str, Any]:
    run = f.result.run
    return {
        "id": run.id,
        "nominal_time": rfc3339(run.nominal_at),
        "state": f.settled.state,
        "attempt": run.attempt,
        "status_code": f.result.status_code,
        "error": (f.result.error or "")[:300] or None,
    }


def pause_fact(key: int, text: str, instant: int) -> NoticeFact:
    """Say that a schedule has paused itself."""
    return NoticeFact(NoticeEvent.AUTO_PAUSE, key, instant, f"{key}/{instant}", {"note": text})
