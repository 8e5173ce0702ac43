"""The reaper rests until the next lease ends, so that a dead worker's runs wait for nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backend.engine.reap import AGAIN, Reap
from backend.events import Events
from backend.store.leasing import Claim
from tests.store.world import LEASE, World

pytestmark = pytest.mark.anyio
THIRD = LEASE.total_seconds() / 3


def reap_of(world: World) -> Reap:
    return Reap(world.store.engine(), Events(), lambda: None, LEASE)


async def test_with_no_lease_it_rests_a_third_of_one(world: World) -> None:
    assert await reap_of(world).turn() == THIRD


async def test_it_never_rests_longer_than_that(world: World) -> None:
    await leased(world)
    assert await reap_of(world).turn() == THIRD


async def test_it_looks_again_when_the_next_lease_ends(world: World) -> None:
    await leased(world)
    world.clock.go(seconds=LEASE.total_seconds() - 2)
    assert await reap_of(world).turn() == 2


async def test_a_lease_that_ends_now_is_looked_at_again_soon(world: World) -> None:
    await leased(world)
    world.clock.at += LEASE // timedelta(microseconds=1)
    assert await reap_of(world).turn() == AGAIN
    assert await world.states() == ["running"]
    world.clock.at += 1
    assert await reap_of(world).turn() == THIRD
    assert await world.states() == ["queued"]


async def test_leases_that_are_renewed_are_waited_for_anew(world: World) -> None:
    claim = await leased(world)
    world.clock.go(seconds=LEASE.total_seconds() - 1)
    await world.store.worker().extend([(run.key, "t1") for run in claim.runs], LEASE)
    assert await reap_of(world).turn() == THIRD


async def test_runs_that_have_ended_are_not_waited_for(world: World) -> None:
    claim = await leased(world)
    world.clock.go(seconds=LEASE.total_seconds() - 1)
    await world.finish(claim)
    assert await reap_of(world).turn() == THIRD


async def test_what_stands_still_is_found_in_a_walk_of_several_looks_that_begins_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.store.planning.LOOKED_AT", 2)
    for number in range(5):
        await world.put(f"job-{number}", overlap_policy="buffer_all")
        await world.trigger(f"job-{number}")
    world.clock.go(minutes=1)
    await world.turn()
    reap = reap_of(world)
    waiting = "select count(*) from runs where state = 'buffered'"
    assert world.sql(waiting) == [(5,)]
    await reap.turn()
    # The bug that this is a net for: something ends a run, and queues nothing.
    world.sql("update runs set state = 'succeeded', finished_at = ? where state = 'queued'", world.clock.at)
    left = []
    for _ in range(3):
        await reap.turn()
        left.append(world.sql(waiting)[0][0])
    assert left == [3, 2, 0], "the last look of the first walk finds one, the next walk begins with two"


async def leased(world: World) -> Claim:
    await world.put()
    await world.trigger()
    return await world.claim()
