"""Many at once on one PostgreSQL: whoever comes second sees what the first did, nobody waits in a circle."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from backend.engine.plan import plan_all
from backend.engine.retry import settle
from backend.errors import Conflict, NotFound
from backend.model.run import AttemptState
from backend.store.leasing import Lessee
from backend.store.open import open_store
from backend.store.retention import Retention
from tests.databases import POSTGRES, database
from tests.store.world import LEASE as LONG
from tests.store.world import START, StillClock, World, result_of

pytestmark = pytest.mark.anyio
YEARLY = [{"kind": "interval", "every": "365d"}]
NOTHING_KEPT = Retention(timedelta(seconds=1), timedelta(seconds=1), timedelta(days=1), 5)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with database(POSTGRES, tmp_path) as url:
        yield url


async def _two_ended_at_once(world: World) -> None:
    """End two runs at once, by two workers, of a schedule of which an occurrence waits for both."""
    await world.trigger()
    await world.trigger()
    one, two = await world.claim(1, token="a"), await world.claim(1, token="b")
    world.clock.go(minutes=1)
    await world.turn()
    assert "buffered" in await world.states()
    await asyncio.gather(
        *(
            world.store.worker().finish([result_of(claim, claim.runs[0], AttemptState.SUCCEEDED, token=token)], settle)
            for claim, token in ((one, "a"), (two, "b"))
        )
    )


async def test_of_two_runs_that_end_at_once_the_last_queues_what_waits(world: World) -> None:
    await world.put(overlap_policy="buffer_all")
    for _ in range(15):
        await _two_ended_at_once(world)
        states = await world.states()
        assert "buffered" not in states
        assert states.count("queued") == 1
        await world.work()


async def test_failures_that_end_at_once_are_all_counted(world: World) -> None:
    await world.put(pause_after_failures=0, triggers=[{"kind": "interval", "every": "365d"}], retry={"max_attempts": 1})
    claims = []
    for number in range(8):
        await world.trigger()
        claims.append((await world.claim(1, token=f"t{number}"), f"t{number}"))
    await asyncio.gather(
        *(
            world.store.worker().finish([result_of(claim, claim.runs[0], AttemptState.FAILED, token=token)], settle)
            for claim, token in claims
        )
    )
    assert (await world.schedule()).failure_streak == 8


async def test_a_schedule_that_is_created_by_two_at_once_is_one(world: World) -> None:
    for number in range(10):
        made = await asyncio.gather(*(world.put(f"job-{number}") for _ in range(4)))
        assert len({schedule.key for schedule in made}) == 1


async def test_a_turn_passes_over_what_somebody_changes_and_says_that_it_is_due(world: World) -> None:
    key = (await world.put()).key
    await world.put("free")
    world.clock.go(minutes=1)
    connection = await asyncpg.connect(world.url)
    try:
        await connection.execute(f"begin; select 1 from scheduler.schedules where key = {key} for no key update")
        turn = await world.turn()
        assert (turn.schedules, turn.runs) == (1, 1)
        assert turn.next_at is not None
        assert turn.next_at <= turn.now, "it has to look again"
        assert (await world.turn()).schedules == 0
    finally:
        await connection.close()
    assert (await world.turn()).runs == 1


@pytest.fixture
async def crowd(url: str) -> AsyncIterator[list[World]]:
    """Two servers on one database, which share its clock."""
    clock = StillClock()
    stores = [await open_store(url, clock=clock) for _ in range(2)]
    try:
        yield [World(store, clock, url) for store in stores]
    finally:
        for store in stores:
            store.close()


async def _repeat(times: int, act: Callable[[], Awaitable[Any]]) -> None:
    for _ in range(times):
        with suppress(Conflict, NotFound):
            await act()


async def test_cancel_finish_prune_and_changes_never_wait_for_each_other_in_a_circle(crowd: list[World]) -> None:
    chance = random.Random(4)
    policies = ["cancel_other", "terminate_other", "buffer_all"] * 4
    for number, policy in enumerate(policies):
        await crowd[0].put(f"job-{number}", overlap_policy=policy)

    def actors(world: World, name: str) -> list[Callable[[], Awaitable[Any]]]:
        tokens: list[tuple[int, str]] = []

        async def turn() -> None:
            world.clock.go(seconds=20)
            await world.turn(limit=5)

        async def work() -> None:
            token = f"{name}{world.clock.at}{chance.random()}"
            claim = await world.store.worker().claim(Lessee(name, token, LONG), 6)
            tokens.extend((run.key, token) for run in claim.runs)
            await world.store.worker().extend(list(reversed(tokens)), LONG)
            results = [result_of(claim, run, AttemptState.FAILED, token=token) for run in claim.runs]
            chance.shuffle(results)
            await world.store.worker().finish(results, settle)

        async def cancel() -> None:
            for run in (await world.runs(limit=20))[:3]:
                with suppress(Conflict, NotFound):
                    await world.cancel(run.id)

        async def change() -> None:
            id_ = f"job-{chance.randrange(12)}"
            with suppress(AssertionError):  # what somebody has deleted cannot be paused
                acts: list[Callable[[str], Awaitable[Any]]] = [world.pause, world.resume, world.delete, world.put]
                await chance.choice(acts)(id_)

        async def prune() -> None:
            await world.store.engine().prune(NOTHING_KEPT, 0, 50)

        return [turn, work, cancel, change, prune, world.reap]

    # StoreUnavailable, which a deadlock would be, is not among what is expected.
    await asyncio.gather(*(_repeat(25, act) for n, world in enumerate(crowd) for act in actors(world, f"w{n}")))
    [[rows, distinct]] = crowd[0].sql(
        "select count(*), count(distinct schedule_key || '/' || nominal_at || '/' || backfill_id) from runs"
    )
    assert rows == distinct


async def test_of_cancels_and_claims_at_once_no_cancel_is_lost(crowd: list[World]) -> None:
    await crowd[0].put(triggers=YEARLY, overlap_policy="allow_all")
    runs = []
    for _ in range(40):
        runs.append(await crowd[0].trigger())
        crowd[0].clock.go(seconds=1)
    refused: set[str] = set()

    async def cancel(world: World) -> None:
        for run in runs[:: 1 if world is crowd[0] else -1]:
            try:
                await world.cancel(run.id)
            except Conflict:
                refused.add(run.id)

    async def work(world: World, name: str) -> None:
        for number in range(20):
            claim = await world.claim(2, token=f"{name}{number}")
            await world.finish(claim, token=f"{name}{number}")

    await asyncio.gather(*(cancel(world) for world in crowd), *(work(world, f"w{n}") for n, world in enumerate(crowd)))
    ended = {run.id: run.state for run in await crowd[0].runs()}
    assert {state for id_, state in ended.items() if id_ not in refused} <= {"cancelled"}
    assert {ended[id_] for id_ in refused} <= {"succeeded"}


async def test_two_engines_and_four_workers_record_and_dispatch_everything_once(crowd: list[World]) -> None:
    for number in range(40):
        await crowd[0].put(f"job-{number}", overlap_policy="allow_all")
    clock = crowd[0].clock
    dispatched: list[str] = []
    stop = asyncio.Event()

    async def engine(world: World) -> None:
        while not stop.is_set():
            await world.store.engine().take_turn(plan_all, 7)
            await asyncio.sleep(0)

    async def worker(world: World, name: str) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            token = f"{name}-{number}"
            claim = await world.store.worker().claim(Lessee(name, token, LONG), 9)
            dispatched.extend(run.id for run in claim.runs)
            results = [result_of(claim, run, AttemptState.SUCCEEDED, token=token) for run in claim.runs]
            done = await world.store.worker().finish(results, settle)
            assert all(one.accepted for one in done.finished)

    async def time() -> None:
        for _ in range(10):
            clock.go(minutes=1)
            async with asyncio.timeout(60):
                while len(dispatched) < 40 * (clock.at - START) // 60_000_000:  # noqa: ASYNC110 - rings no bell
                    await asyncio.sleep(0.005)
        stop.set()

    workers = [worker(world, f"w{n}{m}") for n, world in enumerate(crowd) for m in range(2)]
    await asyncio.gather(time(), *(engine(world) for world in crowd), *workers)
    assert len(dispatched) == len(set(dispatched)) == 400
    assert crowd[0].sql("select count(*), min(state), max(state) from runs") == [(400, "succeeded", "succeeded")]
