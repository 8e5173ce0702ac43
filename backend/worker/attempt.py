"""One attempt as a pipeline: read the errand, perform, classify."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, NamedTuple

from backend.engine.errand import Errand, load_errand
from backend.model.attempt import AttemptResult, Declined, Ended, Limits
from backend.model.ids import RunId
from backend.model.policies import Delivery, RetryPolicy
from backend.model.run import AttemptState, ClaimedRun, Dispatch
from backend.model.secret import Secret, references_of
from backend.model.trace_ids import traceparent
from backend.store.egress import load_egress
from backend.store.keyring import KeyRing, Unreadable
from backend.targets.abilities import Abilities
from backend.targets.base import Failed, Outcome, Succeeded, Target, Tools
from backend.targets.redaction import Redaction, redacting

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


class Colleague(NamedTuple):
    """A worker that is there, and what it may perform."""

    name: str
    abilities: Abilities

    def ability(self, target: Target) -> str | None:
        """Name by which ability it may do what another found barred; None: it may not."""
        ability = target.ability(self.abilities.rules)
        return ability if ability in self.abilities.kinds else None


async def perform(
    assignment: Assignment, tools: Tools, ring: KeyRing | None = None, colleagues: Sequence[Colleague] = ()
) -> AttemptResult:
    """Dispatch the run once and say how it went; never raises but for cancellation. `ring` decrypts its secrets."""
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
        dispatch = dispatch_of(assignment, errand, secrets, traced=tools.rules.traced)
        outcome = clean(await _perform(errand, dispatch, tools), redaction)
    if isinstance(outcome, Failed) and outcome.barred:
        able = {one.name: ability for one in colleagues if (ability := one.ability(errand.target))}
        return _barred(assignment, errand, outcome, able)
    return result_of(assignment, errand, outcome)


def _barred(assignment: Assignment, errand: Errand, failed: Failed, able: Mapping[str, str]) -> AttemptResult:
    """Leave it to a worker that may; what is barred for good fails when none is there."""
    if able:
        error = f"worker {assignment.worker} may not run this ({failed.error}); it waits for {_named([*able])}"
        return _declined(assignment, errand, replace(failed, error=error), next(iter(able.values())))
    if failed.permanent:
        error = f"{failed.error} (worker {assignment.worker}, and no other may)"
        return result_of(assignment, errand, replace(failed, error=error))
    error = f"no worker may run this; worker {assignment.worker}: {failed.error}"
    return _declined(assignment, errand, replace(failed, error=error))


def _named(workers: Sequence[str]) -> str:
    names = ", ".join(workers[:3])
    return f"{names} and {len(workers) - 3} more" if len(workers) > 3 else names


def _declined(assignment: Assignment, errand: Errand, failed: Failed, ability: str | None = None) -> AttemptResult:
    result = _result(assignment, errand, AttemptState.RELEASED, failed)
    declined = Declined(assignment.run.declined, ability is not None, assignment.run.unable_since_at, ability)
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
