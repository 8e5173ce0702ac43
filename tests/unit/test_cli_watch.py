"""`runs --watch`: each run once, whatever the order, the pages, and the server's health."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.cli.client import Client
from backend.cli.run_rows import Wanted
from backend.cli.watch import PAGE, Watch
from tests.unit.cli_server import Asked, Server, run_of, serving

ENOUGH = 30.0


class Ledger:
    """Runs of a server, newest first, in pages."""

    def __init__(self, server: Server) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.looks: list[str] = []
        self.server = server
        server.when("GET", "/runs", self.page)

    def put(self, number: int, state: str, **changes: Any) -> None:
        run = run_of(number, state, **changes)
        self.runs[run["id"]] = run
        self.server.on("GET", f"/runs/{run['id']}", 200, run)

    def page(self, asked: Asked) -> tuple[int, Any]:
        start, size = int(asked.query.get("cursor", 0)), int(asked.query["limit"])
        self.looks.append(str(start))
        newest = [self.runs[id_] for id_ in sorted(self.runs, reverse=True)]
        more = start + size < len(newest)
        return 200, {"items": newest[start : start + size], "next_cursor": str(start + size) if more else None}


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as told:
        yield told


@pytest.fixture
def ledger(server: Server) -> Ledger:
    return Ledger(server)


def watch(server: Server, *, every_change: bool = False, **wanted: Any) -> Watch:
    return Watch(Client(server.url), Wanted(**wanted), every_change=every_change)


def news(watching: Watch) -> list[tuple[int, str]]:
    return [(int(run["id"][-12:]), run["state"]) for run in watching.look()]


def test_what_ended_before_the_watch_began_is_no_news(server: Server, ledger: Ledger):
    ledger.put(1, "succeeded")
    ledger.put(2, "running")
    watching = watch(server)
    assert news(watching) == []
    ledger.put(3, "failed")
    ledger.put(2, "succeeded")
    assert news(watching) == [(2, "succeeded"), (3, "failed")]
    assert news(watching) == []


def test_a_watch_from_an_instant_tells_what_ended_since(server: Server, ledger: Ledger):
    ledger.put(1, "succeeded")
    ledger.put(2, "running")
    watching = watch(server, from_="2026-11-22T00:00:00Z")
    assert news(watching) == [(1, "succeeded")]
    assert server.asked[0].query["from"] == "2026-11-22T00:00:00Z"


def test_every_change_of_state_is_told_on_request(server: Server, ledger: Ledger):
    watching = watch(server, every_change=True)
    watching.look()
    told = []
    for state in ("queued", "running", "running", "retrying", "failed"):
        ledger.put(1, state)
        told += news(watching)
    assert told == [(1, "queued"), (1, "running"), (1, "retrying"), (1, "failed")]


def test_a_state_that_is_asked_for_is_told_alone(server: Server, ledger: Ledger):
    watching = watch(server, state="failed")
    watching.look()
    ledger.put(1, "succeeded")
    ledger.put(2, "failed")
    assert news(watching) == [(2, "failed")]


def test_more_than_a_page_of_news_is_told_whole_and_in_order(server: Server, ledger: Ledger):
    watching = watch(server)
    watching.look()
    for number in range(3 * PAGE + 7):
        ledger.put(number, "succeeded")
    assert [number for number, _ in news(watching)] == list(range(3 * PAGE + 7))


def test_a_quiet_look_reads_one_page(server: Server, ledger: Ledger):
    for number in range(3 * PAGE):
        ledger.put(number, "succeeded")
    watching = watch(server)
    watching.look()
    ledger.looks.clear()
    assert news(watching) == []
    assert ledger.looks == ["0"]


def test_older_runs_than_the_first_page_are_never_news(server: Server, ledger: Ledger):
    for number in range(2 * PAGE):
        ledger.put(number, "succeeded")
    watching = watch(server)
    watching.look()
    for number in range(2 * PAGE, 2 * PAGE + PAGE // 2):
        ledger.put(number, "succeeded")
    assert [number for number, _ in news(watching)] == list(range(2 * PAGE, 2 * PAGE + PAGE // 2))


def test_a_long_run_is_told_although_newer_ones_have_pushed_it_off_the_pages(server: Server, ledger: Ledger):
    ledger.put(1, "running")
    watching = watch(server)
    watching.look()
    for number in range(2, 2 + 3 * PAGE):
        ledger.put(number, "succeeded")
    assert len(news(watching)) == 3 * PAGE
    ledger.put(1, "timed_out")
    assert news(watching) == [(1, "timed_out")]


def test_a_run_that_was_pruned_while_it_was_watched_is_let_go(server: Server, ledger: Ledger):
    ledger.put(1, "running")
    watching = watch(server)
    watching.look()
    server.on("GET", f"/runs/{run_of(1)['id']}", 404, {"title": "Not Found", "detail": "pruned"})
    ledger.runs.clear()
    assert news(watching) == []
    asked = len(server.asked)
    assert news(watching) == []
    assert len(server.asked) == asked + 1


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return os.environ | {"SCHEDULER_API_KEY": "k", "PYTHONUNBUFFERED": "1", "COLUMNS": "160"}


def start(server: Server, environment: dict[str, str], *argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "backend", "runs", "--watch", "--url", server.url, *argv],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_watch_outlives_the_server_and_ends_with_ctrl_c(environment: dict[str, str]):
    server = Server()
    ledger = Ledger(server)
    ledger.put(1, "succeeded")
    with serving(server=server) as told:
        port = int(told.url.rpartition(":")[2])
        watching = start(told, environment, "--from", "2026-11-22T00:00:00Z")
        assert watching.stdout
        assert watching.stderr
        assert watching.stdout.readline().startswith("WHEN")
        assert "succeeded" in watching.stdout.readline()
    assert "waiting for it" in watching.stderr.readline()
    ledger.put(2, "failed", error="HTTP 500")
    with serving(port, server):
        assert "the server is back" in watching.stderr.readline()
        line = watching.stdout.readline()
        assert "failed" in line
        assert "HTTP 500" in line
        watching.send_signal(signal.SIGINT)
        out, err = watching.communicate(timeout=ENOUGH)
    assert watching.returncode == 130
    assert (out, err) == ("", "")


def test_a_watch_in_json_prints_an_object_a_line_and_ends_quietly_with_its_reader(environment: dict[str, str]):
    server = Server()
    ledger = Ledger(server)
    ledger.put(1, "succeeded")
    with serving(server=server) as told:
        watching = start(told, environment, "--from", "2026-11-22T00:00:00Z", "--json")
        assert watching.stdout
        assert watching.stderr
        assert '"state": "succeeded"' in watching.stdout.readline()
        watching.stdout.close()
        ledger.put(2, "succeeded")
        assert watching.wait(timeout=ENOUGH) == 141
        assert watching.stderr.read() == ""
        watching.stderr.close()


def test_a_watch_of_no_server_exits_3_at_once(environment: dict[str, str]):
    with serving() as told:
        pass
    watching = start(told, environment)
    _, err = watching.communicate(timeout=ENOUGH)
    assert watching.returncode == 3
    assert told.url in err


def test_a_watch_that_is_refused_ends(environment: dict[str, str]):
    server = Server()
    server.on("GET", "/runs", 401, {"title": "Unauthorized", "detail": "the key is not known"})
    with serving(server=server) as told:
        watching = start(told, environment)
        _, err = watching.communicate(timeout=ENOUGH)
    assert watching.returncode == 1
    assert "the key is not known" in err
