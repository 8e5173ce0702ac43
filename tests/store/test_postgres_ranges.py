"""The ledger of PostgreSQL is kept in partitions of four weeks: made ahead, dropped when all in them is too old."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from backend.model.instants import DAY
from backend.store.retention import Retention
from tests.databases import POSTGRES, database
from tests.store.world import START, World

pytestmark = pytest.mark.anyio
RANGE = 28 * DAY
NOW = START // RANGE
# So many are kept by number that only their age counts.
KEEP = Retention(timedelta(days=30), timedelta(days=30), timedelta(days=30), 1000)
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


async def test_what_lies_in_the_default_partition_already_stays_there(world: World) -> None:
    await world.put(triggers=YEARLY)
    world.clock.at = START + 20 * RANGE
    await world.trigger()
    await prune(world)
    assert f"runs_{NOW + 20}" not in partitions(world)
    assert f"runs_{NOW + 21}" in partitions(world)
    await world.trigger()
    assert where(world) == ["runs_default"] * 2
