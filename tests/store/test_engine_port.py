"""The engine's port: planning what is due, once, whoever plans; taking back what silent workers held."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from backend.engine.plan import plan_all
from backend.model.ids import DEFAULT_NAMESPACE
from backend.model.instants import MINUTE, SECOND
from backend.model.plan import Planned, Standing
from backend.model.run import AttemptState
from backend.store.open import open_store
from backend.store.planning import LOST
from tests.store.world import START, StillClock, World, nominal_times

pytestmark = pytest.mark.anyio
BROKEN = '[{"kind": "sundial"}]'


async def test_a_turn_records_one_run_per_due_occurrence_and_moves_the_cursor(world: World) -> None:
    await world.put()
    world.clock.go(minutes=1)
    turn = await world.turn()
    assert (turn.schedules, turn.runs, turn.dropped) == (1, 1, 0)
    assert nominal_times(await world.runs()) == [START + MINUTE]
    schedule = await world.schedule()
    assert (schedule.cursor_at, schedule.next_nominal_at) == (START + MINUTE, START + 2 * MINUTE)
    assert turn.next_at == START + 2 * MINUTE


async def test_a_turn_before_anything_is_due_does_nothing_and_says_when_to_look(world: World) -> None:
    await world.put()
    turn = await world.turn()
    assert (turn.schedules, turn.runs, turn.next_at) == (0, 0, START + MINUTE)


async def test_a_turn_claims_at_most_its_limit_oldest_first(world: World) -> None:
    for minutes in (3, 1, 2):
        await world.put(f"every-{minutes}", triggers=[{"kind": "interval", "every": f"{minutes}m"}])
    world.clock.go(minutes=3)
    first = await world.turn(limit=2)
    assert first.schedules == 2
    assert {run.schedule_id for run in await world.runs()} == {"every-1", "every-2"}
    assert first.next_at is not None
    assert first.next_at <= first.now  # more is due: look again at once
    assert (await world.turn(limit=2)).schedules == 1


async def test_an_occurrence_planned_from_two_stale_copies_is_recorded_once(world: World) -> None:
    await world.put()
    world.clock.go(minutes=1)
    seen: list[Sequence[Standing]] = []

    def remember(due: Sequence[Standing], now: int, store_id: str) -> Sequence[Planned]:
        seen.append(due)
        return plan_all(due, now, store_id)

    def from_memory(_: Sequence[Standing], now: int, store_id: str) -> Sequence[Planned]:
        return plan_all(seen[0], now, store_id)

    await world.store.engine().take_turn(remember, 10)
    [before] = await world.runs()
    again = await world.store.engine().take_turn(from_memory, 10)
    assert (again.runs, again.dropped) == (0, 0)
    assert await world.runs() == [before]


async def test_two_engines_on_one_file_never_record_an_occurrence_twice(world: World) -> None:
    clocks = [StillClock(), StillClock()]
    stores = [await open_store(world.url, clock=clock) for clock in clocks]
    for number in range(20):
        await world.put(f"s{number}", overlap_policy="allow_all")

    async def turns(which: int) -> int:
        runs = 0
        for _ in range(25):
            clocks[which].go(seconds=30)
            runs += (await stores[which].engine().take_turn(plan_all, 7)).runs
        return runs

    total = sum(await asyncio.gather(turns(0), turns(1)))
    counted = world.sql("select count(*), count(distinct schedule_key || '/' || nominal_at) from runs")
    assert counted[0][0] == counted[0][1]
    # Where one was ahead of the other by more than a minute, it was too late for some, which are no runs.
    [[made]] = world.sql("select count(*) from runs where state <> 'missed'")
    assert made == total > 100
    for store in stores:
        store.close()


async def test_a_schedule_that_cannot_be_planned_is_set_aside_and_its_neighbours_run(world: World) -> None:
    for id_ in ("a", "broken", "z"):
        await world.put(id_)
    world.sql("update schedules set triggers = ? where id = 'broken'", BROKEN)
    world.clock.go(minutes=1)
    turn = await world.turn()
    assert (turn.schedules, turn.runs, len(turn.quarantined)) == (3, 2, 1)
    broken = await world.schedule("broken")
    assert (broken.state, broken.error_count, broken.cursor_at) == ("error", 1, START)
    assert broken.error
    assert {run.schedule_id for run in await world.runs()} == {"a", "z"}
    assert (await world.turn()).schedules == 0  # it waits, with back-off


async def test_a_schedule_that_was_set_aside_fires_again_when_it_is_mended(world: World) -> None:
    key = (await world.put()).key
    [[sound]] = world.sql("select triggers from schedules where key = ?", key)
    world.sql("update schedules set triggers = ? where key = ?", BROKEN, key)
    world.clock.go(minutes=1)
    await world.turn()
    world.sql("update schedules set triggers = ? where key = ?", sound, key)
    world.clock.go(seconds=10)
    await world.turn()
    schedule = await world.schedule()
    assert (schedule.state, schedule.error, schedule.error_count) == ("active", None, 0)
    assert nominal_times(await world.runs()) == [START + MINUTE]


async def test_occurrences_dropped_in_a_row_become_one_range_that_grows_and_are_counted(world: World) -> None:
    await world.put()
    await world.pause()
    dropped = 0
    for _ in range(30):
        world.clock.go(minutes=1)
        dropped += (await world.turn()).dropped
    assert dropped == 30
    runs = await world.runs()
    assert len(runs) == 21
    assert {run.reason for run in runs} == {"paused"}
    assert (runs[0].missed_count, runs[0].missed_last_at) == (10, START + 30 * MINUTE)


async def test_a_lost_run_is_queued_again_at_once_and_its_attempt_recorded(world: World) -> None:
    run = await make_run(world)
    await world.claim()
    world.clock.go(seconds=15)
    assert (await world.reap())[:3] == (0, 0, False)  # on its last microsecond the lease still holds
    world.clock.go(seconds=1)
    assert (await world.reap())[:3] == (1, 0, False)
    record = await world.run(run)
    assert (record.run.state, record.run.losses, record.run.available_at) == ("queued", 1, world.clock.at)
    [attempt] = record.attempts
    assert (attempt.number, attempt.state, attempt.worker, attempt.error) == (1, AttemptState.LOST, "w1", LOST)
    assert attempt.finished_at == world.clock.at
    assert (await world.claim(token="t2")).runs[0].attempt == 2


async def test_a_run_whose_attempts_are_lost_five_times_is_dead(world: World) -> None:
    run = await make_run(world)
    for _ in range(5):
        assert len((await world.claim()).runs) == 1
        world.clock.go(seconds=16)
        await world.reap()
    record = await world.run(run)
    assert (record.run.state, record.run.reason, record.run.losses) == ("dead", "lost", 5)
    assert record.run.finished_at == world.clock.at
    assert [attempt.state for attempt in record.attempts] == ["lost"] * 5
    assert (await world.claim()).runs == []
    assert (await world.schedule()).failure_streak == 0


async def test_a_lost_run_that_may_be_sent_once_has_failed_and_is_never_sent_again(world: World) -> None:
    run = await make_run(world, delivery="at_most_once")
    await world.claim()
    world.clock.go(seconds=16)
    assert (await world.reap())[:3] == (0, 1, False)
    record = await world.run(run)
    assert (record.run.state, record.run.reason) == ("failed", "lost")
    assert [attempt.state for attempt in record.attempts] == ["lost"]
    assert (await world.claim()).runs == []


async def test_what_was_dispatched_to_be_sent_once_is_never_sent_again_though_the_schedule_has_changed(
    world: World,
) -> None:
    run = await make_run(world, delivery="at_most_once")
    await world.claim()
    await world.put(triggers=[{"kind": "interval", "every": "1h"}], delivery="at_least_once")
    world.clock.go(seconds=16)
    assert (await world.reap())[:3] == (0, 1, False)
    assert (await world.run(run)).run.state == "failed"


async def test_what_was_dispatched_to_be_sent_again_is_though_the_schedule_has_changed(world: World) -> None:
    run = await make_run(world)
    await world.claim()
    await world.put(triggers=[{"kind": "interval", "every": "1h"}], delivery="at_most_once")
    world.clock.go(seconds=16)
    assert (await world.reap())[:3] == (1, 0, False)
    await world.claim(token="t2")  # and this time it is dispatched to be sent once
    world.clock.go(seconds=16)
    assert (await world.reap())[:3] == (0, 1, False)
    assert (await world.run(run)).run.state == "failed"


async def test_a_run_bears_the_revision_that_its_latest_attempt_carries_out(world: World) -> None:
    run = await make_run(world)
    await world.put(triggers=[{"kind": "interval", "every": "1h"}], name="changed")
    assert (await world.run(run)).run.revision == 1
    await world.claim()
    assert (await world.run(run)).run.revision == 2


async def test_leases_are_taken_back_oldest_first_and_at_most_so_many(world: World) -> None:
    first = await make_run(world)
    await world.claim()
    world.clock.go(seconds=1)
    second = (await world.trigger()).id
    await world.claim()
    world.clock.go(seconds=30)
    assert (await world.reap(limit=1)).requeued == 1
    assert [(await world.run(id_)).run.state for id_ in (first, second)] == ["queued", "running"]


async def test_a_chain_runs_one_after_another_oldest_first(world: World) -> None:
    await chain_of_five(world)
    assert await world.states() == ["queued", *["held"] * 4]
    order = []
    for _ in range(5):
        world.clock.go(seconds=5)
        [run] = (claim := await world.claim()).runs
        order.append(run.nominal_at)
        assert (await world.claim()).runs == []
        await world.finish(claim)
    assert order == [START + n * MINUTE for n in range(1, 6)]
    assert await world.states() == ["succeeded"] * 5


async def test_a_chain_goes_on_when_a_member_fails_is_cancelled_or_dies(world: World) -> None:
    await chain_of_five(world)
    await world.work(AttemptState.FAILED, permanent=True)
    assert await world.states() == ["failed", "queued", "held", "held", "held"]
    await world.cancel((await world.runs())[3].id)
    assert await world.states() == ["failed", "cancelled", "queued", "held", "held"]
    for _ in range(5):
        world.clock.go(seconds=20)
        await world.claim()
        world.clock.go(seconds=20)
        await world.reap()
    assert await world.states() == ["failed", "cancelled", "dead", "queued", "held"]


async def test_a_chain_waits_while_a_member_is_to_be_retried(world: World) -> None:
    await chain_of_five(world)
    await world.work(AttemptState.FAILED)
    assert await world.states() == ["retrying", *["held"] * 4]
    assert (await world.reap()).promoted is False
    assert await world.states() == ["retrying", *["held"] * 4]


async def test_a_held_run_that_is_cancelled_does_not_start_the_next(world: World) -> None:
    await chain_of_five(world)
    await world.cancel((await world.runs())[2].id)
    assert await world.states() == ["queued", "held", "cancelled", "held", "held"]


async def test_a_chain_waits_for_a_manual_run_where_no_two_may_overlap(world: World) -> None:
    await world.put(misfire_policy="fire_all")
    manual = await world.trigger()
    world.clock.go(minutes=7)
    await world.turn()
    assert (await world.run(manual.id)).run.state == "queued"
    held = [run for run in await world.runs() if run.state == "held"]
    assert len(held) == 7
    await world.finish(await world.claim())
    assert len([run for run in await world.runs() if run.state == "queued"]) == 1


async def test_a_chain_beside_which_others_may_run_does_not_wait_for_them(world: World) -> None:
    await world.put(misfire_policy="fire_all", overlap_policy="allow_all")
    await world.trigger()
    world.clock.go(minutes=7)
    await world.turn()
    chain = [run.state for run in reversed(await world.runs()) if run.trigger_type == "schedule"]
    assert chain == ["queued", *["held"] * 4, "queued", "queued"]  # the youngest two are on time, and simply run


async def test_a_chain_that_stands_still_is_set_going_by_the_net(world: World) -> None:
    await chain_of_five(world)
    world.sql("update runs set state = 'cancelled', finished_at = 0 where state = 'queued'")
    assert (await world.reap()).promoted is True
    assert await world.states() == ["cancelled", "queued", "held", "held", "held"]
    assert (await world.reap()).promoted is False


async def test_a_chain_waits_while_its_schedule_is_paused_and_goes_on_when_it_is_resumed(world: World) -> None:
    await chain_of_five(world)
    await world.pause()
    await world.work()  # what was queued already is not touched
    assert (await world.reap()).promoted is False
    assert await world.states() == ["succeeded", *["held"] * 4]
    await world.resume()
    assert await world.states() == ["succeeded", "queued", *["held"] * 3]


async def test_a_chain_stops_when_failures_pause_its_schedule(world: World) -> None:
    await chain_of_five(world, pause_after_failures=2)
    for _ in range(2):
        world.clock.go(seconds=5)
        await world.work(AttemptState.FAILED, permanent=True)
    assert (await world.schedule()).state == "paused"
    assert (await world.reap()).promoted is False
    assert await world.states() == ["failed", "failed", *["held"] * 3]
    await world.resume()
    assert await world.states() == ["failed", "failed", "queued", *["held"] * 2]


async def test_the_net_reaches_a_chain_that_stands_still_beyond_many_that_only_wait(world: World) -> None:
    for id_ in ("a", "b", "c"):
        await chain_of_five(world, id_)
    world.sql("update runs set state = 'cancelled', finished_at = 0 where state = 'queued' and schedule_key = 3")
    assert (await world.reap(limit=1)).promoted is True
    assert (await world.states(schedule_id="c"))[:2] == ["cancelled", "queued"]


async def test_a_one_shot_is_completed_when_its_run_has_ended(world: World) -> None:
    await one_shot(world)
    world.clock.go(seconds=10)
    assert (await world.turn()).completed == []
    assert (await world.schedule()).state == "active"
    finish = await world.work()
    assert finish.completed == [(DEFAULT_NAMESPACE, "job")]
    assert (await world.schedule()).state == "completed"


async def test_a_one_shot_that_was_skipped_is_completed_and_the_turn_says_so(world: World) -> None:
    await one_shot(world, misfire_policy="skip")
    world.clock.go(minutes=10)
    turn = await world.turn()
    assert turn.completed == [(DEFAULT_NAMESPACE, "job")]
    assert await world.states() == ["missed"]
    assert (await world.schedule()).state == "completed"
    assert (await world.turn()).completed == []


async def test_a_one_shot_whose_run_is_cancelled_is_completed(world: World) -> None:
    await one_shot(world)
    world.clock.go(seconds=10)
    await world.turn()
    await world.cancel((await world.runs())[0].id)
    assert (await world.schedule()).state == "completed"


async def test_a_one_shot_whose_run_died_is_completed(world: World) -> None:
    await one_shot(world, delivery="at_most_once")
    world.clock.go(seconds=10)
    await world.turn()
    await world.claim()
    world.clock.go(seconds=16)
    await world.reap()
    assert await world.states() == ["failed"]
    assert (await world.schedule()).state == "completed"


async def test_a_one_shot_is_not_completed_while_a_manual_run_is_open(world: World) -> None:
    await one_shot(world)
    world.clock.go(seconds=10)
    await world.turn()
    claim = await world.claim()
    manual = await world.trigger()
    await world.finish(claim)
    assert (await world.schedule()).state == "active"
    await world.cancel(manual.id)
    assert (await world.schedule()).state == "completed"


async def make_run(world: World, **fields: Any) -> str:
    await world.put(triggers=[{"kind": "interval", "every": "1h"}], **fields)
    return (await world.trigger()).id


async def one_shot(world: World, **fields: Any) -> None:
    await world.put(triggers=[{"kind": "once", "at": "2027-01-15T08:00:05Z"}], **fields)
    assert (await world.schedule()).next_nominal_at == START + 5 * SECOND


async def chain_of_five(world: World, id_: str = "job", *, pause_after_failures: int = 0) -> None:
    """Five occurrences, all late, none on time."""
    await world.put(
        id_,
        misfire_policy="fire_all",
        misfire_threshold="1s",
        pause_after_failures=pause_after_failures,
        retry={"max_attempts": 2, "initial": "1m", "maximum": "1m"},
    )
    world.clock.go(minutes=5, seconds=30)
    await world.turn()


async def test_while_old_ones_are_caught_up_those_due_just_now_do_not_wait(world: World) -> None:
    for n in range(8):
        await world.put(f"old-{n}", triggers=[{"kind": "interval", "every": "1s"}], misfire_policy="fire_all")
    world.clock.go(days=1)
    await world.put("live", triggers=[{"kind": "interval", "every": "1m"}])
    world.clock.go(minutes=1)
    turn = await world.turn(limit=8)
    assert turn.schedules < 9
    assert (await world.schedule("live")).cursor_at == turn.now
