"""What the guides show runs, and what there is stands in the reference."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backend.engine.definition import ScheduleDefinition
from backend.errors import ConfigurationError
from backend.model.policies import RetryPolicy
from backend.service.views import ScheduleView
from backend.triggers.registry import KINDS

pytestmark = pytest.mark.sqlite_only("the programs run as they stand, with the default database")

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "reference" / "schedule.md").read_text()
PATIENCE = 40.0  # a deadline for a busy machine, not an expectation


def section(title: str) -> str:
    return re.split(r"^## ", REFERENCE.partition(f"\n## {title}\n")[2], flags=re.MULTILINE)[0]


def names_in(table: str, column: int = 0) -> set[str]:
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("|")]
    return {name for row in rows[2:] for name in re.findall(r"`(\w+)`", row[column])}


def test_every_field_of_a_schedule_is_in_the_reference_and_nothing_else():
    written = names_in(section("What you write"))
    assert written == set(ScheduleDefinition.model_fields)
    assert names_in(section("What the server adds")) == set(ScheduleView.model_fields) - written
    assert names_in(section("Retry")) == set(RetryPolicy.model_fields)


def test_every_kind_of_trigger_is_in_the_reference_with_its_fields():
    table = section("Triggers")
    assert names_in(table) == set(KINDS)
    found: dict[str, set[str]] = {}
    kind = ""
    for line in table.splitlines():
        cells = [cell.strip(" `") for cell in line.split("|")[1:-1]]
        if len(cells) == 4 and re.fullmatch(r"\w+", cells[1]) and cells[1] != "field":
            kind = cells[0] or kind
            found.setdefault(kind, set()).add(cells[1])
    assert found == {name: set(model.model_fields) - {"kind"} for name, model in KINDS.items()}


def programs() -> dict[str, str]:
    """Give the programs of the guides that run a scheduler."""
    blocks = {
        f"{page}-{number}": block
        for page in ("README.md", "docs/guides/processes.md")
        for number, block in enumerate(re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL))
    }
    return {name: block for name, block in blocks.items() if "import Scheduler\n" in block}


def until_ready(program: subprocess.Popen[str], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while " ready " not in (text := log.read_text()) or "service=scheduler" not in text.partition(" ready ")[2]:
        assert program.poll() is None, text
        assert time.monotonic() < deadline, text
        time.sleep(0.05)


@pytest.mark.parametrize("name", programs())
def test_a_program_of_the_guides_runs_as_it_stands_and_drains(name: str, tmp_path: Path):
    script, log = tmp_path / "program.py", tmp_path / "log"
    script.write_text(programs()[name])
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SCHEDULER_PORT": "0"}
    with log.open("w") as out:
        program = subprocess.Popen(
            [sys.executable, str(script)], cwd=tmp_path, env=environment, stdout=out, stderr=out, text=True
        )
    try:
        until_ready(program, log)
        program.send_signal(signal.SIGTERM)
        assert program.wait(PATIENCE) == 0, log.read_text()
    finally:
        if program.poll() is None:
            program.kill()
            program.wait()


def test_both_guides_have_such_a_program():
    assert len(programs()) == 2


def test_the_example_names_the_port_of_its_sink_when_that_is_taken(monkeypatch: pytest.MonkeyPatch):
    spec = importlib.util.spec_from_file_location("hello", ROOT / "examples" / "hello.py")
    assert spec
    assert spec.loader
    hello = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hello)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setattr(hello, "SINK_PORT", port)
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}, .* examples/hello.yaml$"):
            hello.Sink().listen()
