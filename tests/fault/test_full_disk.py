"""SQLite with no room left: writes fail, nothing is lost or doubled, and it goes on once there is room again."""

from __future__ import annotations

from pathlib import Path

import apsw
import psutil
import pytest

from backend.errors import StoreUnavailable
from backend.store.open import open_store
from backend.store.sqlite.runner import SqliteRunner
from tests.acceptance.server import Server, until
from tests.fault.counter import Counter
from tests.fault.load import Load, create, settle
from tests.fault.sqlite_ledger import SqliteLedger
from tests.fault.stage import PATIENCE, SLOW
from tests.fault.verdict import judge
from tests.store.world import StillClock, World

ROOM_FOR_LOGS = 128 * 1024
"""Bytes: the limit is for every file, and the log must not meet it."""


def limit_files(server: Server, size: int) -> None:
    """Let no file of a server that runs grow beyond this size, as a full disk does."""
    hard = psutil.Process(server.process.pid).rlimit(psutil.RLIMIT_FSIZE)[1]
    psutil.Process(server.process.pid).rlimit(psutil.RLIMIT_FSIZE, (size, hard))


def test_a_server_whose_disk_is_full_for_a_while_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    with Counter(SLOW) as counter, Server(tmp_path, lease="2s") as server:
        ledger = SqliteLedger(tmp_path / "data" / "scheduler.db")
        expected = create(server.ready(), counter.port, Load(schedules=24, seconds=6, head_start=2))
        wal = tmp_path / "data" / "scheduler.db-wal"
        until("runs under way", lambda: running(server) > 3 and wal.stat().st_size > ROOM_FOR_LOGS, PATIENCE)
        limit_files(server, wal.stat().st_size)
        until("a plan that could not be written", lambda: failed(server, "engine"), PATIENCE)
        until("a result that could not be written", lambda: failed(server, "recorder"), PATIENCE)
        assert server.query("select count(*) from schedules where state = 'active'")[0][0], "all had fired before"
        limit_files(server, psutil.RLIM_INFINITY)
        settle(server, ledger, expected, PATIENCE)
        verdict = judge(server, ledger, dict(counter.seen), expected)
        assert not verdict.faults, "\n".join(verdict.faults)


def running(server: Server) -> int:
    return int(server.query("select count(*) from runs where state = 'running'")[0][0])


def failed(server: Server, loop: str) -> bool:
    wanted = f'scheduler_loop_failures_total{{loop="{loop}",reason="database"}}'
    return wanted in str(server.metrics())


@pytest.mark.anyio
async def test_a_turn_that_finds_no_page_left_writes_nothing_and_the_next_one_writes_all(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'scheduler.db'}"
    clock = StillClock()
    store = await open_store(url, clock=clock)
    try:
        world = World(store, clock, url)
        for n in range(50):
            await world.put(f"job-{n}", misfire_policy="fire_all", overlap_policy="allow_all")
        raw = _raw(store.runner)
        pages = int(str(raw.execute("pragma page_count").fetchall()[0][0]))
        raw.execute(f"pragma max_page_count = {pages + 2}")
        clock.go(minutes=20)
        cursors = world.sql("select cursor_at from schedules")
        with pytest.raises(StoreUnavailable, match="full"):
            await world.turn()
        assert world.sql("select count(*) from runs") == [(0,)]
        assert world.sql("select cursor_at from schedules") == cursors
        raw.execute("pragma max_page_count = 1000000")
        while (await world.turn()).schedules:
            pass
        assert world.sql("select count(*), count(distinct schedule_key || ':' || nominal_at) from runs") == [
            (1000, 1000)
        ]
    finally:
        store.close()


def _raw(runner: object) -> apsw.Connection:
    assert isinstance(runner, SqliteRunner)
    return runner._writer._connection.raw
