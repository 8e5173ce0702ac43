"""A server that stands still where PostgreSQL takes it for one that works: its transaction is ended by the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from backend.store.postgres.runner import PostgresRunner, open_runner
from backend.store.postgres.session import IDLE_TIMEOUT, settings_of
from backend.store.postgres.standstill import APPLICATION, LOOK_EVERY
from backend.store.postgres.url import read_url
from tests.databases import POSTGRES, database
from tests.store.world import World

pytestmark = pytest.mark.anyio

TRANSACTION = "select pid, state, wait_event from pg_stat_activity where pid = $1 and xact_start is not null"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with database(POSTGRES, tmp_path) as url:
        yield url


@pytest.fixture
async def runner(world: World) -> AsyncIterator[PostgresRunner]:
    runner = await open_runner(read_url(f"{world.url}&pool_size=1"))
    runner.hear(lambda _: None)
    yield runner
    runner.close()


@asynccontextmanager
async def connected(world: World, application: str) -> AsyncIterator[Any]:
    target = read_url(world.url)
    connection = await asyncpg.connect(target.dsn, server_settings={"application_name": application})
    await connection.execute(f"{settings_of(target)}; set search_path = {target.schema}")
    try:
        yield connection
    finally:
        connection.terminate()


async def standing_still(connection: Any) -> None:
    """Lock every schedule, and stop where a new statement is described and not yet used."""
    await connection.execute("begin; select key from schedules for update")
    await connection.prepare("select 1")


async def gone(world: World, pid: int, patience: float) -> bool:
    async with connected(world, "test") as looking:
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if not await looking.fetch(TRANSACTION, pid):
                return True
            await asyncio.sleep(0.1)
        rows = await looking.fetch(TRANSACTION, pid)
        assert [tuple(row)[1:] for row in rows] == [("active", "ClientRead")]
        return False


@pytest.mark.usefixtures("runner")
async def test_what_a_server_has_locked_where_no_limit_of_the_database_reaches_is_free_again(world: World) -> None:
    await world.put()
    async with connected(world, APPLICATION) as connection:
        await standing_still(connection)
        assert not await gone(world, connection.get_server_pid(), IDLE_TIMEOUT / 2)
        assert await gone(world, connection.get_server_pid(), 30)
    world.clock.go(minutes=1)
    assert (await world.turn()).schedules == 1


@pytest.mark.usefixtures("runner")
async def test_what_others_do_in_the_same_database_is_left_alone(world: World) -> None:
    await world.put()
    async with connected(world, "psql") as connection:
        await standing_still(connection)
        assert not await gone(world, connection.get_server_pid(), IDLE_TIMEOUT + 2 * LOOK_EVERY)
