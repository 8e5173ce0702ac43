"""How a server leaves: drained, in a hurry, or killed; nothing stays leased, and no process stays behind."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.server import Server, is_alive, leased, query, until, write_lock
from tests.acceptance.sink import Answer, Sink, listening_sink

LONGEST = 15
"""Seconds: the grace is 4 s, on a busy machine it takes a while to notice, and a command would go on for minutes."""


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening_sink() as sink:
        yield sink


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, shutdown_grace="4s") as server:
        yield server.ready()


def start_command(server: Server, script: str = "sleep 300 & echo $$ $! > pids; wait") -> list[int]:
    """Run a shell that starts a sleeper of its own; answers the ids of both."""
    target = {"kind": "command", "argv": ["/bin/sh", "-c", script], "cwd": str(server.folder)}
    server.create("command", target, retry={"max_attempts": 1})
    server.post("/schedules/command/trigger")
    pids = server.folder / "pids"
    return [int(pid) for pid in until("its pids", lambda: pids.read_text().split() if pids.exists() else None)]


def test_sigterm_lets_attempts_end_and_exits_with_0(server: Server, sink: Sink) -> None:
    sink.on("/slow", Answer(after=1))
    server.create("slow", sink.target("/slow"))
    server.post("/schedules/slow/trigger")
    until("its request", lambda: sink.at("/slow"))
    assert server.stop() == 0
    assert leased(server.folder) == []
    assert query(server.folder, "select state, attempt from runs") == [("succeeded", 1)]
    assert [line["event"] for line in server.lines[-3:]][-1] == "exited"


def test_sigterm_with_a_thousand_due_schedules_leaves_nothing_leased_and_loses_none(server: Server, sink: Sink) -> None:
    once = {"kind": "once", "at": server.create("clock", sink.target())["created_at"]}
    many = [{"id": f"s{n}", "triggers": [once], "target": sink.target("/many")} for n in range(1000)]
    server.post("/schedules/batch", {"schedules": many})
    until("some requests", lambda: len(sink.at("/many")) > 100)
    assert server.stop() == 0
    assert leased(server.folder) == []
    left = dict(query(server.folder, "select state, count(*) from runs group by state"))
    assert left["succeeded"] == len(sink.at("/many"))
    with Server(server.folder) as again:
        again.ready().all_final()
        assert query(server.folder, "select state, count(*) from runs group by state") == [("succeeded", 1000)]
    assert len({request.key for request in sink.at("/many")}) == len(sink.at("/many")) == 1000


def test_an_attempt_longer_than_the_grace_is_given_back_and_its_processes_are_gone(server: Server) -> None:
    pids = start_command(server)
    asked = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - asked < LONGEST
    assert leased(server.folder) == []
    assert query(server.folder, "select state, released from runs") == [("queued", 1)]
    assert query(server.folder, "select number, state from attempts") == [(1, "released")]
    until("their end", lambda: not any(map(is_alive, pids)))


def test_a_command_that_ignores_sigterm_does_not_outlast_the_grace(server: Server) -> None:
    pids = start_command(server, "trap '' TERM; sleep 300 & echo $$ $! > pids; while true; do wait; done")
    asked = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - asked < LONGEST
    assert leased(server.folder) == []
    until("their end", lambda: not any(map(is_alive, pids)))


def test_while_draining_it_is_alive_and_not_ready(server: Server) -> None:
    start_command(server)
    server.send(signal.SIGTERM)
    until("a drain", lambda: server.health("/readyz") == 503)
    assert server.health("/livez") == 200
    assert server.exit_code() == 0


def test_a_second_signal_exits_at_once_with_130_and_leaves_no_process(tmp_path: Path) -> None:
    with Server(tmp_path, shutdown_grace="1h") as server:
        pids = start_command(server.ready())
        family = server.family()
        assert set(pids) < set(family)
        server.send(signal.SIGTERM)
        server.heard("draining")
        server.send(signal.SIGTERM)
        assert server.exit_code(5) == 130
        until("their end", lambda: not any(map(is_alive, family)))


def test_sigkill_leaves_no_orphan(server: Server) -> None:
    pids = start_command(server)
    family = server.family()
    assert set(pids) < set(family), "the warden should be there too"
    server.kill()
    until("their end", lambda: not any(map(is_alive, family)))


def test_a_drain_ends_although_the_database_does_not_answer(tmp_path: Path) -> None:
    with Server(tmp_path, shutdown_grace="1s") as server:
        pids = start_command(server.ready())
        with write_lock(tmp_path):
            server.send(signal.SIGTERM)
            assert server.exit_code() == 0
        until("their end", lambda: not any(map(is_alive, pids)))
    with Server(tmp_path, lease="1s") as again:
        again.ready()
        (run,) = again.runs()
        until("its take-over", lambda: again.get(f"/runs/{run['id']}")["attempt"] == 2)
