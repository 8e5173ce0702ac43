"""`scheduler workers` against a small real server."""

from __future__ import annotations

import json

import pytest

from backend.cli.main import run
from tests.unit.cli_server import serving

WORKER = {
    "name": "host-a:4711:0a1b2c",
    "host": "host-a",
    "pid": 4711,
    "version": "1.0",
    "state": "draining",
    "runs": 3,
    "concurrency": 64,
    "started_at": "2026-11-23T09:00:00Z",
    "seen_at": "2026-11-23T09:00:05Z",
}


@pytest.mark.parametrize("items", [[WORKER], []], ids=["one", "none"])
def test_workers_are_a_table_for_people_and_a_document_for_programs(
    items: list[object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SCHEDULER_API_KEY", "sched_test")
    with serving() as server:
        monkeypatch.setenv("SCHEDULER_URL", server.url)
        server.on("GET", "/workers", 200, {"items": items, "next_cursor": None})
        assert run(["workers"]) == 0
        out = capsys.readouterr().out
        assert all(text in out for text in ("host-a:4711:0a1b2c", "draining", "3/64")) if items else "no workers" in out
        assert run(["workers", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["items"] == items


def test_the_dead_are_counted_and_shown_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SCHEDULER_API_KEY", "sched_test")
    dead = {**WORKER, "name": "host-b:1:ffffff", "state": "silent"}

    def said(*words: str) -> str:
        assert run(["workers", *words]) == 0
        return capsys.readouterr().out

    with serving() as server:
        monkeypatch.setenv("SCHEDULER_URL", server.url)
        server.on("GET", "/workers", 200, {"items": [WORKER, dead], "next_cursor": None})
        assert "host-b" not in said()
        assert said().splitlines()[-1] == "1 worker fell silent within the last hour; --all shows them"
        assert json.loads(said("--json"))["items"] == [WORKER]
        assert "host-b" in said("--all")
        assert "--all" not in said("--all")
        assert json.loads(said("--all", "--json"))["items"] == [WORKER, dead]
        server.on("GET", "/workers", 200, {"items": [dead], "next_cursor": None})
        assert said().splitlines()[0] == "no workers"
