"""P4: a 30-minute job stops everybody's schedules."""

from __future__ import annotations

from pathlib import Path

from backend.model.instants import DAY, SECOND
from tests.acceptance.server import Server, execute, query, until
from tests.acceptance.sink import Answer, listening_sink

MANY = 100_000
HOUR = 3600 * SECOND
WAITING = """
insert into runs (key, id, schedule_key, namespace, nominal_at, backfill_id, trigger_type, state, scheduled_at,
  queued_at, available_at, retry_until_at, chained, revision)
with recursive n (i) as (select 1 union all select i + 1 from n where i < {many})
select {range} + i, 'heavy-' || i, {key}, 'heavy', {at} + i, '', 'schedule', 'queued', {at} + i, {at} + i, {at} + i,
  {at} + {day}, 0, 1 from n
"""


def hundred_thousand_waiting(folder: Path) -> None:
    """Let so many runs wait in a namespace of their own, all older than what comes after."""
    [(key, now)] = query(folder, "select key, created_at from schedules")
    at = now - HOUR
    execute(folder, "insert into namespaces (id, created_at) values ('heavy', 0)")
    execute(folder, WAITING.format(many=MANY, key=key, at=at, day=DAY, range=at // (28 * DAY) << 40))


def test_jobs_that_take_long_delay_no_other_schedule(tmp_path: Path) -> None:
    with listening_sink() as sink, Server(tmp_path, poll_interval="50ms", shutdown_grace="1s") as server:
        sink.on("/long", Answer(after=1800))
        server.ready()
        for number in range(3):
            server.create(f"long-{number}", sink.target("/long"))
            server.post(f"/schedules/long-{number}/trigger")
        until("three long ones at work", lambda: len(sink.at("/long")) == 3)
        server.create("tick", sink.target("/tick"), triggers=[{"kind": "interval", "every": "1s"}])
        until("fires beside them", lambda: len(sink.at("/tick")) >= 3)
        assert server.query("select count(*) from runs where state = 'running' and finished_at is null")[0][0] >= 3
        assert server.stop() == 0


def test_a_namespace_with_100_000_waiting_runs_delays_no_other_even_with_a_single_place(tmp_path: Path) -> None:
    with listening_sink() as sink:
        with Server(tmp_path) as server:
            server.ready().create("job", sink.target("/job"))
            assert server.stop() == 0
        hundred_thousand_waiting(tmp_path)
        with Server(tmp_path, worker_concurrency="1") as server:
            server.ready()
            until("the heavy namespace at work", lambda: len(sink.at("/job")) >= 5)
            run = server.post("/schedules/job/trigger")
            assert server.run(run["id"])["state"] == "succeeded"
            [(left,)] = server.query("select count(*) from runs where namespace = 'heavy' and state = 'queued'")
            assert left > MANY / 2, "it was not the end of the queue that let it through"
