"""The list of workers: who came, who is there, who left, on how many runs."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backend.model.instants import SECOND
from backend.store.retention import Retention
from backend.store.workers import Presence, WorkerRow
from tests.store.world import LEASE, World

pytestmark = pytest.mark.anyio

KEEP = Retention(timedelta(days=30), timedelta(days=90), timedelta(days=30), 1000)


def presence(name: str = "w1", *, draining: bool = False) -> Presence:
    return Presence(name, "host-a", 4711, "1.0", 64, LEASE, draining)


async def tell(world: World, *told: Presence) -> None:
    for one in told:
        assert await world.store.worker().extend([], LEASE, one) == (set(), set())


async def listed(world: World, *, after: str = "", limit: int = 50) -> list[WorkerRow]:
    now, rows = await world.store.admin().workers(after=after, limit=limit)
    assert now == world.clock.at
    return rows


async def test_a_heartbeat_puts_a_worker_on_the_list_and_keeps_since_when_it_is_there(world: World) -> None:
    came = world.clock.at
    await tell(world, presence())
    world.clock.go(seconds=5)
    await tell(world, presence(draining=True))
    lease = int(LEASE.total_seconds()) * SECOND
    assert await listed(world) == [WorkerRow("w1", "host-a", 4711, "1.0", 64, lease, came, came + 5 * SECOND, 1, 0)]


async def test_the_list_says_how_many_runs_each_holds(world: World) -> None:
    await world.put()
    for _ in range(5):
        await world.trigger()
        world.clock.go(seconds=1)
    await tell(world, presence("w1"), presence("w2"), presence("w3"))
    await world.claim(3, worker="w1")
    held = await world.claim(2, worker="w2", token="t2")
    await world.finish(held._replace(runs=held.runs[:1]), token="t2")
    assert [(row.name, row.runs) for row in await listed(world)] == [("w1", 3), ("w2", 1), ("w3", 0)]


async def test_the_list_is_read_in_pages_by_name(world: World) -> None:
    await tell(world, *(presence(f"w{number}") for number in range(5)))
    first = await listed(world, limit=2)
    assert [row.name for row in first] == ["w0", "w1"]
    assert [row.name for row in await listed(world, after="w1", limit=9)] == ["w2", "w3", "w4"]


async def test_workers_are_counted_by_what_they_do(world: World) -> None:
    await tell(world, presence("gone"))
    world.clock.go(seconds=LEASE.total_seconds() + 1)
    await tell(world, presence("here"), presence("leaving", draining=True))
    assert await world.store.admin().count_workers() == {"silent": 1, "working": 1, "draining": 1}


async def test_who_leaves_is_off_the_list(world: World) -> None:
    await tell(world, presence("w1"), presence("w2"))
    await world.store.worker().leave("w1")
    await world.store.worker().leave("nobody")
    assert [row.name for row in await listed(world)] == ["w2"]


async def test_the_silent_are_forgotten_an_hour_after_their_lease_was_over(world: World) -> None:
    await tell(world, presence("w1"), presence("w2")._replace(lease=timedelta(hours=1)))
    world.clock.go(seconds=3600 + LEASE.total_seconds())
    await tell(world, presence("w3"))
    await world.store.engine().prune(KEEP, 0, 100)
    assert (await world.store.admin().count_workers())["silent"] == 2
    world.clock.go(seconds=1)
    await world.store.engine().prune(KEEP, 0, 100)
    assert [row.name for row in await listed(world)] == ["w2", "w3"], "an alert about w1 has ended by itself"
