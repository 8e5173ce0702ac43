"""`scheduler explain` and `scheduler audit` against a small real server: what they ask, print, and end with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from backend.cli.main import run
from tests.unit.cli_server import Asked, Server, run_of, serving

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as told:
        yield told


@pytest.fixture
def cli(server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    monkeypatch.setenv("SCHEDULER_URL", server.url)
    monkeypatch.setenv("SCHEDULER_API_KEY", "sched_test")

    def call(*argv: str) -> tuple[int, str, str]:
        code = run(argv)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def explanation(**changes: Any) -> dict[str, Any]:
    return {
        "schedule_id": "digest",
        "at": "2026-11-23T09:00:00Z",
        "verdict": "fired",
        "sentence": "It fired: all is well.",
        "timezone": "Europe/London",
        "local_time": "2026-11-23T09:00:00+00:00",
        "rule": {"triggers": [], "description": "at 09:00 (Europe/London)"},
        "trigger": None,
        "mismatch": [],
        "dst": None,
        "exclusion": None,
        "window": None,
        "pause": None,
        "revision": {"number": 3, "changed_at": "2026-11-01T00:00:00Z", "changed_by": "key:ops"},
        "nearest": {"previous": None, "next": "2026-11-24T09:00:00Z"},
        "run": run_of(1),
        "other_runs": [],
        "jitter": None,
    } | changes


def test_explain_says_the_sentence_first_and_then_what_it_rests_on(cli: Cli, server: Server):
    server.on("GET", "/schedules/digest/explain", 200, explanation())
    code, out, _ = cli("explain", "digest", "--at", "2026-11-23T09:00")
    lines = out.splitlines()
    assert (code, lines[0]) == (0, "It fired: all is well.")
    assert server.asked[0].query == {"at": "2026-11-23T09:00"}
    rows = dict(line.split(maxsplit=1) for line in lines[1:])
    assert rows["verdict"] == "fired"
    assert rows["run"] == f"{run_of(1)['id']} succeeded"
    assert rows["revision"] == "3, 2026-11-01T00:00:00Z by key:ops"
    assert (rows["before"], rows["after"]) == ("none", "2026-11-24T09:00:00Z")


def test_explain_tells_of_a_pause_a_window_a_delay_and_a_record_of_many(cli: Cli, server: Server):
    many = run_of(1, "skipped", missed={"count": 40, "first": "2026-11-22T09:01:00Z", "last": "2026-11-22T10:00:00Z"})
    more = {
        "pause": {"by": "ann", "at": "2026-11-22T08:00:00Z", "note": "moving"},
        "window": {"start_at": None, "end_at": "2027-01-01T00:00:00Z"},
        "jitter": {
            "nominal_time": "2026-11-23T09:00:00Z",
            "delay_seconds": 5,
            "scheduled_time": "2026-11-23T09:00:05Z",
        },
        "other_runs": [
            {"id": "r2", "trigger_type": "retry", "state": "failed", "nominal_time": "2026-11-23T09:00:00Z"}
        ],
        "run": many,
    }
    server.on("GET", "/schedules/digest/explain", 200, explanation(verdict="paused", **more))
    _, out, _ = cli("explain", "digest", "--at", "2026-11-23T09:00")
    for words in (
        "ann, 2026-11-22T08:00:00Z moving",
        "… to 2027-01-01",
        "T09:00:05Z",
        "r2 retry failed",
        "one record of 40 up to 2026",
    ):
        assert words in " ".join(out.split())


def test_explain_needs_an_instant_and_a_schedule_that_is_there(cli: Cli):
    assert cli("explain", "digest")[0] == 2
    assert cli("explain", "nobody", "--at", "2026-11-23T09:00")[0] == 4


def page(cursor: str | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "from": "2026-11-01T00:00:00Z",
        "to": "2026-11-23T00:00:00Z",
        "ledger_from": "2026-11-01T00:00:00Z",
        "schedules": 1,
        "expected": 10,
        "recorded": 10,
        "missing_count": 0,
        "doubled_count": 0,
        "unverified_count": 0,
        "missing": [],
        "doubled": [],
        "unverified": [],
        "next_cursor": cursor,
    } | changes


def test_an_audit_that_finds_nothing_ends_with_0(cli: Cli, server: Server):
    server.on("GET", "/audit/occurrences", 200, page())
    code, out, _ = cli("audit", "digest", "--from", "2026-11-01T00:00:00Z")
    assert code == 0
    assert "10 occurrences of 1 schedule, 2026-11-01T00:00:00Z to 2026-11-23T00:00:00Z: 0 missing, 0 doubled" in out
    assert server.asked[0].query == {"schedule": "digest", "from": "2026-11-01T00:00:00Z"}


def test_an_audit_writes_instants_no_longer_than_they_are(cli: Cli, server: Server):
    at = "2026-11-02T00:00:00.500000Z"
    ends = {"from": "2026-11-01T00:00:00.123456Z", "to": "2026-11-23T00:00:00.000001Z"}
    found = [{"schedule_id": "a", "nominal_time": at, "count": 1}]
    server.on("GET", "/audit/occurrences", 200, page(**ends, missing_count=1, missing=found))
    _, out, _ = cli("audit")
    assert "2026-11-01T00:00:00Z to 2026-11-23T00:00:00Z" in out
    assert "missing a 2026-11-02T00:00:00.5Z" in out
    assert ends.items() <= json.loads(cli("audit", "--json")[1]).items()


def test_an_audit_adds_its_pages_up_and_ends_with_1_if_anything_is_wrong(cli: Cli, server: Server):
    at = "2026-11-02T00:00:00Z"
    first = page("more", missing_count=3, missing=[{"schedule_id": "a", "nominal_time": at, "count": 3}])
    doubled = {"schedule_id": "b", "nominal_time": at, "count": 1, "run_id": "r7", "why": "it is no occurrence"}
    second = page(doubled_count=1, doubled=[doubled], unverified_count=1, unverified=[{"schedule_id": "c", "why": "y"}])

    def reply(asked: Asked) -> tuple[int, Any]:
        return 200, second if asked.query.get("cursor") == "more" else first

    server.when("GET", "/audit/occurrences", reply)
    code, out, _ = cli("audit")
    assert code == 1
    assert "20 occurrences of 2 schedules" in out
    assert "3 missing, 1 doubled" in out
    assert f"missing a {at} ×3" in out
    assert f"doubled b {at} it is no occurrence (run r7)" in out
    assert "not compared in full: c: y" in out
    code, out, _ = cli("audit", "--json")
    assert (code, json.loads(out)["missing_count"], json.loads(out)["next_cursor"]) == (1, 3, None)
