"""PostgreSQL away: at the start, and later. Real processes; the way to the database is cut and mended again."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.gateway import Gateway, gateway
from tests.acceptance.server import MODULE, PATIENCE, Server, free_port, until
from tests.databases import POSTGRES, at, database, run_sql
from tests.databases import server as postgres

APP = ("-m", "backend.app")
WORKER = ("-m", "backend.executor.worker")
ECHO = {"kind": "command", "argv": ["/bin/echo", "hello"]}


@pytest.fixture
def door() -> Iterator[Gateway]:
    with gateway() as door:
        yield door


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with database(POSTGRES, tmp_path) as url:
        yield url


def fires(server: Server, id_: str) -> None:
    server.create(id_, ECHO, overlap_policy="allow_all")
    run = server.post(f"/schedules/{id_}/trigger")
    assert server.run(run["id"])["state"] == "succeeded"


@pytest.mark.parametrize("command", [MODULE, APP], ids=["scheduler", "app"])
def test_a_server_whose_database_is_down_says_so_and_serves_as_soon_as_it_answers(
    tmp_path: Path, url: str, door: Gateway, command: tuple[str, str]
) -> None:
    port = free_port()
    with Server(tmp_path, command=command, database_url=door.url(url), port=str(port)) as server:
        server.at(port)
        until("three tries", lambda: len(server.said("database_awaited")) >= 3)
        assert (server.health("/livez"), server.health("/readyz")) == (200, 503)
        pauses = [line["after_seconds"] for line in server.said("database_awaited")]
        assert pauses[:3] == [0.2, 0.4, 0.8]
        door.open()
        server.ready()
        fires(server, "job")
        assert server.stop() == 0


def test_a_worker_whose_database_is_down_waits_for_it(tmp_path: Path, url: str, door: Gateway) -> None:
    with Server(tmp_path, command=WORKER, database_url=door.url(url)) as worker:
        worker.heard("database_awaited")
        door.open()
        worker.heard("ready")
        assert worker.stop() == 0


@pytest.mark.parametrize("command", [MODULE, APP, WORKER], ids=["scheduler", "app", "worker"])
def test_who_waits_for_a_database_can_be_stopped(
    tmp_path: Path, url: str, door: Gateway, command: tuple[str, str]
) -> None:
    with Server(tmp_path, command=command, database_url=door.url(url)) as server:
        server.heard("database_awaited")
        assert server.stop() == 0


@pytest.mark.parametrize("command", [MODULE, APP, WORKER], ids=["scheduler", "app", "worker"])
def test_what_no_wait_would_mend_ends_with_2_and_one_sentence(tmp_path: Path, command: tuple[str, str]) -> None:
    with Server(tmp_path, command=command, database_url=at(postgres(), "no_such_database")) as server:
        assert server.exit_code() == 2
        sentence = "SCHEDULER_DATABASE_URL: the database refused"
        assert [line for line in server.errors.splitlines() if line.startswith(sentence)], server.errors
        assert "Traceback" not in server.errors


def test_a_user_whom_the_database_does_not_let_in_ends_with_2(tmp_path: Path, url: str, door: Gateway) -> None:
    door.open()
    stranger = door.url(url).replace("postgres@", "nobody_known:secret@")
    with Server(tmp_path, database_url=stranger) as server:
        assert server.exit_code() == 2
        assert "nobody_known" in server.errors
        assert "secret" not in server.errors


def test_a_schema_of_a_newer_program_ends_with_2(tmp_path: Path, url: str) -> None:
    run_sql(url, "insert into schema_migrations values (9999, '9999_later.sql', 'x')")
    with Server(tmp_path, database_url=url) as server:
        assert server.exit_code() == 2
        assert "the schema is at version 9999, newer than this program" in server.errors


def test_while_a_member_waits_for_the_database_the_parent_beats_and_starts_the_other_again(
    tmp_path: Path, url: str, door: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    door.open()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        with Server(tmp_path, command=APP, database_url=door.url(url)) as team:
            team.ready()
            door.shut()
            pids = {line["service"]: line["pid"] for line in team.said("ready")}
            for name in ("engine", "api"):
                os.kill(pids[name], signal.SIGKILL)
                told_of(team, name)
            for name in ("engine", "api"):
                awaits(team, name)
            drain_of(manager)
            for _ in range(3):
                assert manager.recv(4096) == b"WATCHDOG=1"
            assert team.stop() == 0


def told_of(server: Server, name: str) -> None:
    """Wait until the parent says that a member has died."""
    until(f"the death of {name}", lambda: name in [line["service"] for line in server.said("process_died")])


def awaits(server: Server, name: str) -> None:
    """Wait until a member says that it waits for the database."""
    until(f"another {name}", lambda: name in [line["service"] for line in server.said("database_awaited")])


def drain_of(manager: socket.socket) -> None:
    """Forget what has been told so far."""
    while select.select([manager], [], [], 0)[0]:
        manager.recv(4096)


@pytest.mark.parametrize("command", [MODULE, APP], ids=["scheduler", "app"])
def test_a_database_that_goes_away_and_comes_back_is_survived(
    tmp_path: Path, url: str, door: Gateway, command: tuple[str, str]
) -> None:
    door.open()
    with Server(tmp_path, command=command, database_url=door.url(url), lease="2s") as server:
        fires(server.ready(), "before")
        server.create("tick", ECHO, triggers=[{"kind": "interval", "every": "1s"}])
        door.shut()
        server.heard("database_unavailable")
        assert server.ask("GET", "/schedules").status == 503
        until("that it is not ready", lambda: server.health("/readyz") == 503)
        assert server.health("/livez") == 200
        door.open()
        until("an answer", lambda: server.ask("GET", "/schedules").status == 200)
        server.ready()
        fires(server, "after")
        found = server.get("/audit/occurrences")
        assert (found["missing_count"], found["doubled_count"]) == (0, 0)
        over = until("the end of the outage", lambda: server.said("database_available"))
        assert server.stop() == 0
        assert len(server.said("database_unavailable")) == len(over) == 1
        assert over[0]["failed_turns"] > 1
        assert [line for line in server.lines if "exception" in line] == []
        assert server.errors == ""
