"""How the program starts and ends: quick to help, quiet when its reader goes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from backend.cli.main import build_app, run
from tests.unit.cli_server import Server, run_of, schedule, serving

SLOW = ("fastapi", "starlette", "aiohttp", "uvicorn", "apsw", "pydantic", "pydantic_settings", "structlog", "anyio")
ENOUGH = 30.0


def python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=ENOUGH
    ).stdout.splitlines()[-1]


@pytest.mark.parametrize("argv", [["--help"], ["add", "--help"], ["run", "show", "--help"], ["list", "--nope"]])
def test_help_imports_nothing_slow(argv: list[str]):
    loaded = python(f"import sys; from backend.cli.main import run; run({argv!r}); print(sorted(sys.modules))")
    assert [name for name in SLOW if f"'{name}'" in loaded] == []


def test_a_command_with_url_and_key_imports_nothing_slow():
    server = Server()
    server.on("GET", "/runs", 200, {"items": [run_of(1)], "next_cursor": None})
    with serving(server=server) as told:
        argv = ["runs", "--url", told.url, "--api-key", "k"]
        loaded = python(f"import sys; from backend.cli.main import run; run({argv!r}); print(sorted(sys.modules))")
    assert [name for name in SLOW if f"'{name}'" in loaded] == []


def commands() -> list[tuple[str, ...]]:
    app = build_app()
    names = [name for name in app if not name.startswith("-")]
    return [(name, *rest) for name in names for rest in _below(app[name])]


def _below(app) -> list[tuple[str, ...]]:
    names = [name for name in app if not name.startswith("-")]
    return [(name,) for name in names] or [()]


def test_the_commands_are_those_of_the_reference():
    assert {" ".join(command) for command in commands()} == {
        *(
            "serve",
            "add",
            "list",
            "show",
            "pause",
            "resume",
            "trigger",
            "backfill",
            "delete",
            "upcoming",
            "explain",
            "audit",
            "runs",
            "workers",
            "preview",
            "stats",
            "changes",
            "events",
        ),
        *("run show", "run cancel", "run retry", "apply", "export", "import crontab", "db migrate", "db check"),
        *("keys create", "keys list", "keys revoke", "keys rotate"),
        *(f"namespaces {verb}" for verb in ("create", "list", "show", "set", "delete")),
        *(f"secrets {verb}" for verb in ("put", "list", "delete", "make-key", "reencrypt")),
        *(f"notifications {verb}" for verb in ("list", "add", "test", "runs", "delete")),
        *("simulate", "calendars list", "calendars show", "calendars put", "calendars delete"),
    }


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_has_help_with_an_example_and_json(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    assert run([*command, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"scheduler {' '.join(command)}" in out.partition("Examples:")[2]
    assert "--json" in out or command == ("serve",)


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_without_a_command_the_help_is_printed(argv: list[str], capsys: pytest.CaptureFixture[str]):
    assert run(argv) == 0
    out = capsys.readouterr().out
    assert "Usage: scheduler COMMAND" in out
    assert "4 not found" in out


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_reader_that_goes_early_is_no_traceback(more: list[str]):
    server = Server()
    items = [schedule(f"schedule-{number}") for number in range(5000)]
    server.on("GET", "/schedules", 200, {"items": items, "next_cursor": None})
    environment = os.environ | {"SCHEDULER_API_KEY": "k"}
    with serving(server=server) as told:
        argv = [sys.executable, "-m", "backend", "list", "--url", told.url, *more]
        listing = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert listing.stdout
        assert listing.stderr
        listing.stdout.readline()
        listing.stdout.close()
        assert listing.wait(timeout=ENOUGH) == 141
        assert listing.stderr.read() == b""
        listing.stderr.close()
