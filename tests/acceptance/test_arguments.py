"""Who asks a server for help gets help, not a server that works on the real database."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.server import PATIENCE, ROOT

pytestmark = pytest.mark.sqlite_only("whoever is told to help opens no database")

MODULES = ["backend.scheduler", "backend.app", "backend.executor.worker"]


def start(module: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@pytest.mark.parametrize("module", MODULES)
def test_help_is_told_and_nothing_is_started(module: str, tmp_path: Path) -> None:
    told = start(module, tmp_path, "--help")
    assert (told.returncode, told.stderr) == (0, "")
    assert f"usage: python -m {module}\n" in told.stdout
    assert "takes no arguments" in told.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", MODULES)
def test_an_argument_is_refused_and_nothing_is_started(module: str, tmp_path: Path) -> None:
    told = start(module, tmp_path, "--version")
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr == (
        f"'--version' is not known: python -m {module} takes no arguments; see python -m {module} --help\n"
    )
    assert list(tmp_path.iterdir()) == []
