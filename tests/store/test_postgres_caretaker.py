"""What PostgreSQL leaves to us: a server that stands still in a transaction, and the statistics of a new database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from backend.store.postgres.caretaker import APPLICATION, LOOK_EVERY, WORTH_KNOWING
from backend.store.postgres.runner import PostgresRunner, open_runner
from backend.store.postgres.session import IDLE_TIMEOUT, settings_of
from backend.store.postgres.url import read_url
from benchmarks.copying import copy
from tests.databases import POSTGRES, database
from tests.store.world import World

pytestmark = pytest.mark.anyio

COPIES = 1000
KNOWN = "select reltuples from pg_class where oid = 'schedules'::regclass"
SIZE = "select pg_relation_size('schedules')"
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


async def gone(world: World, connection: Any, patience: float) -> bool:
    """Say whether what stands still, where a new statement is described and not yet used, has ended within seconds."""
    pid = connection.get_server_pid()
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
    async with connected(world, APPLICATION) as connection, connected(world, "psql") as theirs:
        await theirs.execute("begin; lock namespaces in access share mode")
        await theirs.prepare("select 1")
        await connection.execute("begin; select key from schedules for update")
        await connection.prepare("select 1")
        assert not await gone(world, connection, IDLE_TIMEOUT / 2)
        assert await gone(world, connection, 30)
        assert not await gone(world, theirs, LOOK_EVERY)  # what others do is not ours to end
    world.clock.go(minutes=1)
    assert (await world.turn()).schedules == 1


@pytest.mark.usefixtures("runner")
async def test_a_new_table_that_has_grown_gets_its_statistics_at_once(world: World) -> None:
    await world.put()
    async with connected(world, "test") as looking:
        await looking.execute("alter table schedules set (autovacuum_enabled = off)")
        await asyncio.sleep(LOOK_EVERY)
        assert await looking.fetchval(KNOWN) < 0  # one schedule is not worth it
        copy(world.url, "schedules", COPIES, {"id": "'copy-' || n.n"})
        assert await looking.fetchval(SIZE) > WORTH_KNOWING
        deadline = time.monotonic() + 30
        while await looking.fetchval(KNOWN) < 0:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        assert await looking.fetchval(KNOWN) == 1 + COPIES
