"""The system as several processes: any of them may be killed, and the system goes on."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.server import Server, is_alive, leased, query, until
from tests.acceptance.sink import Answer, Sink, listening_sink
from tests.databases import SQLITE, placed_url

SEVERAL = ("-m", "backend.app")
EVERY_SECOND = [{"kind": "interval", "every": "1s"}]


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening_sink() as sink:
        yield sink


@pytest.fixture
def team(tmp_path: Path, database_of_servers: str) -> Iterator[Server]:
    assert placed_url(tmp_path) is not None or database_of_servers == SQLITE
    with Server(tmp_path, command=SEVERAL, shutdown_grace="4s", lease="2s") as server:
        yield server.ready()


def member(team: Server, name: str, *, after: int = 0) -> int:
    """Wait until the member is ready for the time after `after` times, and name its process."""

    def look() -> int | None:
        assert team.process.poll() is None, team.lines
        lines = [line for line in team.said("ready") if line["service"] == name]
        return int(lines[after]["pid"]) if len(lines) > after else None

    return until(f"a ready {name}", look)


@pytest.mark.each_database
def test_api_and_engine_are_processes_of_their_own_and_work_together(team: Server, sink: Sink) -> None:
    pids = {team.process.pid, member(team, "api"), member(team, "engine")}
    assert len(pids) == 3
    team.create("hook", sink.target())
    run = team.post("/schedules/hook/trigger")
    assert team.run(run["id"])["state"] == "succeeded"
    assert "scheduler_attempts_total" in str(team_metrics(team))
    health = team.health("/livez"), team.health("/readyz"), team.health("/health_check")
    assert health == (200, 200, 200)


def team_metrics(team: Server) -> object:
    from tests.acceptance.server import _ask

    reply = _ask(team.where, "GET", "/metrics", {"X-API-Key": team.key}, None)
    assert reply.status == 200
    return reply.body


@pytest.mark.each_database
def test_a_killed_engine_is_started_again_and_its_runs_are_taken_over(team: Server, sink: Sink) -> None:
    sink.on("/slow", Answer(after=1))
    team.create("slow", sink.target("/slow"))
    run = team.post("/schedules/slow/trigger")
    until("its request", lambda: sink.at("/slow"))
    os.kill(member(team, "engine"), signal.SIGKILL)
    (died,) = until("a line of its death", lambda: team.said("process_died"))
    assert (died["service"], died["exit_code"]) == ("engine", -signal.SIGKILL)
    assert team.heard("process_restarting")["deaths"] == 1
    member(team, "engine", after=1)
    assert team.run(run["id"])["state"] == "succeeded"
    assert len({request.key for request in sink.at("/slow")}) == 1
    assert team.stop() == 0


def test_a_killed_api_is_started_again_on_the_same_port_and_the_engine_never_notices(team: Server, sink: Sink) -> None:
    team.create("often", sink.target("/often"), triggers=EVERY_SECOND)
    until("a first fire", lambda: sink.at("/often"))
    engine, where = member(team, "engine"), team.where
    os.kill(member(team, "api"), signal.SIGKILL)
    member(team, "api", after=1)
    assert team.said("listening")[-1]["url"].endswith(f":{where[1]}")
    team.ready()
    seen = len(sink.at("/often"))
    until("further fires", lambda: len(sink.at("/often")) > seen + 1)
    assert is_alive(engine)
    assert len([line for line in team.said("ready") if line["service"] == "engine"]) == 1
    assert team.stop() == 0


def test_an_api_that_does_nothing_at_all_delays_no_fire(team: Server, sink: Sink) -> None:
    team.create("often", sink.target("/often"), triggers=EVERY_SECOND)
    api = member(team, "api")
    os.kill(api, signal.SIGSTOP)
    try:
        seen = len(sink.at("/often"))
        until("fires", lambda: len(sink.at("/often")) > seen + 2)
    finally:
        os.kill(api, signal.SIGCONT)
    assert team.stop() == 0


def test_an_engine_that_stands_still_makes_the_server_not_ready(team: Server) -> None:
    engine = member(team, "engine")
    os.kill(engine, signal.SIGSTOP)
    until("a 503 of /readyz", lambda: team.health("/readyz") == 503)
    assert team.health("/livez") == 200, "restarting it is not called for yet"
    page = str(team_metrics(team))
    assert "scheduler_ready 0.0" in page, "the API's part of the page is there without the engine's"
    assert "scheduler_attempts_total" not in page
    os.kill(engine, signal.SIGCONT)
    team.ready()


def test_a_crash_loop_ends_the_parent_with_1_and_the_reason_and_leaves_no_process(team: Server) -> None:
    family: set[int] = set()
    for times in range(6):
        pid = member(team, "engine", after=times)
        family.update(team.family())
        os.kill(pid, signal.SIGKILL)
    assert team.exit_code() == 1
    assert "engine died 6 times" in team.errors + str(team.lines)
    until("their end", lambda: not any(map(is_alive, family)))


@pytest.mark.each_database
def test_sigterm_drains_the_engine_first_and_exits_with_0(team: Server, sink: Sink) -> None:
    sink.on("/slow", Answer(after=1))
    team.create("slow", sink.target("/slow"))
    team.post("/schedules/slow/trigger")
    until("its request", lambda: sink.at("/slow"))
    family = team.family()
    assert team.stop() == 0
    assert leased(team.folder) == []
    assert query(team.folder, "select state, attempt from runs") == [("succeeded", 1)]
    ends = [line["service"] for line in team.said("exited")]
    assert ends == ["engine", "api", "scheduler"]
    until("their end", lambda: not any(map(is_alive, family)))


def test_while_it_drains_the_api_tells_so(team: Server, sink: Sink) -> None:
    sink.on("/slow", Answer(after=2))
    team.create("slow", sink.target("/slow"))
    team.post("/schedules/slow/trigger")
    until("its request", lambda: sink.at("/slow"))
    team.send(signal.SIGTERM)
    until("a drain", lambda: team.health("/readyz") == 503)
    assert team.health("/livez") == 200
    assert team.exit_code() == 0


def test_a_second_signal_ends_all_at_once_with_130(tmp_path: Path) -> None:
    with Server(tmp_path, command=SEVERAL, shutdown_grace="1h") as team:
        target = {"kind": "command", "argv": ["/bin/sh", "-c", "echo > begun; sleep 300"], "cwd": str(tmp_path)}
        team.ready().create("long", target)
        team.post("/schedules/long/trigger")
        until("its begin", (tmp_path / "begun").exists)
        family = team.family()
        team.send(signal.SIGTERM)
        until("a drain", lambda: [line for line in team.said("draining") if line["service"] == "engine"])
        team.send(signal.SIGTERM)
        assert team.exit_code() == 130
        until("their end", lambda: not any(map(is_alive, family)))


def test_a_killed_parent_leaves_no_orphan_not_even_a_command(team: Server) -> None:
    target = {"kind": "command", "argv": ["/bin/sh", "-c", "echo > begun; sleep 300"], "cwd": str(team.folder)}
    team.create("long", target)
    team.post("/schedules/long/trigger")
    until("its begin", (team.folder / "begun").exists)
    family = team.family()
    assert len(family) >= 4
    team.kill()
    until("their end", lambda: not any(map(is_alive, family)))


def test_a_port_in_use_ends_with_2_and_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with Server(tmp_path, command=SEVERAL, port=port) as team:
            assert team.exit_code() == 2
            (sentence,) = team.errors.splitlines()
    assert "SCHEDULER_PORT" in sentence


def test_what_a_member_refuses_ends_with_2_and_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "admin.key").write_text("short")
    with Server(tmp_path, command=SEVERAL) as team:
        assert team.exit_code() == 2
        (sentence,) = team.errors.splitlines()
    assert "admin.key" in sentence
