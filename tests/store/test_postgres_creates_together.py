"""Creates of many namespaces in one transaction on PostgreSQL, where somebody else may be at one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import sleep

import asyncpg
import pytest

from backend.store.open import open_store
from backend.store.operation import Operation, think
from backend.store.repeats import Repeated, shown
from tests.databases import POSTGRES, database
from tests.store.test_creates_together import Counting, create, ids, noting, tenants
from tests.store.world import World

pytestmark = pytest.mark.anyio


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with database(POSTGRES, tmp_path) as url:
        yield url


async def test_who_waits_for_a_namespace_holds_nobody_up_elsewhere(world: World) -> None:
    await tenants(world, 2)
    connection = await asyncpg.connect(world.url)
    try:
        async with connection.transaction():
            await connection.execute("select 1 from scheduler.namespaces where id = 'tenant-0' for no key update")
            held = [asyncio.create_task(create(world.store, f"job-{n}", namespace="tenant-0")) for n in range(3)]
            async with asyncio.timeout(2):
                await asyncio.gather(*(create(world.store, f"job-{n}", namespace="tenant-1") for n in range(20)))
            assert not any(task.done() for task in held)
        await asyncio.gather(*held)
    finally:
        await connection.close()
    assert len(ids(world)) == 23


async def test_two_servers_at_one_namespace_gather_all_the_same(world: World) -> None:
    other = await open_store(world.url, clock=world.clock)
    runners = [Counting(world.store.runner), Counting(other.runner)]
    stores = [replace(one, runner=runner) for one, runner in zip((world.store, other), runners, strict=True)]

    async def person(number: int) -> None:
        for n in range(10):
            await create(stores[number % 2], f"job-{number}-{n}")

    try:
        await asyncio.gather(*(person(number) for number in range(40)))
    finally:
        other.close()
    assert len(ids(world)) == 400
    assert sum(runner.writes for runner in runners) < 150


async def test_who_waits_for_the_same_request_holds_nobody_else_up(world: World) -> None:
    await tenants(world, 1)
    other = await open_store(world.url, clock=world.clock)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        """Be another server that is at the first of two requests with one key."""

        def slow() -> Operation[None]:
            begun.set()
            while not go_on.is_set():
                yield from think()
                sleep(0.01)

        await other.runner.write(noting(world, "r-1").around(slow(), shown(lambda _: None)))

    try:
        holding = asyncio.create_task(hold())
        await begun.wait()
        second = asyncio.create_task(create(world.store, "job", noting=noting(world, "r-1")))
        async with asyncio.timeout(2):
            tickets = [noting(world, f"s-{n}") for n in range(20)]
            await asyncio.gather(*(create(world.store, f"job-{n}", noting=one) for n, one in enumerate(tickets)))
        assert not second.done()
        go_on.set()
        await holding
        with pytest.raises(Repeated):
            await second
    finally:
        go_on.set()
        other.close()
