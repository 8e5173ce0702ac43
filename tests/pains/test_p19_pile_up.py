"""P19: a job that runs every minute and takes ten piles up without bound. Here it does only for who asks for that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from backend.model.instants import MINUTE
from backend.store.leasing import Claim, Lessee
from backend.store.open import open_store
from tests.databases import url_in
from tests.store.world import START, StillClock, World

pytestmark = pytest.mark.anyio
MINUTES = 60
TAKES = 10


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock, url = StillClock(), url_in(tmp_path)
    store = await open_store(url, clock=clock)
    try:
        yield World(store, clock, url)
    finally:
        store.close()


async def an_hour(world: World) -> int:
    """Let an hour pass in which every run takes ten minutes; answers how many were at work at a time at the most."""
    most = 0
    at_work: list[tuple[int, Claim]] = []
    for minute in range(1, MINUTES + 1):
        world.clock.at = START + minute * MINUTE
        await world.turn()
        for began, claim in list(at_work):
            if minute - began >= TAKES:
                await world.finish(claim)
                at_work.remove((began, claim))
        at_work.append((minute, await world.store.worker().claim(Lessee("w1", "t1", timedelta(hours=1)), 100)))
        most = max(most, (await world.states()).count("running"))
    return most


@pytest.mark.parametrize("policy", [{}, {"overlap_policy": "skip"}])
async def test_by_default_one_runs_at_a_time_and_every_skipped_tick_says_why(
    world: World, policy: dict[str, str]
) -> None:
    await world.put(**policy)
    assert await an_hour(world) == 1
    runs = await world.runs()
    assert {(run.state, run.reason) for run in runs} == {("succeeded", None), ("running", None), ("skipped", "overlap")}
    assert sum(max(run.missed_count, 1) for run in runs) == MINUTES


@pytest.mark.parametrize("policy", ["buffer_one", "buffer_all", "cancel_other", "terminate_other"])
async def test_under_no_other_policy_do_two_run_at_a_time_and_what_waits_is_bounded(world: World, policy: str) -> None:
    await world.put(overlap_policy=policy)
    assert await an_hour(world) == 1
    waiting = (await world.states()).count("buffered")
    assert waiting <= {"buffer_all": MINUTES, "terminate_other": 0}.get(policy, 1)
    assert sum(max(run.missed_count, 1) for run in await world.runs()) == MINUTES


async def test_who_asks_for_all_gets_all(world: World) -> None:
    await world.put(overlap_policy="allow_all")
    assert await an_hour(world) == TAKES
