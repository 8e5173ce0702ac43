"""The ledger of PostgreSQL is kept in partitions of four weeks: made ahead, dropped when all in them is too old."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from backend.engine.prune import BATCH, BREATH, REST, Prune
from backend.model.instants import DAY
from backend.store.open import open_store
from backend.store.retention import Retention
from tests.acceptance.server import until
from tests.databases import POSTGRES, database
from tests.store.world import START, World

pytestmark = pytest.mark.anyio
RANGE = 28 * DAY
NOW = START // RANGE
# So many are kept by number that only their age counts.
KEEP = Retention(timedelta(days=30), timedelta(days=30), timedelta(days=30), 1000)
WAITING = """
select count(*) from pg_locks l join pg_database d on d.oid = l.database
where d.datname = current_database() and not l.granted
"""
COLUMNS = """
select column_name::text from information_schema.columns
where table_schema = 'scheduler' and table_name = 'runs' and column_name not in ('key', 'id') order by ordinal_position
"""
YEARLY = [{"kind": "interval", "every": "365d"}]


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with database(POSTGRES, tmp_path) as url:
        yield url


def partitions(world: World, table: str = "runs") -> set[str]:
    rows = world.sql(
        f"select inhrelid::regclass::text from pg_inherits where inhparent = 'scheduler.{table}'::regclass"
    )
    return {name for (name,) in rows}


def where(world: World) -> list[str]:
    return [name for (name,) in world.sql("select tableoid::regclass::text from runs order by nominal_at")]


async def prune(world: World) -> int:
    """Keep the ranges, then prune; answers how many runs were deleted one by one."""
    await world.store.engine().keep_ranges(KEEP)
    return (await world.store.engine().prune(KEEP, 0, 500)).runs


async def test_there_is_room_for_now_and_the_next_two_ranges(world: World) -> None:
    assert {f"runs_{NOW + ahead}" for ahead in range(3)} | {"runs_default"} <= partitions(world)
    world.clock.at = START + 3 * RANGE
    await prune(world)
    assert f"runs_{NOW + 5}" in partitions(world)
    assert f"attempts_{NOW + 5}" in partitions(world, "attempts")


async def test_a_run_lies_in_the_range_of_its_nominal_time_and_its_key_says_so(world: World) -> None:
    await world.put(triggers=YEARLY)
    await world.trigger()
    await world.work()
    world.clock.at = START + RANGE
    await world.trigger()
    world.clock.at = START + 10 * RANGE
    await world.trigger()
    assert where(world) == [f"runs_{NOW}", f"runs_{NOW + 1}", "runs_default"]
    keys = [key for (key,) in world.sql("select key from runs order by nominal_at")]
    assert [key >> 40 for key in keys] == [NOW, NOW + 1, NOW + 10]
    assert len((await world.work()).finished) == 2
    assert await world.states() == ["succeeded"] * 3


async def test_a_range_in_which_all_is_old_is_dropped_with_its_attempts_and_the_floor_says_from_when(
    world: World,
) -> None:
    await world.put(triggers=YEARLY)
    await world.trigger()
    await world.work()
    world.sql("update runs set backfill_id = ''")
    world.clock.at = START + 3 * RANGE
    assert await prune(world) == 0, "it was dropped, not deleted row by row"
    assert f"runs_{NOW}" not in partitions(world)
    assert f"attempts_{NOW}" not in partitions(world, "attempts")
    assert world.sql("select complete_from from ledger_floors") == [(START + 1,)]
    assert world.sql("select count(*) from runs") == world.sql("select count(*) from attempts") == [(0,)]


async def test_a_range_with_a_run_that_is_open_or_young_stays(world: World) -> None:
    await world.put(triggers=YEARLY)
    await world.trigger()
    world.clock.at = START + 3 * RANGE
    await prune(world)
    assert f"runs_{NOW}" in partitions(world), "it is open"
    await world.work()
    await prune(world)
    assert f"runs_{NOW}" in partitions(world), "it has ended just now"
    world.clock.at += 31 * DAY
    await prune(world)
    assert f"runs_{NOW}" not in partitions(world)


async def test_a_range_whose_row_for_skipped_occurrences_may_still_be_extended_stays(world: World) -> None:
    await world.put(triggers=[{"kind": "interval", "every": "1h"}], overlap_policy="skip")
    world.clock.go(hours=1)
    await world.pause()
    world.clock.go(hours=30)
    await world.turn()
    assert world.sql("select count(*) from schedules where skip_range_at is not null") == [(1,)]
    world.sql("update runs set state = 'skipped', finished_at = nominal_at")
    world.sql("update schedules set next_scheduled_at = null")
    world.clock.at = START + 3 * RANGE
    await world.store.engine().keep_ranges(KEEP)
    assert f"runs_{NOW}" in partitions(world)
    world.sql("update schedules set skip_range_at = null")
    await world.store.engine().keep_ranges(KEEP)
    assert f"runs_{NOW}" not in partitions(world)


async def test_ranges_are_dropped_one_at_a_time_the_oldest_first(world: World) -> None:
    world.clock.at = START + 2 * RANGE
    await world.store.engine().keep_ranges(KEEP)
    world.clock.at = START + 5 * RANGE
    for gone in range(3):
        assert f"runs_{NOW + gone}" in partitions(world)
        await world.store.engine().keep_ranges(KEEP)
        assert f"runs_{NOW + gone}" not in partitions(world)
        assert f"runs_{NOW + gone + 1}" in partitions(world)


async def test_the_pruner_drops_ranges_when_its_walk_is_over_and_makes_them_before(world: World) -> None:
    await world.put(triggers=YEARLY)
    await world.trigger()
    await world.work()
    columns = [name for (name,) in world.sql(COLUMNS)]
    copied = ", ".join("'copy-' || n" if name == "backfill_id" else f"r.{name}" for name in columns)
    world.sql(
        f"insert into runs (key, id, {', '.join(columns)}) "
        f"select r.key + n, lpad(n::text, 20, '0'), {copied} from runs r, generate_series(1, ?) n",
        BATCH,
    )
    world.clock.at = START + 3 * RANGE
    pruner = Prune(world.store.engine(), KEEP, world.clock)
    assert await pruner.turn() == BREATH
    assert f"runs_{NOW}" in partitions(world), "it has rows to delete first"
    assert f"runs_{NOW + 5}" in partitions(world), "what is to come finds room, however much there is to delete"
    assert await pruner.turn() == REST
    assert f"runs_{NOW}" not in partitions(world)


async def test_what_lies_in_the_default_partition_already_stays_there(world: World) -> None:
    await world.put(triggers=YEARLY)
    world.clock.at = START + 20 * RANGE
    await world.trigger()
    await prune(world)
    assert f"runs_{NOW + 20}" not in partitions(world)
    assert f"runs_{NOW + 21}" in partitions(world)
    await world.trigger()
    assert where(world) == ["runs_default"] * 2


async def reopen(world: World) -> None:
    """Start as after an outage."""
    (await open_store(world.url, clock=world.clock)).close()


async def test_what_an_outage_left_in_the_default_partition_is_pruned_in_batches(world: World) -> None:
    twice_a_day = [{"kind": "interval", "every": "12h"}]
    await world.put(triggers=twice_a_day, misfire_policy="fire_all", overlap_policy="allow_all")
    back = world.clock.at = START + 20 * RANGE
    await reopen(world)
    while (turn := await world.turn()).next_at and turn.next_at <= turn.now:
        pass
    [[late, total]] = world.sql(
        "select count(*) filter (where tableoid = 'runs_default'::regclass), count(*) from runs where backfill_id = ''"
    )
    assert total - 60 < late < total, "those of this range alone are where they belong"
    assert late > 500
    world.sql("update runs set state = 'succeeded', finished_at = ? where finished_at is null", back)
    world.clock.at = back + 31 * DAY
    batches = [(await world.store.engine().prune(KEEP, 0, 100)).runs for _ in range(late // 100 + 2)]
    await world.store.engine().keep_ranges(KEEP)
    assert max(batches) == 100
    assert sum(batches) >= late
    assert "runs_default" not in where(world)
    assert {f"runs_{NOW + ahead}" for ahead in range(20, 24)} <= partitions(world)


async def test_a_range_is_not_made_beside_somebody_who_writes_into_the_default_partition(world: World) -> None:
    await world.put(triggers=YEARLY)
    world.clock.at = START + 10 * RANGE
    await world.trigger()
    world.sql("create table kept as select * from runs")
    world.sql("delete from runs")
    writer = await asyncpg.connect(world.url, server_settings={"search_path": "scheduler"})
    await writer.execute("begin; insert into runs select * from kept")
    making = asyncio.create_task(asyncio.to_thread(world.sql, "select make_ranges(?)", world.clock.at))
    await asyncio.to_thread(until, "somebody who waits", lambda: world.sql(WAITING) != [(0,)])
    await writer.execute("commit")
    await writer.close()
    assert await making == [(2,)]
    assert where(world) == ["runs_default"]
    assert f"runs_{NOW + 10}" not in partitions(world)
