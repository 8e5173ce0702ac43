"""A claim on PostgreSQL sees what is committed after it has looked at the clock: the record must not lie about it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from backend.store.open import open_store
from tests.databases import POSTGRES, database
from tests.store.world import StillClock, World

pytestmark = pytest.mark.anyio


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with database(POSTGRES, tmp_path) as url:
        yield url


@pytest.fixture
async def other(world: World) -> AsyncIterator[World]:
    """A second replica, whose clock is a little later: it has looked at it later."""
    clock = StillClock(world.clock.at)
    store = await open_store(world.url, clock=clock)
    try:
        yield World(store, clock, world.url)
    finally:
        store.close()


async def _claimed_by_who_looked_before(world: World, other: World, **later: float) -> tuple[int, int]:
    """End a run at a later time than that at which the one that waited for it is claimed; answers end and begin."""
    await world.put(overlap_policy="buffer_all")
    await world.turn()
    world.clock.go(minutes=1)
    await world.turn()
    claimed = await world.claim(1)
    world.clock.go(minutes=1)
    await world.turn()
    other.clock.at = world.clock.at
    other.clock.go(**later)
    await other.finish(claimed)
    await world.claim(1, token="t2")
    first, second = [run for run in reversed(await world.runs()) if run.started_at is not None]
    assert first.finished_at is not None
    assert second.started_at is not None
    assert second.attempt_started_at == second.started_at
    return first.finished_at, second.started_at


async def test_a_run_never_begins_before_the_end_of_the_one_it_waited_for(world: World, other: World) -> None:
    ended, began = await _claimed_by_who_looked_before(world, other, milliseconds=4)
    assert began == ended


async def test_a_clock_that_went_back_is_not_followed(world: World, other: World) -> None:
    _, began = await _claimed_by_who_looked_before(world, other, seconds=30)
    assert began == world.clock.at
