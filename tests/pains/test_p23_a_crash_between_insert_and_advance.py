"""P23: a crash between "insert the job" and "advance the schedule" runs a one-shot twice, or never."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.server import Server, execute, until
from tests.acceptance.sink import listening_sink

# The second half of the engine's write fails, as if the power went between the two.
BREAK = {
    "sqlite": ["create trigger broken after {event} on {table} begin select raise(abort, 'power cut'); end"],
    "postgres": [
        (
            "create or replace function power_cut() returns trigger language plpgsql as "
            "$$ begin raise exception 'power cut'; end $$"
        ),
        "create trigger broken after {event} on {table} for each row execute function power_cut()",
    ],
}
MEND = {"sqlite": "drop trigger broken", "postgres": "drop trigger broken on {table}"}


@pytest.mark.parametrize(("event", "table"), [("insert", "runs"), ("update", "schedules")])
def test_either_the_run_is_recorded_and_the_schedule_advanced_or_neither(
    tmp_path: Path, database_of_servers: str, event: str, table: str
) -> None:
    with listening_sink() as sink, Server(tmp_path, poll_interval="50ms") as server:
        now = server.ready().create("clock", sink.target())["created_at"]
        for statement in BREAK[database_of_servers]:
            execute(tmp_path, statement.format(event=event, table=table))
        server.create("once", sink.target("/once"), triggers=[{"kind": "once", "at": now}])
        until("a failed turn", lambda: server.said("loop_failed"))
        server.kill()
        assert server.query("select count(*) from runs") == [(0,)]
        due = "select next_scheduled_at is not null from schedules where id = 'once'"
        assert server.query(due) == [(1,)]
        assert not sink.at("/once")
        execute(tmp_path, MEND[database_of_servers].format(table=table))
        with Server(tmp_path) as again:
            again.ready()
            until("its request", lambda: sink.at("/once"))
            again.all_final()
            assert again.get("/schedules/once")["state"] == "completed"
            assert again.query("select state, attempt from runs") == [("succeeded", 1)]
            assert again.stop() == 0
    assert len(sink.at("/once")) == 1
