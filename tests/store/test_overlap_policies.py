"""Overlap policies on a real store: who waits, who goes first, who makes room, and nothing doubled."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from backend.engine.overlap import MOST_BUFFERED
from backend.engine.plan import plan_all
from backend.model.instants import MINUTE
from backend.model.run import AttemptState
from backend.store.open import open_store
from tests.store.world import LEASE, START, StillClock, World

pytestmark = pytest.mark.anyio
OTHER = "cancelled for a later occurrence (overlap_policy: {})"


async def fire(world: World, times: int = 1) -> None:
    for _ in range(times):
        world.clock.go(minutes=1)
        await world.turn()


async def working(world: World, policy: str, **fields: Any) -> Any:
    """One run that a worker is at."""
    await world.put(overlap_policy=policy, **fields)
    await fire(world)
    claim = await world.claim()
    assert len(claim.runs) == 1
    return claim


async def test_buffer_one_keeps_the_first_that_waits_and_runs_it_next(world: World) -> None:
    claim = await working(world, "buffer_one")
    await fire(world, 3)
    assert await world.states() == ["running", "buffered", "skipped", "skipped"]
    assert [run.reason for run in await world.runs()][:2] == ["overlap", "overlap"]
    await world.finish(claim)
    assert await world.states() == ["succeeded", "queued", "skipped", "skipped"]
    assert len((await world.claim(token="t2")).runs) == 1
    await fire(world)
    assert (await world.states())[-1] == "buffered"


async def test_buffer_all_runs_all_of_them_one_after_another_in_order(world: World) -> None:
    claim = await working(world, "buffer_all")
    await fire(world, 3)
    seen = []
    for outcome in (AttemptState.SUCCEEDED, AttemptState.FAILED, AttemptState.SUCCEEDED, AttemptState.TIMED_OUT):
        [run] = claim.runs
        seen.append(run.nominal_at)
        await world.finish(claim, outcome, permanent=True)
        claim = await world.claim()
    assert claim.runs == []
    assert seen == [START + n * MINUTE for n in range(1, 5)]
    assert await world.states() == ["succeeded", "failed", "succeeded", "timed_out"]


async def test_buffer_all_skips_what_is_beyond_the_cap(world: World) -> None:
    await working(world, "buffer_all", triggers=[{"kind": "interval", "every": "1s"}], misfire_threshold="1d")
    world.clock.go(seconds=MOST_BUFFERED + 3)
    await world.turn()
    # The first minute brought a run and 59 that wait for it.
    assert world.sql("select state, reason, count(*), sum(missed_count) from runs group by 1, 2 order by 1") == [
        ("buffered", None, MOST_BUFFERED, 0),
        ("running", None, 1, 0),
        ("skipped", "cap", 1, 62),
    ]


async def test_cancel_other_asks_and_waits_for_the_end_before_the_newer_one_runs(world: World) -> None:
    claim = await working(world, "cancel_other")
    world.clock.go(minutes=1)
    turn = await world.turn()
    assert turn.displaced == 1
    assert await world.states() == ["running", "buffered"]
    pair = [(claim.runs[0].key, "t1")]
    assert await world.store.worker().extend(pair, LEASE) == ({pair[0][0]}, {pair[0][0]})
    await world.finish(claim, AttemptState.CANCELLED, error="stopped")
    assert await world.states() == ["cancelled", "queued"]


async def test_under_cancel_other_the_one_that_waits_is_skipped_in_favour_of_a_newer_one(world: World) -> None:
    claim = await working(world, "cancel_other")
    await fire(world, 2)
    runs = await world.runs()
    assert [(run.state, run.reason) for run in reversed(runs)] == [
        ("running", None),
        ("skipped", "overlap"),
        ("buffered", None),
    ]
    await world.finish(claim)  # it had ended by itself before it heard
    assert await world.states() == ["succeeded", "skipped", "queued"]


async def test_what_nobody_works_on_is_cancelled_at_once_and_the_newer_one_runs(world: World) -> None:
    await world.put(overlap_policy="cancel_other")
    await fire(world, 2)
    newer, older = await world.runs()
    assert (older.state, older.error) == ("cancelled", OTHER.format("cancel_other"))
    assert newer.state == "queued"
    await world.work(AttemptState.FAILED)
    assert await world.states() == ["cancelled", "retrying"]
    await fire(world)
    assert await world.states() == ["cancelled", "cancelled", "queued"]


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (AttemptState.SUCCEEDED, "succeeded"),
        (AttemptState.FAILED, "failed"),
        (AttemptState.TIMED_OUT, "timed_out"),
        (AttemptState.RELEASED, "cancelled"),
    ],
)
async def test_a_run_that_is_asked_to_stop_is_not_attempted_again_however_it_ends(
    world: World, outcome: AttemptState, state: str
) -> None:
    claim = await working(world, "cancel_other")
    await fire(world)
    finish = await world.finish(claim, outcome)
    assert finish.finished[0].settled.state == state
    assert await world.states() == [state, "queued"]
    [older] = [run for run in await world.runs() if run.state == state]
    assert older.finished_at == world.clock.at


async def test_a_run_that_is_asked_to_stop_and_whose_worker_dies_is_cancelled(world: World) -> None:
    await working(world, "cancel_other")
    await fire(world)
    assert (await world.reap())[:3] == (0, 1, False)
    record = [r for r in await world.records() if r.run.state == "cancelled"]
    assert record[0].run.error == OTHER.format("cancel_other")
    assert [a.state for a in record[0].attempts] == ["lost"]
    assert await world.states() == ["cancelled", "queued"]


async def test_terminate_other_takes_the_lease_and_runs_at_once(world: World) -> None:
    claim = await working(world, "terminate_other")
    world.clock.go(minutes=1)
    assert (await world.turn()).displaced == 1
    assert await world.states() == ["cancelled", "queued"]
    assert await world.store.worker().extend([(claim.runs[0].key, "t1")], LEASE) == (set(), set())
    assert not (await world.finish(claim)).finished[0].accepted
    [older] = [r for r in await world.records() if r.run.state == "cancelled"]
    assert [(a.state, a.error, a.worker) for a in older.attempts] == [
        ("cancelled", OTHER.format("terminate_other"), "w1")
    ]


async def test_a_manual_run_ignores_the_policy_and_counts_as_open(world: World) -> None:
    await world.put(overlap_policy="buffer_one")
    first = await world.trigger()
    second = await world.trigger()
    assert [run.state for run in (first, second)] == ["queued", "queued"]
    await fire(world)
    assert await world.states() == ["queued", "queued", "buffered"]
    await world.cancel(first.id)
    assert await world.states() == ["cancelled", "queued", "buffered"]
    await world.work()
    assert await world.states() == ["cancelled", "succeeded", "queued"]


async def test_terminate_other_ends_manual_runs_as_well(world: World) -> None:
    await world.put(overlap_policy="terminate_other")
    await world.trigger()
    await fire(world)
    assert await world.states() == ["cancelled", "queued"]


async def test_a_plan_from_a_stale_copy_displaces_nothing_that_came_of_it(world: World) -> None:
    await working(world, "terminate_other")
    world.clock.go(minutes=1)
    seen: list[Any] = []

    def remember(due: Any, now: int, store_id: str) -> Any:
        seen.append(due)
        return plan_all(due, now, store_id)

    await world.store.engine().take_turn(remember, 10)
    before = await world.runs()
    await world.store.engine().take_turn(lambda _, now, store_id: plan_all(seen[0], now, store_id), 10)
    assert await world.runs() == before


@pytest.mark.parametrize("policy", ["buffer_one", "buffer_all", "cancel_other", "terminate_other"])
async def test_two_engines_on_one_file_double_nothing_and_no_two_run_at_a_time(world: World, policy: str) -> None:
    clocks = [StillClock(), StillClock()]
    stores = [await open_store(world.url, clock=clock) for clock in clocks]
    for number in range(5):
        await world.put(f"s{number}", overlap_policy=policy)

    async def turns(which: int) -> None:
        for step in range(20):
            clocks[which].go(seconds=30)
            await stores[which].engine().take_turn(plan_all, 3)
            if step % 4 == which:
                world.clock.at = clocks[which].at
                await world.claim(limit=2, token=f"t{which}{step}")
                [[most]] = world.sql(
                    "select coalesce(max(n), 0) from (select count(*) n from runs "
                    "where state in ('queued', 'running', 'retrying') group by schedule_key) open"
                )
                assert most <= 1

    await asyncio.gather(turns(0), turns(1))
    [[rows, distinct]] = world.sql("select count(*), count(distinct schedule_key || '/' || nominal_at) from runs")
    assert rows == distinct > 20
    for store in stores:
        store.close()


async def test_deleting_drops_what_waits(world: World) -> None:
    await working(world, "buffer_all")
    await fire(world, 2)
    await world.delete()
    assert world.sql("select state, reason from runs order by nominal_at") == [
        ("running", None),
        ("skipped", "deleted"),
        ("skipped", "deleted"),
    ]


async def test_pausing_leaves_what_waits_and_it_still_runs(world: World) -> None:
    claim = await working(world, "buffer_one")
    await fire(world)
    await world.pause()
    assert await world.states() == ["running", "buffered"]
    await world.finish(claim)
    assert await world.states() == ["succeeded", "queued"]


async def test_a_pause_that_plans_up_to_now_knows_what_waits_already(world: World) -> None:
    await working(world, "buffer_one")
    await fire(world)
    world.clock.go(minutes=1)
    await world.pause()  # plans one more occurrence of before the pause
    assert await world.states() == ["running", "buffered", "skipped"]


async def test_a_schedule_is_completed_only_when_nothing_waits(world: World) -> None:
    claim = await working(world, "buffer_one", end_at="2027-01-15T08:02:30Z")
    await fire(world, 2)
    assert await world.states() == ["running", "buffered"]
    assert (await world.schedule()).state == "active"
    await world.finish(claim)
    assert (await world.schedule()).state == "active"
    assert (await world.work()).completed == [("default", "job")]


async def test_three_skips_in_a_row_are_told_once(world: World) -> None:
    claim = await working(world, "skip")
    told = []
    for _ in range(6):
        world.clock.go(minutes=1)
        told.append([(s.id, s.skip_count) for s in (await world.turn()).streaks])
    assert told == [[], [], [("job", 3)], [], [], []]
    await world.finish(claim)
    await fire(world)
    await world.claim(token="t2")
    again = []
    for _ in range(3):
        world.clock.go(minutes=1)
        again.append(len((await world.turn()).streaks))
    assert again == [0, 0, 1]


async def test_what_waits_and_was_forgotten_is_set_going_by_the_net(world: World) -> None:
    await working(world, "buffer_one")
    await fire(world)
    world.sql("update runs set state = 'succeeded', lease_token = null, finished_at = 0 where state = 'running'")
    assert (await world.reap()).promoted is True
    assert await world.states() == ["succeeded", "queued"]


async def test_a_policy_changed_to_allow_all_lets_all_that_wait_go(world: World) -> None:
    await working(world, "buffer_all")
    await fire(world, 3)
    await world.put(overlap_policy="allow_all")
    assert await world.states() == ["running", "queued", "queued", "queued"]


async def test_a_buffered_run_can_be_cancelled(world: World) -> None:
    await working(world, "buffer_one")
    await fire(world)
    [waiting] = [run for run in await world.runs() if run.state == "buffered"]
    await world.cancel(waiting.id)
    assert await world.states() == ["running", "cancelled"]
