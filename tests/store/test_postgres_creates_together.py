"""Creates of many namespaces in one transaction on PostgreSQL, where somebody else may be at one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.databases import POSTGRES, database
from tests.store.test_creates_together import create, ids, tenants
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
