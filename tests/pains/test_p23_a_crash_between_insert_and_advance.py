"""P23: a crash between "insert the job" and "advance the schedule" runs a one-shot twice, or never."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.server import Server, until
from tests.acceptance.sink import listening_sink


@pytest.mark.parametrize("broken", ["insert on runs", "update on schedules"])
def test_either_the_run_is_recorded_and_the_schedule_advanced_or_neither(tmp_path: Path, broken: str) -> None:
    with listening_sink() as sink, Server(tmp_path, poll_interval="50ms") as server:
        now = server.ready().create("clock", sink.target())["created_at"]
        with closing(sqlite3.connect(tmp_path / "data" / "scheduler.db", timeout=10, isolation_level=None)) as file:
            # The second half of the engine's write fails, as if the power went between the two.
            file.execute(f"create trigger broken after {broken} begin select raise(abort, 'power cut'); end")
            server.create("once", sink.target("/once"), triggers=[{"kind": "once", "at": now}])
            until("a failed turn", lambda: server.said("loop_failed"))
            server.kill()
            assert server.query("select count(*) from runs") == [(0,)]
            due = "select next_scheduled_at is not null from schedules where id = 'once'"
            assert server.query(due) == [(1,)]
            assert not sink.at("/once")
            file.execute("drop trigger broken")
        with Server(tmp_path) as again:
            again.ready()
            until("its request", lambda: sink.at("/once"))
            again.all_final()
            assert again.get("/schedules/once")["state"] == "completed"
            assert again.query("select state, attempt from runs") == [("succeeded", 1)]
            assert again.stop() == 0
    assert len(sink.at("/once")) == 1
