"""The workers' port: leases with tokens, results that only their holder may write, and what failures add up to."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from backend.engine.definition import load_definition
from backend.engine.errand import load_errand
from backend.engine.retry import settle
from backend.model.attempt import Ended, Limits, Settled
from backend.model.instants import MINUTE, SECOND
from backend.model.run import AttemptState
from backend.store.leasing import Claim
from tests.store.world import LEASE, World, result_of

pytestmark = pytest.mark.anyio
FAILED, SUCCEEDED = AttemptState.FAILED, AttemptState.SUCCEEDED


async def make_runs(world: World, number: int = 1, **fields: Any) -> list[str]:
    await world.put(triggers=[{"kind": "interval", "every": "30d"}], **fields)
    made = []
    for _ in range(number):
        made.append((await world.trigger()).id)
        world.clock.go(seconds=1)
    return made


async def test_a_claim_leases_the_runs_that_have_waited_longest(world: World) -> None:
    ids = await make_runs(world, 5)
    claim = await world.claim(limit=2)
    assert {run.id for run in claim.runs} == set(ids[:2])
    assert {run.id for run in (await world.claim()).runs} == set(ids[2:])
    assert (await world.claim()).runs == []


async def test_a_claim_names_the_run_the_attempt_and_the_errand(world: World) -> None:
    [id_] = await make_runs(world)
    claim = await world.claim()
    [run] = claim.runs
    assert (run.id, run.attempt, run.started_at, run.losses, run.released) == (id_, 1, claim.now, 0, 0)
    schedule = await world.schedule()
    (named, text) = claim.errands[schedule.key]
    errand, definition = load_errand(text), load_definition(schedule.definition)
    assert (named, errand.target, errand.input) == ("job", definition.target, definition.input)
    assert (errand.timeout, errand.retry, errand.delivery) == (
        definition.timeout,
        definition.retry,
        definition.delivery,
    )
    stored = (await world.run(id_)).run
    assert (stored.state, stored.worker, stored.started_at) == ("running", "w1", claim.now)


async def test_a_definition_that_is_no_json_stops_no_claim(world: World) -> None:
    await make_runs(world)
    world.sql("update schedules set definition = '{'")
    claim = await world.claim()
    assert [text for _, text in claim.errands.values()] == [None]


async def test_a_run_is_not_claimed_before_it_is_available(world: World) -> None:
    [id_] = await make_runs(world, retry={"initial": "10m", "maximum": "10m"})
    await world.work(FAILED, retry_after=120)
    run = (await world.run(id_)).run
    assert run.state == "retrying"
    assert run.available_at >= world.clock.at + 2 * MINUTE
    claim = await world.claim()
    assert (claim.runs, claim.next_at) == ([], run.available_at)
    world.clock.at = run.available_at - 1
    assert (await world.claim()).runs == []
    world.clock.at = run.available_at
    assert [claimed.attempt for claimed in (await world.claim()).runs] == [2]


async def test_a_retry_that_has_waited_longer_goes_before_a_new_run(world: World) -> None:
    [first] = await make_runs(world, retry={"initial": "1s", "maximum": "1s"})
    await world.work(FAILED)
    world.clock.go(seconds=10)
    await world.trigger()
    assert [run.id for run in (await world.claim(limit=1)).runs] == [first]


async def test_a_clock_that_goes_back_holds_up_no_new_run(world: World) -> None:
    [id_] = await make_runs(world)
    world.clock.go(minutes=-30)
    claim = await world.claim()
    assert [run.id for run in claim.runs] == [id_]
    await world.finish(claim, AttemptState.RELEASED)  # nor one that was given back
    world.clock.go(minutes=-30)
    assert [run.attempt for run in (await world.claim()).runs] == [2]


async def test_a_new_run_that_a_claim_left_after_the_clock_went_back_may_be_claimed_now(world: World) -> None:
    await make_runs(world, 2)
    world.clock.go(minutes=-30)
    assert (await world.claim(limit=1)).next_at == world.clock.at


async def test_a_clock_that_goes_back_hastens_no_retry(world: World) -> None:
    [id_] = await make_runs(world, retry={"initial": "10m", "maximum": "10m"})
    await world.work(FAILED, retry_after=120)
    retry_at = (await world.run(id_)).run.available_at
    world.clock.go(minutes=-30)
    claim = await world.claim()
    assert (claim.runs, claim.next_at) == ([], retry_at)


async def test_a_lease_is_prolonged_for_its_holder_only(world: World) -> None:
    await make_runs(world, 2)
    [one, two] = (await world.claim()).runs
    held = [(one.key, "t1"), (two.key, "stolen"), (12345, "t1")]
    world.clock.go(seconds=10)
    assert await world.store.worker().extend(held, LEASE) == ({one.key}, set())
    world.clock.go(seconds=10)  # the one that was not prolonged is over
    assert (await world.reap()).requeued == 1
    assert (await world.run(one.id)).run.state == "running"
    assert (await world.run(two.id)).run.state == "queued"


async def test_a_lease_that_was_taken_back_cannot_be_prolonged(world: World) -> None:
    await make_runs(world)
    [run] = (await world.claim()).runs
    world.clock.go(seconds=16)
    await world.reap()
    assert await world.store.worker().extend([(run.key, "t1")], LEASE) == (set(), set())


async def test_extending_nothing_answers_nothing(world: World) -> None:
    assert await world.store.worker().extend([], timedelta(seconds=1)) == (set(), set())


async def test_a_result_ends_the_run_and_records_the_attempt(world: World) -> None:
    [id_] = await make_runs(world)
    claim = await world.claim()
    world.clock.go(seconds=3)
    [finished] = (await world.finish(claim)).finished
    assert (finished.accepted, finished.at) == (True, world.clock.at)
    record = await world.run(id_)
    assert (record.run.state, record.run.finished_at, record.run.worker) == ("succeeded", world.clock.at, None)
    [attempt] = record.attempts
    assert (attempt.number, attempt.state, attempt.output, attempt.worker) == (1, "succeeded", "out", "w1")
    assert attempt.finished_at - attempt.started_at == 3 * SECOND
    assert world.sql("select lease_token, lease_until from runs") == [(None, None)]


async def test_a_result_under_a_lost_lease_is_refused_and_changes_nothing(world: World) -> None:
    [id_] = await make_runs(world)
    stale = await world.claim(token="t1")
    world.clock.go(seconds=16)
    await world.reap()
    fresh = await world.claim(token="t2")
    before = await world.run(id_), await world.schedule(), world.sql("select * from runs")
    [finished] = (await world.finish(stale, FAILED, permanent=True, token="t1")).finished
    assert not finished.accepted
    assert (await world.run(id_), await world.schedule(), world.sql("select * from runs")) == before
    [finished] = (await world.finish(fresh, token="t2")).finished
    assert finished.accepted
    assert (await world.run(id_)).run.state == "succeeded"


async def test_a_result_that_comes_twice_counts_once(world: World) -> None:
    [id_] = await make_runs(world)
    claim = await world.claim()
    await world.finish(claim, FAILED, permanent=True)
    again = await world.finish(claim, FAILED, permanent=True)
    assert [finished.accepted for finished in again.finished] == [False]
    assert len((await world.run(id_)).attempts) == 1
    assert (await world.schedule()).failure_streak == 1


async def test_of_a_batch_of_results_only_those_without_a_lease_are_refused(world: World) -> None:
    ids = await make_runs(world, 3)
    claim = await world.claim()
    await world.cancel(ids[1])
    finish = await world.finish(claim)
    assert {f.result.run.id: f.accepted for f in finish.finished} == {ids[0]: True, ids[1]: False, ids[2]: True}
    assert await world.states() == ["succeeded", "cancelled", "succeeded"]


async def test_a_lost_attempt_is_refused_also_beside_its_successor_in_one_batch(world: World) -> None:
    [id_] = await make_runs(world)
    stale = await world.claim(token="t1")
    world.clock.go(seconds=16)
    await world.reap()
    fresh = await world.claim(token="t2")
    results = [
        result_of(stale, stale.runs[0], FAILED, permanent=True, token="t1"),
        result_of(fresh, fresh.runs[0], SUCCEEDED, token="t2"),
    ]
    for order in (results, results[::-1]):
        finish = await world.store.worker().finish(order, settle)
        assert not next(f for f in finish.finished if f.result.token == "t1").accepted
    record = await world.run(id_)
    assert (record.run.state, [a.state for a in record.attempts]) == ("succeeded", ["lost", "succeeded"])
    assert (await world.schedule()).failure_streak == 0


async def test_what_becomes_of_a_run_is_decided_at_the_database_s_now(world: World) -> None:
    await make_runs(world)
    claim = await world.claim()
    world.clock.go(minutes=7)
    instants = []

    def note(ended: Ended, limits: Limits, now: int) -> Settled:
        instants.append(now)
        return settle(ended, limits, now)

    results = [result_of(claim, run, SUCCEEDED) for run in claim.runs]
    await world.store.worker().finish(results, note)
    assert instants == [world.clock.at]


async def test_a_failing_run_is_tried_three_times_and_keeps_every_error(world: World) -> None:
    [id_] = await make_runs(world)
    for error in ("first", "second", "third"):
        world.clock.go(minutes=15)
        await world.work(FAILED, error=error)
    record = await world.run(id_)
    assert (record.run.state, record.run.error, record.run.attempt) == ("failed", "third", 3)
    assert [(a.number, a.state, a.error) for a in record.attempts] == [
        (1, "failed", "first"),
        (2, "failed", "second"),
        (3, "failed", "third"),
    ]


async def test_a_run_given_back_by_a_draining_worker_waits_again_and_loses_no_attempt(world: World) -> None:
    [id_] = await make_runs(world, retry={"max_attempts": 1})
    await world.work(AttemptState.RELEASED)
    run = (await world.run(id_)).run
    assert (run.state, run.available_at, run.losses) == ("queued", world.clock.at, 0)
    [again] = (claim := await world.claim()).runs
    assert (again.attempt, again.released) == (2, 1)
    await world.finish(claim, FAILED)
    record = await world.run(id_)
    assert (record.run.state, [a.state for a in record.attempts]) == ("failed", ["released", "failed"])


async def test_cancelling_a_running_run_voids_the_lease_and_records_the_attempt(world: World) -> None:
    [id_] = await make_runs(world)
    claim = await world.claim()
    record = await world.cancel(id_)
    assert record.run.state == "cancelled"
    assert [(a.number, a.state, a.error) for a in record.attempts] == [
        (1, "cancelled", "cancelled on request by tester")
    ]
    assert await world.store.worker().extend([(claim.runs[0].key, "t1")], LEASE) == (set(), set())
    assert not (await world.finish(claim)).finished[0].accepted


async def fail(world: World, times: int, *, permanent: bool, apart: float = 1.0) -> list[tuple[str, str, str]]:
    """End so many runs one after another with a failure; answers what was paused."""
    paused: list[tuple[str, str, str]] = []
    for number in range(times):
        await world.trigger()
        finish = await world.work(FAILED, permanent=permanent, error=f"HTTP 401 number {number}")
        paused += finish.paused
        world.clock.go(seconds=apart)
    return paused


async def test_five_permanent_failures_in_a_row_pause_the_schedule_with_the_error_in_the_note(world: World) -> None:
    await make_runs(world, 0)
    assert await fail(world, 4, permanent=True) == []
    [(_, id_, note)] = await fail(world, 1, permanent=True)
    assert (id_, note) == ("job", "paused after 5 failed runs in a row: HTTP 401 number 0")
    schedule = await world.schedule()
    assert (schedule.state, schedule.note, schedule.note_by) == ("paused", note, "scheduler")
    assert schedule.note_at is not None


async def test_other_failures_pause_a_schedule_only_when_they_span_an_hour(world: World) -> None:
    await make_runs(world, 0, retry={"max_attempts": 1})
    assert await fail(world, 8, permanent=False) == []
    assert (await world.schedule()).state == "active"
    world.clock.go(minutes=59, seconds=51)
    assert await fail(world, 1, permanent=False) == []
    [(_, id_, note)] = await fail(world, 1, permanent=False)
    assert id_ == "job"
    assert "10 failed runs" in note


async def test_four_failures_over_an_hour_are_not_enough(world: World) -> None:
    await make_runs(world, 0, retry={"max_attempts": 1})
    assert await fail(world, 4, permanent=False, apart=3600) == []
    assert len(await fail(world, 1, permanent=False)) == 1


async def test_a_success_ends_the_streak(world: World) -> None:
    await make_runs(world, 0)
    await fail(world, 4, permanent=True)
    await world.trigger()
    await world.work()
    schedule = await world.schedule()
    assert (schedule.failure_streak, schedule.permanent_streak, schedule.streak_since_at) == (0, 0, None)
    assert await fail(world, 4, permanent=True) == []


async def test_a_failure_that_may_pass_ends_the_streak_of_permanent_ones(world: World) -> None:
    await make_runs(world, 0, retry={"max_attempts": 1})
    await fail(world, 4, permanent=True)
    assert await fail(world, 1, permanent=False) == []
    assert (await world.schedule()).permanent_streak == 0
    assert await fail(world, 4, permanent=True) == []
    assert len(await fail(world, 1, permanent=True)) == 1


async def test_zero_means_that_no_streak_pauses(world: World) -> None:
    await make_runs(world, 0, pause_after_failures=0)
    assert await fail(world, 10, permanent=True, apart=3600) == []


async def test_five_failures_in_one_batch_pause_once_with_the_last_error(world: World) -> None:
    await make_runs(world, 6)
    claim = await world.claim()
    finish = await world.finish(claim, FAILED, permanent=True, error="HTTP 404")
    assert [(id_, note) for _, id_, note in finish.paused] == [
        ("job", "paused after 6 failed runs in a row: HTTP 404"),
    ]


@pytest.mark.parametrize(
    ("outcomes", "streaks"),
    [
        ([FAILED, SUCCEEDED], (2, 0, 0)),
        ([SUCCEEDED, FAILED], (2, 1, 1)),
        ([FAILED, SUCCEEDED, FAILED, FAILED], (2, 2, 2)),
        ([FAILED, FAILED], (2, 4, 4)),
    ],
)
async def test_the_ended_runs_of_one_batch_count_in_its_order(
    world: World, outcomes: list[AttemptState], streaks: tuple[int, int, int]
) -> None:
    await make_runs(world, 0)
    await fail(world, 2, permanent=True)
    before = await world.schedule()
    for _ in outcomes:
        await world.trigger()
    claim = await world.claim()
    results = [result_of(claim, r, o, permanent=True) for r, o in zip(claim.runs, outcomes, strict=True)]
    await world.store.worker().finish(results, settle)
    after = await world.schedule()
    assert (before.failure_streak, after.failure_streak, after.permanent_streak) == streaks
    began = None if outcomes[-1] is SUCCEEDED else world.clock.at if SUCCEEDED in outcomes else before.streak_since_at
    assert after.streak_since_at == began


async def test_the_permanent_failures_of_one_batch_are_counted_after_the_last_that_may_pass(world: World) -> None:
    await make_runs(world, 0, retry={"max_attempts": 1})
    await fail(world, 2, permanent=True)
    for _ in range(3):
        await world.trigger()
    claim = await world.claim()
    results = [result_of(claim, r, FAILED, permanent=p) for r, p in zip(claim.runs, (True, False, True), strict=True)]
    await world.store.worker().finish(results, settle)
    schedule = await world.schedule()
    assert (schedule.failure_streak, schedule.permanent_streak) == (5, 1)


async def test_a_success_that_ends_a_batch_keeps_a_schedule_from_pausing(world: World) -> None:
    await make_runs(world, 7)
    claim = await world.claim()
    outcomes = [FAILED] * 6 + [SUCCEEDED]
    results = [result_of(claim, r, o, permanent=True) for r, o in zip(claim.runs, outcomes, strict=True)]
    assert (await world.store.worker().finish(results, settle)).paused == []


async def test_a_lost_run_is_no_failure(world: World) -> None:
    [id_] = await make_runs(world, 1, delivery="at_most_once")
    await world.work(AttemptState.RELEASED)
    assert (await world.run(id_)).run.reason == "lost"
    assert (await world.schedule()).failure_streak == 0


async def test_a_cancelled_run_is_no_failure(world: World) -> None:
    for id_ in await make_runs(world, 6):
        await world.cancel(id_)
    assert (await world.schedule()).failure_streak == 0


async def test_a_claim_of_an_empty_ledger_answers_nothing(world: World) -> None:
    assert await world.claim() == Claim(world.clock.at, [], {}, None)
