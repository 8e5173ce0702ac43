"""The PostgreSQL runner: whole transactions or nothing, an honest end of connections, hints to other servers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from backend.errors import ConfigurationError, Conflict, StoreUnavailable
from backend.store.audit_log import Entry, note
from backend.store.open import check_database, migrate_database, open_store
from backend.store.operation import Operation, Query, now, think
from backend.store.port import Store
from backend.store.postgres import migrate as migration
from backend.store.postgres.runner import PostgresRunner, open_runner
from backend.store.postgres.session import MANY
from backend.store.postgres.url import Target, read_url
from backend.store.wakeup import EVERYTHING, RUNS, TIMES
from tests.databases import POSTGRES, at, database, run_sql, server
from tests.store.world import START, StillClock, World

pytestmark = pytest.mark.anyio


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with database(POSTGRES, tmp_path) as url:
        yield url


@pytest.fixture
async def runner(url: str) -> AsyncIterator[PostgresRunner]:
    runner = await open_runner(read_url(f"{url}&pool_size=2"))
    yield runner
    runner.close()


def put(key: str, value: str = "v") -> Operation[str]:
    yield Query("put_info", {"key": key, "value": value})
    return key


def get(key: str) -> Operation[str | None]:
    rows = yield Query("read_info", {"key": key})
    return rows[0][0] if rows else None


def put_and_refuse(key: str) -> Operation[None]:
    yield from put(key)
    raise Conflict(key)


def cut(url: str) -> None:
    """End all connections of others, as a restart of the server would."""
    run_sql(url, "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() "
                 "and datname = current_database()")  # fmt: skip


async def test_what_raises_writes_nothing_and_leaves_the_connection_usable(runner: PostgresRunner) -> None:
    for number in range(5):
        with pytest.raises(Conflict):
            await runner.write(put_and_refuse(f"k{number}"))
        assert await runner.read(get(f"k{number}")) is None
    assert await runner.write(put("k")) == "k"


async def test_what_an_operation_thinks_between_statements_does_not_hold_the_loop(runner: PostgresRunner) -> None:
    begun, over = threading.Event(), threading.Event()

    def planning() -> Operation[str]:
        yield from put("plan")
        yield from think()
        begun.set()
        assert over.wait(30), "the loop did not go on while this waited"
        return "planned"

    planned = asyncio.create_task(runner.write(planning()))
    while not begun.is_set():  # noqa: ASYNC110 - a thread sets it
        await asyncio.sleep(0.001)
    over.set()  # this very line would not be reached if the operation held the loop
    assert await planned == "planned"


@pytest.mark.parametrize(("number", "here"), [(1, True), (MANY, True), (MANY + 1, False)])
async def test_only_what_makes_something_of_many_rows_takes_a_thread(
    runner: PostgresRunner, number: int, here: bool
) -> None:
    mine = threading.current_thread()

    def noting() -> Operation[bool]:
        yield from note([Entry(None, "key", "k", "created", by="test")] * number, START)
        return threading.current_thread() is mine

    assert await runner.write(noting()) is here


async def test_a_caller_that_goes_away_while_an_operation_thinks_undoes_it_when_it_has_thought(
    runner: PostgresRunner,
) -> None:
    begun, over = threading.Event(), threading.Event()

    def planning() -> Operation[None]:
        yield from put("left")
        yield from think()
        begun.set()
        over.wait(30)
        yield from put("further")

    planned = asyncio.create_task(runner.write(planning()))
    while not begun.is_set():  # noqa: ASYNC110 - a thread sets it
        await asyncio.sleep(0.001)
    planned.cancel()
    asyncio.get_running_loop().call_later(0.05, over.set)
    with pytest.raises(asyncio.CancelledError):
        await planned
    assert await runner.read(get("left")) is None
    assert await runner.write(put("left")) == "left"


async def test_a_read_cannot_write(runner: PostgresRunner) -> None:
    with pytest.raises(StoreUnavailable):
        await runner.read(put("k"))


async def test_a_caller_that_goes_away_undoes_its_transaction(runner: PostgresRunner) -> None:
    entered = asyncio.Event()

    def endless() -> Operation[None]:
        yield from put("half")
        entered.set()
        while True:
            yield Query("read_info", {"key": "x"})

    task = asyncio.ensure_future(runner.write(endless()))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await runner.read(get("half")) is None
    assert await runner.write(put("whole")) == "whole"


async def test_lost_connections_are_said_and_made_again(runner: PostgresRunner, url: str) -> None:
    await runner.write(put("before"))
    cut(url)

    async def ask() -> str | None:
        return await runner.read(get("before"))

    answers = [(await asyncio.gather(ask(), return_exceptions=True))[0] for _ in range(4)]
    assert all(isinstance(one, StoreUnavailable) or one == "v" for one in answers)
    assert answers[-1] == "v"


async def test_a_connection_that_is_lost_in_the_middle_writes_nothing(runner: PostgresRunner, url: str) -> None:
    def interrupted() -> Operation[None]:
        yield from put("half")
        cut(url)
        yield Query("read_info", {"key": "x"})

    with pytest.raises(StoreUnavailable):
        await runner.write(interrupted())
    assert run_sql(url, "select 1 from store_info where key = 'half'") == []


async def test_a_pool_that_is_exhausted_is_a_store_that_is_unavailable(
    runner: PostgresRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.store.postgres.runner.ACQUIRE_TIMEOUT", 0.1)
    async with runner._pool.acquire(), runner._pool.acquire():
        with pytest.raises(StoreUnavailable, match="did not answer"):
            await runner.write(put("k"))
    assert await runner.write(put("k")) == "k"


async def test_a_lock_that_is_held_too_long_is_a_store_that_is_unavailable(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.store.postgres.session.LOCK_TIMEOUT", "50ms")
    runner = await open_runner(read_url(url))

    def hold() -> Operation[None]:
        yield Query("hold_namespace", {"namespace": "default"})

    async with runner._pool.acquire() as connection, connection.transaction():
        await connection.execute("select 1 from scheduler.namespaces for update")
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            await runner.write(hold())
    await runner.write(hold())
    runner.close()


async def test_a_closed_store_is_unavailable(runner: PostgresRunner) -> None:
    await runner.write(put("k"))
    await asyncio.to_thread(runner.close)
    with pytest.raises(StoreUnavailable):
        await runner.write(put("k"))


async def test_the_clock_is_read_once_per_transaction(url: str) -> None:
    def twice() -> Operation[tuple[int, int]]:
        first = yield from now()
        return first, (yield from now())

    own, given = await open_runner(read_url(url)), await open_runner(read_url(url), clock=StillClock())
    first, second = await own.write(twice())
    assert first == second > 1_700_000_000_000_000
    assert await own.read(now()) > first
    assert await given.read(now()) == START
    own.close()
    given.close()


async def test_it_works_behind_a_pooler_in_transaction_mode(url: str) -> None:
    store = await open_store(f"{url}&pgbouncer=true", clock=(clock := StillClock()))
    world = World(store, clock, url)
    await world.put()
    clock.go(minutes=1)
    assert (await world.turn()).runs == 1
    assert len((await world.work()).finished) == 1
    store.close()


async def test_other_servers_hear_of_new_times_and_waiting_runs(url: str) -> None:
    clock = StillClock()
    here, there = await open_store(url, clock=clock), await open_store(url, clock=clock)
    heard: asyncio.Queue[frozenset[str]] = asyncio.Queue()
    there.hear(heard.put_nowait)
    world = World(here, clock, url)
    async with asyncio.timeout(30):
        assert await heard.get() == EVERYTHING  # what was said before it listened
        await world.put(overlap_policy="allow_all")
        assert await heard.get() == {TIMES}
        clock.go(minutes=1)
        await world.turn()
        assert await heard.get() == {RUNS}
        # No engine sleeps for so long that it would have to be woken for this one.
        await world.put("far", triggers=[{"kind": "interval", "every": "1d"}])
        clock.go(minutes=1)
        await world.turn()
        assert await heard.get() == {RUNS}
        cut(url)
        assert await heard.get() == EVERYTHING
    _close(here, there)


def _close(*stores: Store) -> None:
    for store in stores:
        store.close()


def test_a_url_says_where_and_how() -> None:
    assert read_url(
        "postgres://me:secret@db:5433/app?schema=mine&sslmode=require&connection_limit=4&pgbouncer=true"
    ) == (Target("postgresql://me:secret@db:5433/app?sslmode=require", "mine", 4, 5, pooled=True))
    assert read_url("postgresql:///app?host=/run/x").dsn == "postgresql:///app?host=%2Frun%2Fx"


@pytest.mark.parametrize("rest", ["?schema=a b", "?schema=", "?pool_size=0", "?pool_size=x", "?shema=x", ":x/app"])
def test_a_url_that_is_not_understood_is_refused_without_its_password(rest: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^SCHEDULER_DATABASE_URL: ") as refused:
        read_url(f"postgresql://me:hush@host{rest}")
    assert "hush" not in str(refused.value)


def test_a_database_that_does_not_exist_is_refused_in_one_sentence() -> None:
    with pytest.raises(ConfigurationError, match=r"^SCHEDULER_DATABASE_URL: .*does not exist"):
        migrate_database(at(server(), "no_such_database"))


def test_a_server_that_is_not_there_is_a_store_that_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        migrate_database(f"postgresql://me@/x?host={tmp_path}")


def test_a_sound_database_has_no_problems_and_migrating_again_applies_nothing(url: str) -> None:
    assert migrate_database(url) == []
    assert check_database(url) == []


def test_a_schema_of_its_own_is_made_with_all_tables(url: str) -> None:
    assert migrate_database(f"{url}&schema=Other") == ["0001_initial.sql"]
    assert run_sql(url, 'select count(*) from "Other".runs') == [(0,)]
    assert check_database(f"{url}&schema=Other") == []


def test_missing_and_foreign_migrations_are_named(url: str) -> None:
    run_sql(url, "update schema_migrations set sha256 = 'other'")
    assert any("another text" in problem for problem in check_database(url))
    with pytest.raises(ConfigurationError, match=r"0001_initial\.sql was applied with another text"):
        migrate_database(url)
    run_sql(url, "delete from schema_migrations")
    assert check_database(url) == ["migration 0001_initial.sql is missing"]
    run_sql(url, "insert into schema_migrations values (99, '0099_future.sql', 'x')")
    with pytest.raises(ConfigurationError, match="version 99, newer than this program"):
        migrate_database(url)


def test_a_migration_that_fails_leaves_nothing_behind(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = {**migration.migrations(), 2: ("0002_bad.sql", "create table half (x int); create table runs (y int);")}
    monkeypatch.setattr(migration, "migrations", lambda: bad)
    with pytest.raises(Exception, match="already exists"):
        migrate_database(url)
    monkeypatch.undo()
    assert check_database(url) == []
    assert run_sql(url, "select to_regclass('half')") == [(None,)]


async def test_of_many_that_migrate_a_new_schema_at_once_exactly_one_applies(url: str) -> None:
    new = f"{url}&schema=crowded"
    applied = await asyncio.gather(*(asyncio.to_thread(migrate_database, new) for _ in range(6)))
    assert sorted(applied) == [[]] * 5 + [["0001_initial.sql"]]


def test_rows_that_belong_to_nothing_are_found(url: str) -> None:
    columns = "run_key, number, state, started_at, finished_at, worker"
    run_sql(url, f"insert into attempts ({columns}) values (7, 1, 'lost', 0, 0, '')")
    assert check_database(url) == ["table attempts: 1 rows belong to nothing"]
