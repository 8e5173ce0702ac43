"""`scheduler stats` against a small real server."""

from __future__ import annotations

import json

import pytest

from backend.cli.main import run
from tests.unit.cli_server import serving

STATS = {
    "namespace": "default",
    "at": "2026-11-23T09:00:00Z",
    "schedules": {"active": 7, "paused": 0, "completed": 1, "error": 0},
    "open_runs": {"queued": 3, "running": 0},
    "last_hour": {"succeeded": 5000},
    "last_hour_complete": False,
    "failures": 0,
    "lateness": {"runs": 5000, "p50": 0.012, "p95": 0.5, "p99": 1.25},
    "backlog": {"due_schedules": 0, "due_age_seconds": 0.0, "queued_age_seconds": 2.5},
    "limits": [
        {"name": "schedules", "limit": 10, "used": 8},
        {"name": "minimum_interval", "limit": "1m", "used": None},
    ],
}


def test_figures_are_lines_for_people_and_a_document_for_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SCHEDULER_API_KEY", "sched_test")
    with serving() as server:
        monkeypatch.setenv("SCHEDULER_URL", server.url)
        server.on("GET", "/stats", 200, STATS)
        assert run(["stats"]) == 0
        out = capsys.readouterr().out
        for text in ("7 active, 1 completed", "3 queued", "5000 succeeded (the newest only)", "p99 1.25 s"):
            assert text in out
        assert "8 of 10" in out
        assert run(["stats", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == STATS
