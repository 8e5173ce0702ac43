"""`scheduler keys` and `scheduler namespaces` against a small real server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backend.cli.main import run
from tests.unit.cli_server import Server, serving

KEY: dict[str, Any] = {
    "id": "4f9a1c2b3d4e",
    "namespace": "growth",
    "name": "newsletter",
    "scopes": ["read", "write"],
    "state": "active",
    "created_at": "2026-11-23T09:00:00Z",
    "created_by": "key:admin",
    "expires_at": None,
    "last_used_at": None,
    "revoked_at": None,
    "successor": None,
}
NAMESPACE = {
    "id": "growth",
    "timezone": "Europe/London",
    "limits": {"schedules": 1000, "minimum_interval": "1m", "concurrent_runs": None},
    "created_at": "2026-11-23T09:00:00Z",
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("SCHEDULER_API_KEY", "sched_test")
    with serving() as told:
        monkeypatch.setenv("SCHEDULER_URL", told.url)
        yield told


def test_a_new_key_stands_alone_on_the_first_line(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.on("POST", "/keys", 201, KEY | {"key": "sched_4f9a1c2b3d4e_secret"})
    asked = ["keys", "create", "--namespace", "growth", "--scope", "read", "--scope", "write", "--name", "newsletter"]
    assert run(asked) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "sched_4f9a1c2b3d4e_secret"
    assert "namespace growth: read, write" in second
    assert server.asked[-1].query == {"namespace": "growth"}
    assert server.asked[-1].body == {"name": "newsletter", "scopes": ["read", "write"], "expires_at": None}


def test_a_key_for_all_namespaces_says_so_and_ends_in_time(server: Server) -> None:
    server.on("POST", "/keys", 201, KEY | {"namespace": None, "key": "sched_4f9a1c2b3d4e_secret"})
    assert run(["keys", "create", "--all-namespaces", "--scope", "admin", "--expires-in", "90d"]) == 0
    body = server.asked[-1].body
    assert body["namespace"] is None
    left = datetime.fromisoformat(body["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=89, hours=23) < left <= timedelta(days=90)


@pytest.mark.parametrize(
    "wrong",
    [
        ("keys", "create"),
        ("keys", "create", "--scope", "everything"),
        ("keys", "create", "--scope", "read", "--all-namespaces", "--namespace", "growth"),
        ("keys", "create", "--scope", "read", "--expires-in", "soon"),
        ("namespaces", "set", "growth"),
        ("namespaces", "set", "growth", "--limit", "schedules"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_wrong_usage(
    server: Server, wrong: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(wrong) == 2
    assert capsys.readouterr().err
    assert not server.asked


def test_keys_are_listed_rotated_and_revoked(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.on("GET", "/keys", 200, {"items": [KEY, KEY | {"id": "admin", "namespace": None}], "next_cursor": None})
    assert run(["keys", "list"]) == 0
    out = capsys.readouterr().out
    assert all(text in out for text in ("4f9a1c2b3d4e", "newsletter", "growth", "read,write", "(all)"))
    assert run(["keys", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"][0] == KEY
    server.on("POST", "/keys/4f9a1c2b3d4e/rotate", 201, KEY | {"key": "sched_new_secret"})
    assert run(["keys", "rotate", "4f9a1c2b3d4e", "--overlap", "1d"]) == 0
    assert server.asked[-1].body == {"overlap": "1d"}
    server.on("DELETE", "/keys/4f9a1c2b3d4e", 204, None)
    assert run(["keys", "revoke", "4f9a1c2b3d4e"]) == 0
    assert "revoked 4f9a1c2b3d4e" in capsys.readouterr().out


def test_namespaces_are_made_changed_shown_and_deleted(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.on("POST", "/namespaces", 201, NAMESPACE)
    limits = ["--limit", "schedules=1000", "--limit", "minimum_interval=1m"]
    assert run(["namespaces", "create", "growth", "--timezone", "Europe/London", *limits]) == 0
    wanted = {"id": "growth", "timezone": "Europe/London", "limits": {"schedules": 1000, "minimum_interval": "1m"}}
    assert server.asked[-1].body == wanted
    server.on("PATCH", "/namespaces/growth", 200, NAMESPACE)
    assert run(["namespaces", "set", "growth", "--limit", "schedules=none"]) == 0
    assert server.asked[-1].body == {"limits": {"schedules": None}}
    server.on("GET", "/namespaces", 200, {"items": [NAMESPACE], "next_cursor": None})
    server.on("GET", "/namespaces/growth", 200, NAMESPACE)
    server.on("DELETE", "/namespaces/growth", 204, None)
    capsys.readouterr()
    first = NAMESPACE | {"id": "default", "created_at": "1970-01-01T00:00:00Z"}
    server.on("GET", "/namespaces", 200, {"items": [first, NAMESPACE], "next_cursor": None})
    assert run(["namespaces", "list"]) == 0
    assert re.search(r"^default .*–$", capsys.readouterr().out, re.MULTILINE)
    for command in (["list"], ["show", "growth"], ["delete", "growth"]):
        assert run(["namespaces", *command]) == 0
        out = capsys.readouterr().out
        assert "growth" in out
        assert ("schedules=1000, minimum_interval=1m" in out) == (command != ["delete", "growth"])
