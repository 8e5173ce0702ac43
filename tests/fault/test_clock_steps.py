"""Two engines on one PostgreSQL whose clocks disagree, and step: one run per occurrence all the same."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from backend.model.instants import SECOND
from backend.store.open import open_store
from tests.databases import POSTGRES, database
from tests.store.world import StillClock, World

pytestmark = pytest.mark.anyio
SCHEDULES, MINUTES = 20, 15
SKEW = 150
"""Seconds that one clock is at most ahead of the other, or behind: more than two occurrences."""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with database(POSTGRES, tmp_path) as url:
        yield url


@pytest.fixture
async def worlds(url: str) -> AsyncIterator[list[World]]:
    clocks = [StillClock(), StillClock()]
    worlds = [World(await open_store(url, clock=clock), clock, url) for clock in clocks]
    yield worlds
    for world in worlds:
        world.store.close()


async def everything_planned(worlds: list[World]) -> None:
    while any(turn.schedules for turn in await asyncio.gather(*(world.turn(7) for world in worlds))):
        pass


@pytest.mark.parametrize("seed", range(3))
async def test_engines_with_clocks_that_step_apart_plan_every_occurrence_once(worlds: list[World], seed: int) -> None:
    chance = random.Random(seed)
    for n in range(SCHEDULES):
        await worlds[0].put(f"job-{n}", overlap_policy="allow_all", misfire_policy="fire_all")
    start = worlds[0].clock.at
    for minute in range(MINUTES):
        for world in worlds:
            world.clock.at = start + minute * 60 * SECOND + chance.randint(-SKEW, SKEW) * SECOND
        await everything_planned(worlds)
    for world in worlds:
        world.clock.at = start + MINUTES * 60 * SECOND
    await everything_planned(worlds)
    rows = worlds[0].sql("select schedule_key, nominal_at from runs order by 1, 2")
    keys = [row[0] for row in worlds[0].sql("select key from schedules order by 1")]
    due = range(start + 60 * SECOND, max(nominal for _, nominal in rows) + 1, 60 * SECOND)
    assert rows == [(key, nominal) for key in keys for nominal in due if nominal <= last(rows, key)]
    assert all(last(rows, key) >= start + MINUTES * 60 * SECOND for key in keys)


def last(rows: list[tuple[int, int]], key: int) -> int:
    return max(nominal for schedule, nominal in rows if schedule == key)


async def test_a_worker_whose_clock_was_behind_is_refused_once_its_lease_has_passed_on(worlds: list[World]) -> None:
    ahead, behind = worlds
    await behind.put("job")
    behind.clock.go(minutes=1)
    await behind.turn()
    claim = await behind.claim(token="old", worker="behind")
    # By the other clock the lease has been over for long: its holder is taken for dead, although it is not.
    ahead.clock.go(minutes=1, seconds=SKEW)
    assert (await ahead.reap()).requeued == 1
    taken = await ahead.claim(token="new", worker="ahead")
    assert [run.attempt for run in taken.runs] == [2]
    assert not (await behind.finish(claim, token="old")).finished[0].accepted
    assert (await ahead.finish(taken, token="new")).finished[0].accepted
    assert await ahead.states() == ["succeeded"]
