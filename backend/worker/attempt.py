"""One attempt as a pipeline: read the errand, perform, classify."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import NamedTuple

from backend.engine.errand import Errand, load_errand, telling
from backend.model.attempt import AttemptResult, Ended, Limits
from backend.model.ids import RunId
from backend.model.policies import Delivery, RetryPolicy
from backend.model.run import AttemptState, ClaimedRun, Dispatch, TriggerType
from backend.model.trace_ids import traceparent
from backend.targets.base import Failed, Outcome, Succeeded, Tools


class Assignment(NamedTuple):
    """A run under our lease, with what is to be carried out."""

    run: ClaimedRun
    token: str
    worker: str
    schedule_id: str
    errand: str | None


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The attempt was over its time and was stopped."""

    seconds: float


async def perform(assignment: Assignment, tools: Tools) -> AttemptResult:
    """Dispatch the run once and say how it went; never raises but for cancellation."""
    try:
        errand = load_errand(assignment.errand)
    except ValueError as error:
        text = f"the stored definition cannot be read: {error}"
        return result_of(assignment, None, Failed(text[:2000], permanent=True))
    if assignment.run.trigger_type == TriggerType.NOTIFICATION:
        errand = telling(errand, json.loads(assignment.run.input or "{}"))
    dispatch = dispatch_of(assignment, errand, traced=tools.rules.traced)
    return result_of(assignment, errand, await _perform(errand, dispatch, tools))


async def _perform(errand: Errand, dispatch: Dispatch, tools: Tools) -> Outcome | TimedOut:
    deadline = asyncio.timeout(dispatch.timeout)
    try:
        async with deadline:
            return await errand.target.perform(dispatch, tools)
    except TimeoutError as error:
        if deadline.expired():
            return TimedOut(dispatch.timeout)
        return Failed(f"TimeoutError: {error}", permanent=False)
    except Exception as error:  # a defect of a target kind is one failed attempt, not the end of the worker
        return Failed(f"{type(error).__name__}: {error}", permanent=False)


def dispatch_of(assignment: Assignment, errand: Errand, *, traced: bool = False) -> Dispatch:
    """Show the run to its target; the input of a manual trigger goes over the schedule's."""
    run = assignment.run
    return Dispatch(
        run_id=RunId(run.id),
        schedule_id=assignment.schedule_id,
        namespace=run.namespace,
        trigger_type=run.trigger_type,
        nominal_at=run.nominal_at,
        scheduled_at=run.scheduled_at,
        attempt=run.attempt,
        timeout=errand.timeout.total_seconds(),
        input=errand.input | (json.loads(run.input) if run.input else {}),
        missed_count=run.missed_count,
        missed_first_at=run.missed_first_at,
        missed_last_at=run.missed_last_at,
        traceparent=traceparent(run.id, run.attempt) if traced else None,
    )


def released(assignment: Assignment) -> AttemptResult:
    """Give the run back unfinished, for another worker to take."""
    error = "stopped because its worker was shutting down"
    return _result(assignment, _errand(assignment), AttemptState.RELEASED, Failed(error, permanent=False))


def cancelled(assignment: Assignment) -> AttemptResult:
    """End the run unfinished, to make room for a later one."""
    error = "stopped for a later occurrence (overlap_policy: cancel_other)"
    return _result(assignment, _errand(assignment), AttemptState.CANCELLED, Failed(error, permanent=False))


def _errand(assignment: Assignment) -> Errand | None:
    try:
        return load_errand(assignment.errand)
    except ValueError:
        return None


def result_of(assignment: Assignment, errand: Errand | None, outcome: Outcome | TimedOut) -> AttemptResult:
    """Classify an outcome."""
    match outcome:
        case Succeeded():
            return _result(assignment, errand, AttemptState.SUCCEEDED, outcome)
        case Failed():
            return _result(assignment, errand, AttemptState.FAILED, outcome)
        case TimedOut(seconds):
            failed = Failed(f"timed out after {seconds:g} s and was stopped", permanent=False)
            return _result(assignment, errand, AttemptState.TIMED_OUT, failed)


def _result(assignment: Assignment, errand: Errand | None, state: AttemptState, outcome: Outcome) -> AttemptResult:
    run = assignment.run
    failure = outcome if isinstance(outcome, Failed) else None
    return AttemptResult(
        run=run,
        token=assignment.token,
        worker=assignment.worker,
        schedule_id=assignment.schedule_id,
        target=errand.target.kind if errand else "unknown",
        ended=Ended(
            run_id=run.id,
            number=run.attempt,
            state=state,
            permanent=failure is not None and failure.permanent,
            retry_after=failure.retry_after if failure else None,
        ),
        limits=Limits(
            policy=errand.retry if errand else RetryPolicy(),
            delivery=errand.delivery if errand else Delivery.AT_LEAST_ONCE,
            uncounted=run.losses + run.released,
            retry_until_at=run.retry_until_at,
        ),
        error=_storable(failure.error)[:2000] if failure else None,
        output=_storable(outcome.output),
        output_truncated=outcome.truncated,
        status_code=outcome.status_code,
    )


def _storable(text: str) -> str:
    """Replace what no database takes: lone surrogates and NUL."""
    return text.encode(errors="replace").decode().replace("\0", "�")
