"""An older PostgreSQL than the newest: every statement is understood, and a schedule lives its whole life there.

The whole suite runs on it with `PGSERVER_POSTGRES_VERSION=16 make test`, and on any other with `TEST_POSTGRES_DSN`.
"""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from backend.model.instants import DAY
from backend.store.open import check_database, migrate_database, open_store
from backend.store.postgres.statements import load_statements
from tests.databases import OLDER, at, run_sql, server_of
from tests.store.test_postgres_ranges import KEEP
from tests.store.world import START, StillClock, World

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def url() -> str:
    run_sql(server_of(OLDER), "create database older")
    migrate_database(at(server_of(OLDER), "older"))
    return at(server_of(OLDER), "older")


async def test_every_statement_is_understood(url: str) -> None:
    connection = await asyncpg.connect(url, server_settings={"search_path": "scheduler"})
    assert connection.get_server_version().major == OLDER
    statements = load_statements()
    for one in (*statements.named.values(), *statements.locks.values()):
        await connection.prepare(one.text)
    await connection.close()


async def test_a_schedule_is_planned_worked_pruned_and_found_sound(url: str) -> None:
    clock = StillClock()
    store = await open_store(url, clock=clock)
    world = World(store, clock, url)
    await world.put()
    clock.go(minutes=1)
    assert (await world.turn()).runs == 1
    assert len((await world.work()).finished) == 1
    await world.delete()
    clock.at = START + 100 * DAY
    assert (await store.engine().prune(KEEP, 0, 500)).schedules == 1
    store.close()
    assert await asyncio.to_thread(check_database, url) == []
