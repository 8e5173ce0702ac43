"""The guide to the load says what happens: its files are simulated, and its lines are printed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.cli.main import run
from tests.acceptance.server import Server

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "load.md").read_text()
FILES = ("reports.yaml", "spread.yaml", "lengths.yaml", "sync.yaml")
TOLD = "→ "


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    return [text for named, text in found if named == language]


def commands() -> list[tuple[str, list[str]]]:
    """Give each command, and the lines that the guide says it prints."""
    found: list[tuple[str, list[str]]] = []
    for block in blocks(""):
        for line in block.splitlines():
            if line.startswith(TOLD):
                found[-1][1].append(line.removeprefix(TOLD))
            else:
                found.append((line, []))
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("load")) as started:
        yield started.ready()


def test_every_command_of_the_guide_does_what_it_says(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    host, port = server.where
    monkeypatch.setenv("SCHEDULER_URL", f"http://{host}:{port}")
    monkeypatch.setenv("SCHEDULER_API_KEY", server.key)
    for name, content in zip(FILES, blocks("yaml"), strict=True):
        (tmp_path / name).write_text(content)
    (tmp_path / "holidays.ics").write_text(
        "BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\nDTSTART;VALUE=DATE:20261225\nEND:VEVENT\nEND:VCALENDAR\n"
    )
    assert len(commands()) == 7
    for command, lines in commands():
        program, *argv = shlex.split(command)
        assert program == "scheduler"
        code = run(argv)
        printed = capsys.readouterr()
        assert code == 0, (command, printed.err)
        for line in lines:
            assert line in printed.out.splitlines(), (command, printed.out)
    assert sum(len(lines) for _, lines in commands()) == 11
