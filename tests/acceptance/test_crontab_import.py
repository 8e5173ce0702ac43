"""A crontab taken over by a real server runs as cron ran it, and what a server has can be written to a file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.server import PATIENCE, Server
from tests.acceptance.test_cli import environment

CRONTAB = r"""# A table of one user
SHELL=/bin/bash
GREETING="good morning"
CRON_TZ=Africa/Cairo

# Say something
0 0 * * *	[[ -n $GREETING ]] && echo "$GREETING at 100\%"; cat > /dev/null
30 2 * * mon-fri	tr a-z A-Z; exit 3%first%second
@hourly echo twice
@daily echo twice
"""
OTHERS = """\
schedules:
  - id: once-and-often
    name: "On"
    triggers:
      - {kind: once, at: 2098-12-01T09:00:00, timezone: Europe/London}
      - {kind: interval, every: 90m}
      - {kind: cron, expression: "30 2 * * *", timezone: America/New_York, dst_gap: skip, dst_overlap: both}
    target: {kind: http, url: "http://127.0.0.1:9/x", method: PUT, headers: {X-Team: "on"}, body: {at: "1:30", n: 1.0}}
    input: {yes: "no", deep: [1, {a: null}]}
    tags: {team: growth, "5": "1e3"}
    owner: "007"
    misfire_policy: fire_all
    misfire_threshold: 5s
    overlap_policy: allow_all
    retry: {max_attempts: 2}
    timeout: 1h
    delivery: at_most_once
  - id: monthly
    triggers:
      - {kind: rrule, rule: FREQ=MONTHLY;BYDAY=-1FR, dtstart: 2097-01-01T09:00:00, timezone: Europe/London}
      - {kind: cron, expression: "H H(2-5) * * *", timezone: Africa/Cairo}
    exclusions:
      - {kind: date, date: 2097-12-25, timezone: Europe/London}
      - {kind: range, from: 2097-12-27, to: "2098-01-01T06:00:00"}
      - {kind: cron, expression: "* * * 8 *", timezone: Africa/Cairo}
      - {kind: calendar, calendar: uk, timezone: Europe/London}
    target: {kind: command, argv: ["true", "", "null", "~", "2026-01-01", "é\U0001f600", "a\nb"], env: {A: "0x1F"}}
    start_at: 2097-02-01T00:00:00Z
    end_at: 2099-02-01T00:00:00Z
    max_runs: 7
    jitter: 90s
    catchup_window: 2h
    overlap_policy: buffer_all
    pause_after_failures: 0
