"""The command line against the real server, in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.server import PATIENCE, ROOT, Server, database_of, free_port, until

FILE = """\
schedules:
  - id: hello
    triggers:
      - {kind: interval, every: 1h}
    target: {kind: command, argv: [echo, hello]}
  - id: noon
    triggers:
      - kind: cron
        expression: "0 12 * * *"
        timezone: Africa/Cairo
      - {kind: once, at: 2098-12-01T09:00:00, timezone: Europe/London}
    target: {kind: command, argv: [echo, noon]}
"""

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("cli")) as running:
        yield running.ready()


def environment(server: Server) -> dict[str, str]:
    host, port = server.where
    ours = {name: value for name, value in os.environ.items() if not name.startswith("SCHEDULER_")}
    known = {**ours, **database_of(server.folder), "SCHEDULER_URL": f"http://{host}:{port}"}
    return {**known, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="module")
def cli(server: Server) -> Cli:
    def call(*argv: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "backend", *argv]
        return subprocess.run(
            command,
            check=False,
            cwd=server.folder,
            env=environment(server),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    return call


def told(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_life_of_a_schedule_from_the_shell(cli: Cli):
    made = cli("add", "shell", "--every", "1d", "--name", "From the shell", "--", "sh", "-c", "cat; exit 0")
    assert made.stdout.startswith("created shell; next "), made.stderr
    assert cli("add", "shell", "--every", "1d", "--", "true").returncode == 1

    run = told(cli("trigger", "shell", "--input", '{"who": "me"}', "--json"))
    ended = until("the run's end", lambda: _ended(cli, run["id"]))
    assert ended["state"] == "succeeded"
    shown = cli("run", "show", run["id"]).stdout
    assert "manual" in shown
    assert '"who": "me"' in shown.replace('":"', '": "')

    assert cli("pause", "shell", "--note", "for the move").stdout == "shell is paused (for the move)\n"
    assert [item["id"] for item in told(cli("list", "--state", "paused", "--json"))["items"]] == ["shell"]
    described = cli("show", "shell").stdout
    assert "for the move" in described
    assert "succeeded" in described
    assert cli("resume", "shell").stdout.startswith("shell is active; next ")
    assert len(told(cli("upcoming", "shell", "-n", "3", "--json"))["items"]) == 3
    again = told(cli("run", "retry", run["id"], "--json"))
    assert again["trigger_type"] == "retry"
    assert cli("run", "cancel", run["id"]).returncode == 1
    assert cli("delete", "shell").stdout == "deleted shell\n"
    assert cli("show", "shell").returncode == 4


def _ended(cli: Cli, id_: str) -> dict[str, Any] | None:
    run: dict[str, Any] = told(cli("run", "show", id_, "--json"))
    return run if run["finished_at"] else None


def test_a_run_is_cancelled_from_the_shell(cli: Cli):
    cli("add", "long", "--every", "1d", "--", "sleep", "600")
    run = told(cli("trigger", "long", "--json"))
    assert told(cli("run", "cancel", run["id"], "--json"))["state"] == "cancelled"
    assert cli("delete", "long").returncode == 0


def test_a_file_is_applied_changed_and_pruned(cli: Cli, server: Server):
    path = server.folder / "hello.yaml"
    path.write_text(FILE)
    assert cli("apply", "-f", "hello.yaml", "--dry-run").stdout.endswith("2 created (dry run: nothing was written)\n")
    assert cli("show", "noon").returncode == 4
    assert cli("apply", "-f", "hello.yaml").stdout.endswith("2 created\n")
    assert cli("apply", "-f", "hello.yaml", "--prune").stdout == "2 unchanged\n"
    assert "at 2098-12-01T09:00:00 Europe/London" in cli("show", "noon").stdout

    path.write_text(FILE.replace("0 12 * * *", "61 12 * * *").replace("1h", "2h"))
    refused = cli("apply", "-f", "hello.yaml")
    assert refused.returncode == 1
    assert "hello.yaml:9: schedules[1].triggers[0].expression: minute 61 is outside 0–59" in refused.stderr
    assert told(cli("show", "hello", "--json"))["triggers"][0]["every"] == "1h"

    path.write_text(FILE.partition("  - id: noon")[0])
    assert cli("apply", "-f", "hello.yaml", "--prune").stdout.endswith("1 unchanged, 1 deleted\n")
    assert cli("show", "noon").returncode == 4
    cli("delete", "hello")


def test_preview_says_what_a_rule_means(cli: Cli):
    answer = told(
        cli("preview", "0 9 * * mon-fri", "--timezone", "Europe/London", "--from", "2026-11-20T12:00:00Z", "--json")
    )
    assert [item["nominal_time"] for item in answer["occurrences"]][:2] == [
        "2026-11-23T09:00:00Z",
        "2026-11-24T09:00:00Z",
    ]
    words = cli("preview", "30 2 * * *", "--timezone", "Europe/Berlin", "--from", "2027-03-27T12:00:00Z", "-n", "1")
    assert "Sun 2027-03-28 03:00  Europe/Berlin  2027-03-28T01:00:00Z" in words.stdout
    refused = cli("preview", "61 * * * *")
    assert refused.returncode == 1
    assert "minute 61 is outside 0–59" in refused.stderr


def test_a_wrong_key_is_refused(cli: Cli):
    assert cli("list", "--api-key", "sched_wrong").returncode == 1


def test_the_database_is_checked_beside_the_running_server(cli: Cli):
    assert told(cli("db", "migrate", "--json")) == {"applied": []}
    assert told(cli("db", "check", "--json")) == {"problems": []}


def test_a_watch_tells_each_run_once_through_a_kill_of_the_server(tmp_path: Path):
    port = str(free_port())
    with Server(tmp_path / "first", port=port).ready() as server:
        server.create("tick", {"kind": "command", "argv": ["true"]}, triggers=[{"kind": "interval", "every": "1s"}])
        watching = subprocess.Popen(
            [sys.executable, "-m", "backend", "runs", "--watch", "--json", "--from", "2020-01-01T00:00:00Z"],
            cwd=server.folder,
            env=environment(server),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert watching.stdout
        assert watching.stderr
        seen = [json.loads(watching.stdout.readline()) for _ in range(2)]
        server.kill()
        while "waiting for it" not in watching.stderr.readline():
            pass
        with Server(tmp_path / "first", port=port).ready():
            while "the server is back" not in watching.stderr.readline():
                pass
            seen += [json.loads(watching.stdout.readline()) for _ in range(3)]
            watching.send_signal(signal.SIGINT)
            out, err = watching.communicate(timeout=PATIENCE)
    seen += [json.loads(line) for line in out.splitlines()]
    assert watching.returncode == 130
    assert "Traceback" not in err
    assert len({run["id"] for run in seen}) == len(seen) >= 5


def test_serve_is_the_server_and_drains_on_sigterm(tmp_path: Path):
    with Server(tmp_path, command=("-m", "backend", "serve")).ready() as server:
        assert server.stop() == 0


def test_serve_refuses_a_setting_like_the_server(tmp_path: Path):
    with Server(tmp_path, command=("-m", "backend", "serve"), port="99999") as server:
        assert server.exit_code() == 2
        assert "SCHEDULER_PORT" in server.errors
