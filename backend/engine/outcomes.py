"""Tells what a batch of results has done, whoever wrote it."""

from __future__ import annotations

from collections.abc import Iterator

from backend.events import AttemptFinished, Fact, LeaseLost, RunDeclined, RunHandedOver, ScheduleChanged, SchedulePaused
from backend.model.run import RunState
from backend.store.endings import Finished
from backend.store.leasing import Finish, begun


def facts_of(finish: Finish) -> Iterator[Fact]:
    """List the facts: of each result, and of schedules that it has paused or completed."""
    yield from map(_fact, finish.finished)
    for namespace, schedule_id, note in finish.paused:
        yield SchedulePaused(namespace, schedule_id, note)
    for namespace, schedule_id in finish.completed:
        yield ScheduleChanged(namespace, schedule_id, "completed", "scheduler")


def _fact(finished: Finished) -> Fact:
    result, run = finished.result, finished.result.run
    if not finished.accepted:
        return LeaseLost(run.id, run.attempt, result.worker)
    if finished.settled.state is RunState.RUNNING:
        return RunHandedOver(run.namespace, result.schedule_id, run.id, run.attempt)
    return _finished(finished) if begun(finished) else _declined(finished)


def _finished(finished: Finished) -> AttemptFinished:
    result, run = finished.result, finished.result.run
    return AttemptFinished(
        namespace=run.namespace,
        schedule_id=result.schedule_id,
        run_id=run.id,
        attempt=run.attempt,
        target=result.target,
        outcome=result.ended.state,
        run_state=finished.settled.state,
        error=result.error,
        nominal_at=run.nominal_at,
        scheduled_at=run.scheduled_at,
        started_at=run.started_at,
        finished_at=finished.at,
    )


def _declined(finished: Finished) -> RunDeclined:
    result, run = finished.result, finished.result.run
    return RunDeclined(
        namespace=run.namespace,
        schedule_id=result.schedule_id,
        run_id=run.id,
        worker=result.worker,
        run_state=finished.settled.state,
        error=result.error or "",
        times=run.declined + 1,
    )
