"""Whether and when a run is attempted again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backend.engine.retry import MAX_LOSSES, UNABLE, back_off, settle, settle_lost
from backend.model.attempt import Declined, Ended, Limits, Settled
from backend.model.instants import DAY, MINUTE, SECOND
from backend.model.policies import Delivery, Reason, RetryPolicy
from backend.model.run import AttemptState, RunState

NOW = 1_800_000_000 * SECOND


def ended(state: AttemptState = AttemptState.FAILED, *, number: int = 1, permanent: bool = False, **changes) -> Ended:
    return Ended("run-1", number, state, permanent, None)._replace(**changes)


def limits(**changes) -> Limits:
    return Limits(RetryPolicy(), Delivery.AT_LEAST_ONCE, 0, NOW + DAY)._replace(**changes)


def test_a_success_is_final():
    assert settle(ended(AttemptState.SUCCEEDED), limits(), NOW) == Settled(RunState.SUCCEEDED, None, NOW, NOW)


@pytest.mark.parametrize(("number", "state"), [(1, "retrying"), (2, "retrying"), (3, "failed")])
def test_three_attempts_are_made(number, state):
    assert settle(ended(number=number), limits(), NOW).state == state


@pytest.mark.parametrize(
    ("attempt", "final"), [(AttemptState.FAILED, RunState.FAILED), (AttemptState.TIMED_OUT, RunState.TIMED_OUT)]
)
def test_the_last_attempt_names_the_end_of_the_run(attempt, final):
    settled = settle(ended(attempt, number=3), limits(), NOW)
    assert settled == Settled(final, None, NOW, NOW)


def test_a_permanent_failure_is_not_retried():
    assert settle(ended(permanent=True), limits(), NOW).state == RunState.FAILED


@pytest.mark.parametrize("state", [AttemptState.FAILED, AttemptState.TIMED_OUT])
def test_what_may_be_sent_at_most_once_is_never_retried(state):
    assert settle(ended(state), limits(delivery=Delivery.AT_MOST_ONCE), NOW).state in {"failed", "timed_out"}


def test_an_attempt_given_back_waits_for_no_back_off_and_knows_no_deadline():
    settled = settle(ended(AttemptState.RELEASED, number=90), limits(retry_until_at=0), NOW)
    assert settled == Settled(RunState.QUEUED, None, NOW, None)


def test_an_attempt_given_back_that_may_be_sent_once_is_lost():
    settled = settle(ended(AttemptState.RELEASED), limits(delivery=Delivery.AT_MOST_ONCE), NOW)
    assert settled == Settled(RunState.FAILED, Reason.LOST, NOW, NOW)


def test_lost_and_released_attempts_do_not_count():
    assert settle(ended(number=7), limits(uncounted=5), NOW).state == RunState.RETRYING
    assert settle(ended(number=8), limits(uncounted=5), NOW).state == RunState.FAILED


@pytest.mark.parametrize(
    ("until", "state"), [(NOW + MINUTE + 1, "retrying"), (NOW + MINUTE, "failed"), (NOW, "failed")]
)
def test_no_retry_is_planned_at_or_after_the_bound(until, state):
    asked = ended(retry_after=60.0)
    assert settle(asked, limits(retry_until_at=until), NOW).state == state


@pytest.mark.parametrize("number", [1, 2, 3, 10, 100])
def test_the_back_off_stays_under_its_exponential_bound(number):
    policy = RetryPolicy(max_attempts=100)
    waits = {back_off(ended(number=number, run_id=f"run-{n}"), policy, number) for n in range(200)}
    bound = min(10 * 2 ** (number - 1), 600) * SECOND
    assert max(waits) < bound
    assert min(waits) >= 0
    # Full jitter: spread over the whole span, not around its end.
    assert min(waits) < bound / 10
    assert max(waits) > bound * 9 / 10


@pytest.mark.parametrize("multiplier", [1, 2, 100])
def test_the_back_off_survives_five_thousand_attempts(multiplier):
    policy = RetryPolicy(multiplier=multiplier)
    assert 0 <= back_off(ended(number=5_000), policy, 5_000) <= 600 * SECOND


def test_the_longest_policy_there_can_be_survives_too():
    longest = RetryPolicy(initial=timedelta(days=36_500), maximum=timedelta(days=36_500), multiplier=100)
    assert back_off(ended(number=5_000), longest, 5_000) <= 36_500 * DAY


def test_the_jitter_is_the_same_whoever_computes_it_and_differs_by_attempt():
    policy = RetryPolicy()
    assert back_off(ended(), policy, 1) == back_off(ended(), policy, 1)
    assert back_off(ended(number=2), policy, 1) != back_off(ended(number=3), policy, 1)


@pytest.mark.parametrize(("asked", "least"), [(0.5, SECOND // 2), (700.0, 700 * SECOND), (86_400.0, DAY)])
def test_a_target_that_asks_for_time_gets_at_least_that(asked, least):
    assert back_off(ended(retry_after=asked), RetryPolicy(), 1) >= least


def test_a_short_retry_after_does_not_shorten_the_back_off():
    assert back_off(ended(retry_after=0.0), RetryPolicy(), 1) == back_off(ended(), RetryPolicy(), 1)


@pytest.mark.parametrize("losses", range(MAX_LOSSES - 1))
def test_a_lost_attempt_is_queued_again(losses):
    reaped = settle_lost(losses, at_most_once=False)
    assert (reaped.state, reaped.reason, reaped.losses, reaped.error) == ("queued", None, losses + 1, None)


def test_after_five_losses_a_run_is_dead():
    reaped = settle_lost(4, at_most_once=False)
    assert (reaped.state, reaped.reason, reaped.losses) == ("dead", "lost", 5)
    assert reaped.error == "5 attempts were lost"


def test_what_may_be_sent_at_most_once_fails_with_its_first_loss():
    reaped = settle_lost(0, at_most_once=True)
    assert (reaped.state, reaped.reason, reaped.losses) == ("failed", "lost", 1)


def declined(times: int, *, elsewhere: bool, since: int | None = None, available_at: int = NOW) -> Ended:
    return ended(AttemptState.RELEASED)._replace(declined=Declined(times, elsewhere, since, available_at))


@pytest.mark.parametrize(("times", "seconds"), [(0, 1), (1, 2), (3, 8), (4, 15), (5_000, 15)])
def test_a_run_given_back_for_another_worker_rests_longer_each_time_but_never_long(times, seconds):
    settled = settle(declined(times, elsewhere=True, since=NOW - DAY), limits(retry_until_at=NOW), NOW)
    assert settled == Settled(RunState.RETRYING, None, NOW + seconds * SECOND, None, None)


def test_a_run_that_no_worker_may_do_fails_once_none_could_for_a_while():
    first = settle(declined(0, elsewhere=False), limits(), NOW)
    assert (first.state, first.unable_since_at) == (RunState.RETRYING, NOW)
    almost = settle(declined(9, elsewhere=False, since=NOW), limits(), NOW + UNABLE - 1)
    assert (almost.state, almost.unable_since_at) == (RunState.RETRYING, NOW)
    last = declined(9, elsewhere=False, since=NOW, available_at=NOW + SECOND)
    assert settle(last, limits(), NOW + UNABLE).state == RunState.FAILED


def test_a_run_that_nobody_has_looked_at_for_a_while_is_given_its_minute_anew():
    back = NOW + UNABLE
    settled = settle(declined(9, elsewhere=False, since=NOW, available_at=NOW), limits(), back)
    assert (settled.state, settled.unable_since_at) == (RunState.RETRYING, back)


def test_what_may_be_sent_only_once_and_was_not_sent_at_all_is_given_back_like_others():
    settled = settle(declined(0, elsewhere=True), limits(delivery=Delivery.AT_MOST_ONCE), NOW)
    assert settled.state == RunState.RETRYING
