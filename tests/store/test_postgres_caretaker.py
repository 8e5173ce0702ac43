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

from backend.store.postgres import caretaker, listener
from backend.store.postgres.caretaker import WORTH_KNOWING, Caretaker
from backend.store.postgres.runner import PostgresRunner, open_runner
from backend.store.postgres.session import settings_of
from backend.store.postgres.url import read_url
from benchmarks.copying import copy
from tests.databases import POSTGRES, database
from tests.store.world import World

pytestmark = pytest.mark.anyio

LIMIT, LOOK_EVERY = 1.0, 0.2
COPIES = 1000
KNOWN = "select reltuples from pg_class where oid = 'schedules'::regclass"
SIZE = "select pg_relation_size('schedules')"
TRANSACTION = "select pid, state, wait_event from pg_stat_activity where pid = $1 and xact_start is not null"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with database(POSTGRES, tmp_path) as url:
        yield url


@pytest.fixture(params=["pool_size=1", "pgbouncer=true"])
async def runner(
    request: pytest.FixtureRequest, world: World, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[PostgresRunner]:
    monkeypatch.setattr(caretaker, "COMMAND_TIMEOUT", LIMIT)
    monkeypatch.setattr(listener, "LOOK_EVERY", LOOK_EVERY)
    runner = await open_runner(read_url(f"{world.url}&{request.param}"))
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
@pytest.mark.parametrize("behind_a_host", [False, True])
async def test_what_a_server_has_locked_where_no_limit_of_the_database_reaches_is_free_again(
    world: World, *, behind_a_host: bool
) -> None:
    await world.put()
    ours = read_url(world.url).application
    if behind_a_host:
        ours += " - unix(17573@host):6001"  # as PgBouncer can be told to write it
    async with connected(world, ours) as connection, connected(world, "psql") as theirs:
        await theirs.execute("begin; lock namespaces in access share mode")
        await theirs.prepare("select 1")
        await connection.execute("begin; select key from schedules for update")
        await connection.prepare("select 1")
        assert not await gone(world, connection, LIMIT / 2)
        assert await gone(world, connection, 30)
        assert not await gone(world, theirs, LIMIT)  # what others do is not ours to end
    world.clock.go(minutes=1)
    assert (await world.turn()).schedules == 1


async def statistics(looking: Any) -> float:
    """Wait for them."""
    deadline = time.monotonic() + 30
    while (known := await looking.fetchval(KNOWN)) < 0:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    return float(known)


@pytest.mark.usefixtures("runner")
async def test_a_new_table_that_has_grown_gets_its_statistics_at_once(world: World) -> None:
    await world.put()
    async with connected(world, "test") as looking:
        await looking.execute("alter table schedules set (autovacuum_enabled = off)")
        await asyncio.sleep(2 * LOOK_EVERY)
        assert await looking.fetchval(KNOWN) < 0  # one schedule is not worth it
        copy(world.url, "schedules", COPIES, {"id": "'copy-' || n.n"})
        assert await looking.fetchval(SIZE) > WORTH_KNOWING
        assert await statistics(looking) == 1 + COPIES
        assert await looking.fetchval("select count(*) from pg_stats where tablename = 'schedules'") > 1


async def test_what_the_database_refuses_hinders_nothing_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caretaker, "_END_STANDSTILL", "select no_such_function()")
    await world.put()
    async with connected(world, "test") as looking:
        copy(world.url, "schedules", COPIES, {"id": "'copy-' || n.n"})
        heard = asyncio.Event()
        runner = await open_runner(read_url(world.url))
        runner.hear(lambda _: heard.set())
        monkeypatch.setattr(listener, "LOOK_EVERY", LOOK_EVERY)
        try:
            assert await statistics(looking) == 1 + COPIES
            heard.clear()
            await looking.execute(f"notify {read_url(world.url).channel}, 'runs'")
            await asyncio.wait_for(heard.wait(), 10)
        finally:
            runner.close()


async def test_a_table_that_somebody_holds_is_passed_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.put()
    copy(world.url, "schedules", COPIES, {"id": "'copy-' || n.n"})
    monkeypatch.setattr(listener, "LOOK_EVERY", LOOK_EVERY)
    async with connected(world, "test") as looking, connected(world, "psql") as theirs:
        await theirs.execute("alter table schedules set (autovacuum_enabled = off)")
        await theirs.execute("set idle_in_transaction_session_timeout = 0; begin; lock schedules in share mode")
        runner = await open_runner(read_url(world.url))
        runner.hear(lambda _: None)
        try:
            await asyncio.sleep(5 * LOOK_EVERY)
            assert await looking.fetchval(KNOWN) < 0
            await theirs.execute("rollback")
            assert await statistics(looking) == 1 + COPIES
        finally:
            runner.close()


async def test_a_table_that_somebody_has_locked_whole_costs_no_connection(world: World) -> None:
    await world.put()
    copy(world.url, "schedules", COPIES, {"id": "'copy-' || n.n"})
    target = read_url(world.url)
    looking = await asyncpg.connect(target.dsn, command_timeout=LIMIT)
    try:
        async with connected(world, "psql") as theirs:
            await theirs.execute("begin; lock schedules in access exclusive mode")
            async with asyncio.timeout(10):
                await Caretaker(target).look(looking)
            await theirs.execute("rollback")
        assert await looking.fetchval("select 1") == 1
    finally:
        looking.terminate()
