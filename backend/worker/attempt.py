"""One attempt as a pipeline: read the errand, perform, classify."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from secrets import token_urlsafe
from types import MappingProxyType
from typing import Final, NamedTuple

from backend.engine.errand import Errand, load_errand, telling
from backend.model.attempt import AttemptResult, Declined, Ended, Limits
from backend.model.callback import SECRET_BYTES, Expectation, callback_token, hash_of_token
from backend.model.ids import RunId
from backend.model.instants import micros
from backend.model.policies import Completion, Delivery, RetryPolicy
from backend.model.run import AttemptState, Callback, ClaimedRun, Dispatch, TriggerType
from backend.model.secret import Secret, references_of
from backend.model.trace_ids import traceparent
from backend.store.egress import load_egress
from backend.store.keyring import KeyRing, Unreadable
from backend.targets.base import Failed, Outcome, Succeeded, Tools
from backend.targets.redaction import Redaction, redacting
from backend.worker.fleet import ALONE, Fleet

MENTION: Final = '"secret"'
NOTHING: Final[Mapping[str, Secret]] = MappingProxyType({})


class Assignment(NamedTuple):
    """A run under our lease, with what is to be carried out."""

    run: ClaimedRun
    token: str
    worker: str
    schedule_id: str
    errand: str | None
    secrets: Mapping[str, str] = MappingProxyType({})
    """What the errand refers to, encrypted, by name."""
    egress: str | None = None
    """Which hosts may be called, as it is stored."""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The attempt was over its time and was stopped."""

    seconds: float


Expect = Callable[[Expectation], Awaitable[bool]]
"""Notes the token that a callee will be told; False if the lease is lost."""


async def perform(
    assignment: Assignment,
    tools: Tools,
    expect: Expect,
    ring: KeyRing | None = None,
    fleet: Fleet = ALONE,
) -> AttemptResult | None:
    """Dispatch the run once and say how it went, None if the lease is lost; never raises but for cancellation.

    `ring` decrypts its secrets.
    """
    try:
        errand = load_errand(assignment.errand)
    except ValueError as error:
        text = f"the stored definition cannot be read: {error}"
        return result_of(assignment, None, Failed(text[:2000], permanent=True))
    try:
        secrets = opened(assignment, errand, ring or KeyRing())
    except SecretProblem as problem:
        return result_of(assignment, errand, Failed(str(problem), problem.permanent))
    with redacting(secrets) as redaction:
        errand = _worded(assignment, errand)
        dispatch = dispatch_of(assignment, errand, secrets, traced=tools.rules.traced)
        if errand.completion is Completion.CALLBACK:
            dispatch = replace(dispatch, callback=_callback(assignment.run, tools.rules.public_url))
            # Before the dispatch: a callee may be done before we have heard that it has begun.
            if not await expect(_expectation(assignment, errand, dispatch)):
                return None
        outcome = clean(await _perform(errand, dispatch, tools), redaction)
    if isinstance(outcome, Failed) and outcome.barred:
        return _barred(assignment, errand, outcome, fleet)
    return result_of(assignment, errand, outcome)


def _worded(assignment: Assignment, errand: Errand) -> Errand:
    if assignment.run.trigger_type != TriggerType.NOTIFICATION:
        return errand
    return telling(errand, json.loads(assignment.run.input or "{}"))


def _barred(assignment: Assignment, errand: Errand, failed: Failed, fleet: Fleet) -> AttemptResult:
    """Leave it to a worker that may; what is barred for good fails at once where there never is another."""
    if able := {one.name: ability for one in fleet.colleagues if (ability := one.ability(errand.target))}:
        error = f"worker {assignment.worker} may not run this ({failed.error}); it waits for {_named([*able])}"
        return _declined(assignment, errand, replace(failed, error=error), next(iter(able.values())))
    if not failed.permanent:
        error = f"no worker may run this; worker {assignment.worker}: {failed.error}"
        return _declined(assignment, errand, replace(failed, error=error))
    failed = replace(failed, error=f"{failed.error} (worker {assignment.worker}, and no other may)")
    if fleet.alone:
        return result_of(assignment, errand, failed)
    return _declined(assignment, errand, failed)


def _named(workers: Sequence[str]) -> str:
    names = ", ".join(workers[:3])
    return f"{names} and {len(workers) - 3} more" if len(workers) > 3 else names


def _declined(assignment: Assignment, errand: Errand, failed: Failed, ability: str | None = None) -> AttemptResult:
    result = _result(assignment, errand, AttemptState.RELEASED, failed)
    run = assignment.run
    declined = Declined(run.declined, ability is not None, run.unable_since_at, run.available_at, ability)
    return result._replace(ended=result.ended._replace(declined=declined, permanent=True))


class SecretProblem(Exception):
    """A secret that the target refers to is not to be had."""

    def __init__(self, text: str, *, permanent: bool) -> None:
        super().__init__(text)
        self.permanent = permanent


def opened(assignment: Assignment, errand: Errand, ring: KeyRing) -> dict[str, Secret]:
    """Decrypt what the target refers to; SecretProblem names the first that is not to be had."""
    if MENTION not in (assignment.errand or ""):
        return {}
    namespace, secrets = assignment.run.namespace, {}
    for where, name in references_of(errand.target.model_dump(mode="json")):
        if name not in assignment.secrets:
            raise SecretProblem(f"{where}: there is no secret {name!r} any more", permanent=True)
        try:
            secrets[name] = ring.open(assignment.secrets[name], namespace, name)
        except Unreadable as error:
            # Without its key, this worker cannot; another may, or this one after it was started with the key.
            raise SecretProblem(str(error), permanent=error.altered) from None
    return secrets


def clean(outcome: Outcome | TimedOut, redaction: Redaction) -> Outcome | TimedOut:
    """Take secrets out of what nobody has taken them out of before: the words of an exception."""
    match outcome:
        case TimedOut():
            return outcome
        case Succeeded():
            return replace(outcome, output=redaction.clean_text(outcome.output))
        case Failed():
            error, output = redaction.clean_text(outcome.error), redaction.clean_text(outcome.output)
            return replace(outcome, error=error, output=output)


def _callback(run: ClaimedRun, public_url: str | None) -> Callback:
    url = public_url and f"{public_url}/api/v1/runs/{run.id}"
    return Callback(callback_token(run.key, token_urlsafe(SECRET_BYTES)), url)


def _expectation(assignment: Assignment, errand: Errand, dispatch: Dispatch) -> Expectation:
    assert dispatch.callback is not None
    run, silence = assignment.run, errand.heartbeat_timeout
    until = run.started_at + micros(errand.timeout)
    hash_ = hash_of_token(dispatch.callback.token)
    return Expectation(run.key, assignment.token, hash_, until, None if silence is None else micros(silence))


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


def dispatch_of(
    assignment: Assignment, errand: Errand, secrets: Mapping[str, Secret] = NOTHING, *, traced: bool = False
) -> Dispatch:
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
        started_at=run.started_at,
        secrets=secrets,
        egress=load_egress(assignment.egress),
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
        case Succeeded() if errand is not None and errand.completion is Completion.CALLBACK:
            return _result(assignment, errand, AttemptState.RUNNING, outcome)
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
