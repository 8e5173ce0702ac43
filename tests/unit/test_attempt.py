"""One attempt: what its target sees, and how its outcome is classified."""

from __future__ import annotations

import pytest

from backend.model.policies import Delivery
from backend.model.run import ClaimedRun
from backend.targets.base import Failed, Succeeded
from backend.worker.attempt import Assignment, TimedOut, dispatch_of, released, result_of
from tests.unit.engine_cases import errand

RUN = ClaimedRun(
    key=1,
    id="run-1",
    schedule_key=7,
    namespace="default",
    nominal_at=100,
    scheduled_at=110,
    started_at=120,
    attempt=4,
    losses=2,
    released=1,
    retry_until_at=999,
    trigger_type="schedule",
    missed_count=3,
    missed_first_at=10,
    missed_last_at=90,
    input=None,
)
ERRAND = '[1,{"kind":"http","url":"https://example.org/"},{},"3m",{},"at_least_once"]'


def assignment(text: str | None = None, **changes) -> Assignment:
    return Assignment(RUN._replace(**changes), "token", "w1", "digest", text or ERRAND)


def test_a_target_sees_the_run_and_the_schedules_input():
    wanted = errand(input={"a": 1}, timeout="90s")
    seen = dispatch_of(assignment(), wanted)
    assert (seen.run_id, seen.schedule_id, seen.namespace, seen.attempt) == ("run-1", "digest", "default", 4)
    assert (seen.nominal_at, seen.scheduled_at, seen.timeout, seen.input) == (100, 110, 90.0, {"a": 1})
    assert (seen.missed_count, seen.missed_first_at, seen.missed_last_at) == (3, 10, 90)


def test_the_input_of_a_manual_trigger_goes_over_the_schedules():
    seen = dispatch_of(assignment(input='{"b": 3, "c": 4}'), errand(input={"a": 1, "b": 2}))
    assert seen.input == {"a": 1, "b": 3, "c": 4}


@pytest.mark.parametrize(
    ("outcome", "state", "error", "permanent", "retry_after"),
    [
        (Succeeded("ok", status_code=200), "succeeded", None, False, None),
        (Failed("503", permanent=False, retry_after=7.0), "failed", "503", False, 7.0),
        (Failed("404", permanent=True), "failed", "404", True, None),
        (TimedOut(180.0), "timed_out", "timed out after 180 s and was stopped", False, None),
    ],
)
def test_an_outcome_is_classified(outcome, state, error, permanent, retry_after):
    result = result_of(assignment(), errand(), outcome)
    assert (result.ended.state, result.error, result.ended.permanent) == (state, error, permanent)
    assert (result.ended.retry_after, result.ended.number, result.ended.run_id) == (retry_after, 4, "run-1")
    assert (result.token, result.worker, result.target) == ("token", "w1", "http")


def test_lost_and_released_attempts_are_named_as_uncounted():
    limits = result_of(assignment(), errand(delivery="at_most_once"), Succeeded()).limits
    assert (limits.uncounted, limits.retry_until_at, limits.delivery) == (3, 999, Delivery.AT_MOST_ONCE)


def test_a_run_is_given_back_also_when_its_definition_cannot_be_read():
    assert released(assignment()).ended.state == "released"
    assert released(assignment("nonsense")).target == "unknown"


def test_a_long_error_is_cut():
    result = result_of(assignment(), errand(), Failed("x" * 5_000, permanent=False))
    assert result.error == "x" * 2_000
