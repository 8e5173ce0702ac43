"""The SQLite runner: one writer whose transactions many operations share, readers with snapshots, an honest end."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from backend.errors import Conflict, StoreUnavailable
from backend.store.operation import Operation, Query, now
from backend.store.sqlite import connection
from backend.store.sqlite.migrate import migrate
from backend.store.sqlite.runner import SqliteRunner
from tests.store.world import START, StillClock

pytestmark = pytest.mark.anyio
PATIENCE = 20.0


@pytest.fixture
async def runner(path: Path) -> AsyncIterator[SqliteRunner]:
    migrate(path)
    runner = SqliteRunner(path)
    yield runner
    runner.close()


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_MS", 100)


def put(key: str, value: str = "v") -> Operation[str]:
    yield Query("put_info", {"key": key, "value": value})
    return key


def get(key: str) -> Operation[str | None]:
    rows = yield Query("read_info", {"key": key})
    return rows[0][0] if rows else None


def put_two_and_refuse(key: str) -> Operation[None]:
    yield from put(f"{key}-1")
    yield from put(f"{key}-2")
    raise Conflict(key)


def raw_of(runner: SqliteRunner) -> apsw.Connection:
    return runner._writer._connection.raw


@asynccontextmanager
async def held_up(runner: SqliteRunner) -> AsyncIterator[None]:
    """Keep the writer in the middle of an operation, so that what is submitted now makes one group."""
    entered, go_on = threading.Event(), threading.Event()

    def wait() -> Operation[None]:
        entered.set()
        assert go_on.wait(PATIENCE)
        yield Query("read_info", {"key": "x"})

    task = asyncio.ensure_future(runner.write(wait()))
    try:
        assert await asyncio.to_thread(entered.wait, PATIENCE)
        yield
    finally:
        go_on.set()
        await task


async def grouped(runner: SqliteRunner, *operations: Operation[Any]) -> list[Any]:
    async with held_up(runner):
        tasks = [asyncio.ensure_future(runner.write(operation)) for operation in operations]
        await queued(runner, len(tasks))
    return await asyncio.gather(*tasks, return_exceptions=True)


async def queued(runner: SqliteRunner, number: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while runner._writer.queue.qsize() != number:  # noqa: ASYNC110 - a queue of threads rings no bell here
            await asyncio.sleep(0)


async def stored(runner: SqliteRunner, *keys: str) -> list[str | None]:
    return [await runner.read(get(key)) for key in keys]


async def test_writers_that_come_together_share_a_transaction(runner: SqliteRunner) -> None:
    commits = itertools.count()
    raw_of(runner).set_commit_hook(lambda: next(commits) < 0)
    answers = await grouped(runner, *(put(f"k{n}") for n in range(200)))
    assert answers == [f"k{n}" for n in range(200)]
    assert next(commits) == 2  # the one that was held up, and the two hundred
    assert await stored(runner, "k0", "k199") == ["v", "v"]


async def test_a_hundred_concurrent_writers_all_find_their_writes_durable(runner: SqliteRunner, path: Path) -> None:
    await asyncio.gather(*(runner.write(put(f"k{n}")) for n in range(100)))
    with apsw.Connection(str(path)) as other:
        assert other.execute("select count(*) from store_info").fetchall() == [(100,)]


async def test_an_operation_that_is_refused_does_not_undo_its_neighbours(runner: SqliteRunner) -> None:
    first, refused, last = await grouped(runner, put("a"), put_two_and_refuse("b"), put("c"))
    assert (first, last) == ("a", "c")
    assert isinstance(refused, Conflict)
    assert await stored(runner, "a", "b-1", "b-2", "c") == ["v", None, None, "v"]


async def test_an_operation_sees_what_its_neighbours_wrote_before_it(runner: SqliteRunner) -> None:
    assert await grouped(runner, put("a"), get("a")) == ["a", "v"]


async def test_an_operation_that_breaks_a_constraint_leaves_no_partial_write(runner: SqliteRunner) -> None:
    def broken() -> Operation[None]:
        yield from put("half")
        tag = {"namespace": "default", "tag": "a:b", "schedule_key": 77}
        yield Query("insert_tags", tag)

    with pytest.raises(apsw.ConstraintError):
        await runner.write(broken())
    assert await stored(runner, "half") == [None]


async def test_an_operation_that_is_abandoned_by_its_error_is_closed(runner: SqliteRunner) -> None:
    closed: list[bool] = []

    def broken() -> Operation[None]:
        try:
            yield Query("no_such_statement")
        finally:
            closed.append(True)

    with pytest.raises(KeyError):
        await runner.write(broken())
    assert closed == [True]


def fill(raw: apsw.Connection, pages_more: int) -> None:
    [[count]] = raw.execute("pragma page_count").fetchall()
    raw.execute(f"pragma max_page_count = {int(str(count)) + pages_more}").fetchall()


async def test_a_full_disk_undoes_the_whole_group_and_tells_everybody(runner: SqliteRunner) -> None:
    await runner.write(put("before"))
    fill(raw_of(runner), 3)
    operations = [put("a"), put("big", "x" * 100_000), put("c"), put_two_and_refuse("d"), put("e")]
    answers = await grouped(runner, *operations)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 5
    assert "full" in str(answers[0])
    assert len({id(answer) for answer in answers}) == 5
    assert await stored(runner, "before", "a", "big", "c", "d-1", "e") == ["v", None, None, None, None, None]


async def test_the_store_works_again_once_there_is_room(runner: SqliteRunner) -> None:
    fill(raw_of(runner), 3)
    with pytest.raises(StoreUnavailable):
        await runner.write(put("big", "x" * 100_000))
    fill(raw_of(runner), 1000)
    await runner.write(put("big", "x" * 100_000))
    assert await stored(runner, "big") == ["x" * 100_000]


async def test_a_commit_that_fails_undoes_the_whole_group_and_tells_everybody(runner: SqliteRunner) -> None:
    commits = itertools.count()
    raw_of(runner).set_commit_hook(lambda: next(commits) > 0)  # SQLite turns the second commit into a rollback
    answers = await grouped(runner, put("a"), put_two_and_refuse("b"), put("c"))
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 3
    raw_of(runner).set_commit_hook(None)
    await runner.write(put("d"))
    assert await stored(runner, "a", "b-1", "c", "d") == [None, None, None, "v"]


@pytest.mark.usefixtures("short_patience")
async def test_a_database_that_another_process_holds_is_unavailable_and_then_works_again(path: Path) -> None:
    migrate(path)
    runner = SqliteRunner(path)
    other = apsw.Connection(str(path))
    other.execute("begin immediate")
    with pytest.raises(StoreUnavailable, match="locked"):
        await runner.write(put("a"))
    assert await runner.read(get("a")) is None  # readers are not held up
    other.execute("rollback")
    await runner.write(put("a"))
    runner.close()
    other.close()


async def test_a_lock_that_is_given_back_in_time_only_delays(runner: SqliteRunner, path: Path) -> None:
    other = apsw.Connection(str(path))
    other.execute("begin immediate")
    write = asyncio.ensure_future(runner.write(put("a")))
    await asyncio.sleep(0)
    await queued(runner, 0)
    assert not write.done()
    other.execute("rollback")
    assert await write == "a"
    other.close()


async def test_a_reader_keeps_its_snapshot_while_others_write(runner: SqliteRunner) -> None:
    reading, go_on = threading.Event(), threading.Event()

    def read_twice() -> Operation[tuple[object, object]]:
        first = yield from get("a")
        reading.set()
        assert go_on.wait(PATIENCE)
        second = yield from get("a")
        return first, second

    task = asyncio.ensure_future(runner.read(read_twice()))
    await asyncio.to_thread(reading.wait, PATIENCE)
    await runner.write(put("a"))
    assert await stored(runner, "a") == ["v"]  # the other reader begins later
    go_on.set()
    assert await task == (None, None)
    assert await stored(runner, "a") == ["v"]


async def test_a_reader_cannot_write(runner: SqliteRunner) -> None:
    with pytest.raises(apsw.ReadOnlyError):
        await runner.read(put("a"))
    assert await stored(runner, "a") == [None]


async def test_a_read_that_fails_leaves_the_reader_usable(runner: SqliteRunner) -> None:
    def refuse() -> Operation[None]:
        yield from get("a")
        raise Conflict("no")

    for _ in range(5):
        with pytest.raises(Conflict):
            await runner.read(refuse())
    assert await stored(runner, "a") == [None]


async def test_a_write_whose_caller_has_gone_is_still_committed(runner: SqliteRunner) -> None:
    async with held_up(runner):
        task = asyncio.ensure_future(runner.write(put("a")))
        await queued(runner, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await runner.write(get("a")) == "v"


async def test_a_closed_store_says_that_it_is(path: Path) -> None:
    migrate(path)
    runner = SqliteRunner(path)
    runner.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await runner.write(put("a"))
    with pytest.raises(StoreUnavailable, match="closed"):
        await runner.read(get("a"))
    runner.close()  # once more does no harm


async def test_closing_finishes_what_is_queued_and_refuses_what_comes_later(path: Path) -> None:
    migrate(path)
    runner = SqliteRunner(path)
    async with held_up(runner):
        early = [asyncio.ensure_future(runner.write(put(f"k{n}"))) for n in range(5)]
        await queued(runner, 5)
        closing = asyncio.ensure_future(asyncio.to_thread(runner.close))
        await queued(runner, 6)  # the word to end stands behind them
        with pytest.raises(StoreUnavailable, match="closed"):
            await runner.write(put("late"))
        with pytest.raises(StoreUnavailable, match="closed"):
            await runner.read(get("late"))
    async with asyncio.timeout(PATIENCE):
        assert await asyncio.gather(*early) == [f"k{n}" for n in range(5)]
        await closing
    with apsw.Connection(str(path)) as other:
        assert other.execute("select count(*) from store_info").fetchall() == [(5,)]


async def test_closing_never_waits_for_a_reader_that_was_not_told(path: Path) -> None:
    migrate(path)
    for _ in range(50):
        runner = SqliteRunner(path)
        await asyncio.gather(*(runner.read(get("a")) for _ in range(4)))
        async with asyncio.timeout(PATIENCE):
            await asyncio.to_thread(runner.close)


async def test_everything_submitted_while_closing_is_answered(path: Path) -> None:
    migrate(path)
    for _ in range(10):
        runner = SqliteRunner(path)

        async def keep_writing(name: str, runner: SqliteRunner = runner) -> list[str]:
            done: list[str] = []
            while True:
                try:
                    done.append(await runner.write(put(f"{name}-{len(done)}")))
                except StoreUnavailable:
                    return done

        writers = [asyncio.ensure_future(keep_writing(f"w{n}")) for n in range(8)]
        await runner.write(put("started"))
        async with asyncio.timeout(PATIENCE):
            await asyncio.to_thread(runner.close)
            await asyncio.gather(*writers)


async def test_the_last_to_close_folds_the_wal_into_the_file(path: Path) -> None:
    migrate(path)
    runner = SqliteRunner(path)
    await runner.write(put("a"))
    runner.close()
    assert not path.with_name(path.name + "-wal").exists()


async def test_commits_are_synced_to_the_disk(runner: SqliteRunner) -> None:
    raw = raw_of(runner)
    assert raw.execute("pragma journal_mode").fetchall() == [("wal",)]
    assert raw.execute("pragma synchronous").fetchall() == [(2,)]
    assert raw.execute("pragma foreign_keys").fetchall() == [(1,)]


async def test_the_clock_of_the_database_is_used_unless_another_is_given(path: Path) -> None:
    migrate(path)
    own, given = SqliteRunner(path), SqliteRunner(path, clock=StillClock())
    assert await given.write(now()) == await given.read(now()) == START
    first = await own.write(now())
    assert await own.read(now()) >= first > 1_700_000_000_000_000
    own.close()
    given.close()
