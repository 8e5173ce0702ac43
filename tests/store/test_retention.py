"""Pruning: by age, by number, failures longer; in batches; and never what is still open or still counted."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backend.model.instants import MINUTE
from backend.model.run import AttemptState
from backend.store.retention import Pruned, Retention
from tests.store.world import START, World

pytestmark = pytest.mark.anyio
KEEP = Retention(timedelta(days=30), timedelta(days=90), timedelta(days=30), 1000)
HOURLY = [{"kind": "interval", "every": "365d"}]


async def prune(world: World, keep: Retention = KEEP, *, after_key: int = 0, limit: int = 500) -> Pruned:
    return await world.store.engine().prune(keep, after_key, limit)


async def ended(world: World, number: int = 1, outcome: AttemptState = AttemptState.SUCCEEDED) -> None:
    for _ in range(number):
        await world.trigger()
        await world.work(outcome, permanent=True)
        world.clock.go(seconds=1)


async def test_runs_are_deleted_with_their_attempts_when_they_are_thirty_days_old(world: World) -> None:
    await world.put(triggers=HOURLY)
    await ended(world)
    world.clock.go(days=29, hours=23)
    assert (await prune(world)).runs == 0
    world.clock.go(hours=2)
    assert (await prune(world)).runs == 1
    assert await world.runs() == []
    assert world.sql("select count(*) from attempts") == [(0,)]


async def test_failures_are_kept_ninety_days(world: World) -> None:
    await world.put(triggers=HOURLY, pause_after_failures=0)
    await ended(world, 1, AttemptState.FAILED)
    await ended(world, 1, AttemptState.TIMED_OUT)
    world.clock.go(days=89)
    assert (await prune(world)).runs == 0
    world.clock.go(days=2)
    assert (await prune(world)).runs == 2


async def test_a_run_counts_its_age_from_its_end_and_an_open_one_has_none(world: World) -> None:
    await world.put(triggers=HOURLY)
    await world.trigger()
    world.clock.go(days=100)
    assert (await prune(world)).runs == 0
    await world.work()
    assert (await prune(world)).runs == 0
    world.clock.go(days=31)
    assert (await prune(world)).runs == 1


async def test_beyond_the_newest_so_many_and_a_day_old_is_surplus(world: World) -> None:
    few = KEEP._replace(keep=3)
    await world.put(triggers=HOURLY)
    await ended(world, 5)
    newest = [run.id for run in await world.runs()][:3]
    assert (await prune(world, few)).runs == 0
    world.clock.go(days=1)
    assert (await prune(world, few)).runs == 2
    assert [run.id for run in await world.runs()] == newest
    assert (await prune(world, few)).runs == 0


async def test_surplus_failures_are_kept_ninety_days(world: World) -> None:
    few = KEEP._replace(keep=1)
    await world.put(triggers=HOURLY, pause_after_failures=0)
    await ended(world, 2, AttemptState.FAILED)
    await ended(world, 2)
    world.clock.go(days=2)
    assert (await prune(world, few)).runs == 1
    assert await world.states() == ["failed", "failed", "succeeded"]


async def test_one_batch_deletes_no_more_than_its_limit_and_the_walk_goes_on(world: World) -> None:
    few = KEEP._replace(keep=1)
    for id_ in ("a", "b"):
        await world.put(id_, triggers=HOURLY)
        for _ in range(6):
            await world.trigger(id_)
            world.clock.go(seconds=1)
    await world.work()
    world.clock.go(days=2)
    deleted, key = [], 0
    while True:
        pruned = await prune(world, few, after_key=key, limit=4)
        deleted.append(pruned.runs)
        key = pruned.next_key
        if not key and pruned.runs < 4:
            break
    assert max(deleted) <= 4
    assert sum(deleted) == 10
    assert len(await world.runs(schedule_id="a")) == len(await world.runs(schedule_id="b")) == 1


async def test_old_runs_are_deleted_in_batches_oldest_first(world: World) -> None:
    await world.put(triggers=HOURLY)
    await ended(world, 5)
    world.clock.go(days=31)
    assert (await prune(world, limit=3)).runs == 3
    assert len(await world.runs()) == 2
    assert (await prune(world, limit=3)).runs == 2


async def test_a_range_that_still_grows_is_kept_however_old_it_is(world: World) -> None:
    await world.put(triggers=[{"kind": "interval", "every": "1d"}])
    await world.pause()
    for _ in range(100):
        world.clock.go(days=1)
        await world.turn()
        await prune(world)
    runs = [run for run in await world.runs() if run.missed_count]
    assert [(run.nominal_at, run.missed_last_at) for run in runs] == [(START + 21 * 1440 * MINUTE, world.clock.at)]
    assert runs[0].missed_count == 80


async def test_a_range_that_has_ended_is_as_old_as_its_last_occurrence(world: World) -> None:
    await world.put(triggers=[{"kind": "interval", "every": "1d"}])
    await world.pause()
    for _ in range(60):
        world.clock.go(days=1)
        await world.turn()
    await world.resume()
    await prune(world)
    assert len([run for run in await world.runs() if run.missed_count]) == 1
    world.clock.go(days=31)
    await prune(world)
    assert [run for run in await world.runs() if run.missed_count] == []


async def test_a_deleted_schedule_is_forgotten_after_thirty_days_and_after_its_runs(world: World) -> None:
    await world.put(triggers=HOURLY, tags={"a": "b"}, pause_after_failures=0)
    await ended(world, 1, AttemptState.FAILED)
    await world.delete()
    world.clock.go(days=31)
    assert (await prune(world)).schedules == 0  # its failure is kept for longer
    world.clock.go(days=60)
    assert await prune(world) == Pruned(1, 1, 0)
    for table in ("schedules", "schedule_revisions", "schedule_tags", "runs", "attempts"):
        assert world.sql(f"select count(*) from {table}") == [(0,)]


async def test_a_schedule_that_was_deleted_while_a_range_grew_is_forgotten_too(world: World) -> None:
    await world.put()
    await world.pause()
    world.clock.go(minutes=30)
    await world.turn()
    await world.delete()
    world.clock.go(days=31)
    assert (await prune(world)).schedules == 1


async def test_a_living_schedule_is_never_pruned(world: World) -> None:
    await world.put()
    world.clock.go(days=1000)
    await prune(world)
    assert (await world.schedule()).id == "job"