"""
UK = "2097-12-26\n"

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def shell(server: Server) -> Cli:
    def call(*argv: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "backend", *argv]
        where = {"cwd": server.folder, "env": environment(server), "timeout": PATIENCE}
        return subprocess.run(command, check=False, capture_output=True, text=True, **where)  # type: ignore[call-overload,no-any-return]

    return call


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("crontab")) as running:
        yield running.ready()


@pytest.fixture(scope="module")
def cli(server: Server) -> Cli:
    (server.folder / "my.crontab").write_text(CRONTAB)
    call = shell(server)
    made = call("import", "crontab", "my.crontab")
    assert made.returncode == 0, made.stderr
    assert "4 created" in made.stdout
    return call


def definitions(server: Server) -> dict[str, Any]:
    changing = {"created_at", "updated_at", "revision", "source", "failure_streak", "last_run"}
    changing |= {"next_nominal_time", "next_scheduled_time"}  # an hour may end between two looks
    items = server.get("/schedules?limit=500")["items"]
    return {item["id"]: {key: value for key, value in item.items() if key not in changing} for item in items}


def test_the_jobs_become_schedules_in_the_zone_of_the_crontab(cli: Cli, server: Server):
    found = {item["id"]: item for item in server.get("/schedules?limit=500")["items"]}
    assert {"say-something", "tr-a-z-a-z-exit-3", "echo-twice", "echo-twice-2"} <= found.keys()
    assert found["say-something"]["name"] == "Say something"
    assert found["say-something"]["next_nominal_time"].endswith(("T21:00:00Z", "T22:00:00Z"))


@pytest.mark.parametrize(
    ("name", "output", "state", "status"),
    [("say-something", "good morning at 100%\n", "succeeded", 0), ("tr-a-z", "FIRST\nSECOND\n", "failed", 3)],
)
def test_a_job_runs_as_it_did_under_cron(cli: Cli, server: Server, name: str, output: str, state: str, status: int):
    (id_,) = (id_ for id_ in definitions(server) if id_.startswith(name))
    run = server.run(server.post(f"/schedules/{id_}/trigger")["id"])
    assert (run["state"], run["output"], run["attempts"][0]["status_code"]) == (state, output, status)
    assert len(run["attempts"]) == 1


def test_the_same_crontab_changes_nothing_and_a_shorter_one_prunes(cli: Cli, server: Server):
    assert "\n4 unchanged\n" in "\n" + cli("import", "crontab", "my.crontab", "--prune").stdout
    path = server.folder / "my.crontab"
    path.write_text(CRONTAB.replace("@daily echo twice\n", "61 * * * * late\n@reboot agent\n"))
    refused = cli("import", "crontab", "my.crontab", "--prune")
    assert refused.returncode == 2
    assert [line.split(":")[1] for line in refused.stderr.splitlines()[:2]] == ["10", "11"]
    path.write_text(CRONTAB.replace("@daily echo twice\n", "").replace("@hourly", "@weekly"))
    rehearsed = json.loads(cli("import", "crontab", "my.crontab", "--prune", "--dry-run", "--json").stdout)
    assert [item["change"] for item in rehearsed["items"]] == ["unchanged", "unchanged", "updated", "deleted"]
    assert rehearsed["items"][2]["next_nominal_time"]
    assert "echo-twice-2" in definitions(server)
    done = cli("import", "crontab", "my.crontab", "--prune").stdout
    assert "1 updated, 2 unchanged, 1 deleted" in done
    assert "echo-twice-2" not in definitions(server)
    path.write_text(CRONTAB)
    assert "1 created, 1 updated, 2 unchanged" in cli("import", "crontab", "my.crontab").stdout


def test_a_crontab_does_not_take_over_what_it_did_not_make(cli: Cli, server: Server):
    (server.folder / "other.crontab").write_text("# Say something\n5 5 * * * echo other\n")
    refused = cli("import", "crontab", "other.crontab")
    assert refused.returncode == 1
    assert "say-something" in refused.stderr
    assert "1 created" in cli("import", "crontab", "other.crontab", "--prefix", "other-").stdout
    assert cli("delete", "other-say-something").returncode == 0


def test_an_export_applied_again_changes_nothing_and_makes_the_same_on_an_empty_server(
    cli: Cli, server: Server, tmp_path: Path
):
    (server.folder / "others.yaml").write_text(OTHERS)
    (server.folder / "uk.txt").write_text(UK)
    assert cli("calendars", "put", "uk.txt", "--id", "uk").returncode == 0
    assert cli("apply", "-f", "others.yaml").returncode == 0
    assert cli("export", "-o", "all.yaml").stdout == "6 schedules written to all.yaml\n"
    assert cli("apply", "-f", "all.yaml").stdout.endswith("\n6 moved\n")
    assert cli("apply", "-f", "all.yaml").stdout == "6 unchanged\n"
    with Server(tmp_path).ready() as empty:
        again = shell(empty)
        path = str(server.folder / "all.yaml")
        assert again("calendars", "put", str(server.folder / "uk.txt"), "--id", "uk").returncode == 0
        assert "6 created" in again("apply", "-f", path).stdout
        assert definitions(empty) == definitions(server)
        assert again("export").stdout == (server.folder / "all.yaml").read_text()


def test_an_export_can_be_of_some(cli: Cli):
    found = json.loads(cli("export", "--search", "twice", "--json").stdout)["schedules"]
    assert {schedule["id"] for schedule in found} == {"echo-twice", "echo-twice-2"}
