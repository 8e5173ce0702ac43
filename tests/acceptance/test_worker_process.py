"""One more worker, as a process of its own on the same database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.server import Server, _ask, is_alive, leased, until
from tests.acceptance.sink import Answer, Sink, listening_sink

WORKER = ("-m", "backend.executor.worker")


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening_sink() as sink:
        yield sink


def pid_of(worker: str) -> int:
    return int(worker.split(":")[1])


def workers_of(server: Server) -> set[int]:
    return {pid_of(row[0]) for row in server.query("select worker from attempts")}


def test_a_second_worker_shares_the_runs_and_drains(tmp_path: Path, sink: Sink) -> None:
    sink.on("/slow", Answer(after=0.3))
    with Server(tmp_path, worker_concurrency="1") as server, Server(tmp_path, command=WORKER) as worker:
        server.ready().create("slow", sink.target("/slow"), overlap_policy="allow_all")
        worker.heard("ready")
        for _ in range(8):
            server.post("/schedules/slow/trigger")
        server.all_final()
        assert workers_of(server) == {server.process.pid, worker.process.pid}
        assert len({request.key for request in sink.at("/slow")}) == len(sink.at("/slow")) == 8
        assert worker.stop() == 0
        assert [line["event"] for line in worker.lines][-1] == "exited"
        assert leased(tmp_path) == []


def test_the_runs_of_a_killed_worker_are_taken_over_and_its_commands_are_gone(tmp_path: Path) -> None:
    with (
        Server(tmp_path, worker_concurrency="1", lease="3s") as server,
        Server(tmp_path, command=WORKER, worker_concurrency="1", lease="3s") as worker,
    ):
        script = "echo $$ >>pids; [ $SCHEDULER_ATTEMPT != 1 ] || sleep 300"
        target = {"kind": "command", "argv": ["/bin/sh", "-c", script], "cwd": str(tmp_path)}
        server.ready().create("long", target, overlap_policy="allow_all")
        worker.heard("ready")
        for _ in range(2):
            server.post("/schedules/long/trigger")
        marks = tmp_path / "pids"
        until("both attempts", lambda: marks.exists() and len(marks.read_text().split()) == 2)
        shells = {int(pid) for pid in marks.read_text().split()}
        family = worker.family()
        assert len(shells & set(family)) == len(shells & set(server.family())) == 1
        worker.kill()
        until("their end", lambda: not any(map(is_alive, family)))
        with Server(tmp_path, command=WORKER, lease="3s"):
            until("a take-over", lambda: server.query("select 1 from runs where state = 'succeeded'"))


@pytest.mark.postgres_only("on SQLite nobody is told by another process")
def test_a_worker_on_postgresql_is_told_of_new_work_at_once(tmp_path: Path, sink: Sink) -> None:
    sink.on("/long", Answer(after=600))
    polls_never = {"poll_interval": "1m", "lease": "30m", "shutdown_grace": "1s"}
    with Server(tmp_path, worker_concurrency="1", **polls_never) as server:
        server.ready().create("long", sink.target("/long"), timeout="1h")
        server.post("/schedules/long/trigger")
        until("the server's only place taken", lambda: sink.at("/long"))
        with Server(tmp_path, command=WORKER, **polls_never) as worker:
            worker.heard("ready")
            server.create("short", sink.target("/short"))
            done = server.run(server.post("/schedules/short/trigger")["id"])
            assert [pid_of(attempt["worker"]) for attempt in done["attempts"]] == [worker.process.pid]
            assert worker.stop() == 0
        assert server.stop() == 0


def test_a_worker_with_a_refused_setting_ends_with_2(tmp_path: Path) -> None:
    with Server(tmp_path, command=WORKER, lease="0s") as worker:
        assert worker.exit_code() == 2
        assert "SCHEDULER_LEASE" in worker.errors


def test_a_worker_tells_of_itself_on_a_port_of_its_own_if_it_has_one(tmp_path: Path, sink: Sink) -> None:
    sink.on("/first", Answer(after=600))
    with Server(tmp_path, worker_concurrency="1", shutdown_grace="1s") as server:
        server.ready().create("long", sink.target("/first"), timeout="1h")
        server.post("/schedules/long/trigger")
        until("the server's only place taken", lambda: sink.at("/first"))
        with Server(tmp_path, command=WORKER, worker_port="0") as worker:
            worker.at(int(worker.heard("worker_listening")["url"].rpartition(":")[2]))
            until("readiness", lambda: worker.health("/readyz") == 200)
            assert [worker.health(path) for path in ("/livez", "/metrics", "/api/v1/runs")] == [200, 200, 404]
            server.create("hook", sink.target(), overlap_policy="allow_all")
            server.post("/schedules/hook/trigger")

            def counted() -> bool:
                page = _ask(worker.where, "GET", "/metrics", {}, None).body
                return 'scheduler_attempts_total{outcome="succeeded",target="http"}' in str(page)

            until("an attempt of the worker", counted)
            assert worker.stop() == 0
