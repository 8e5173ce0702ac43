"""The program that the guide to the client builds up, piece by piece, prints what the guide says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from backend.client import operations
from backend.client.operation import Operation, Walk
from tests.acceptance.server import ROOT, Server

GUIDE = (ROOT / "docs" / "guides" / "python-client.md").read_text()
ENOUGH = 60.0


def test_the_guide_prints_what_it_says(tmp_path: Path):
    program = "".join(re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL))
    expected = "".join(re.findall(r"```text\n(.*?)```", GUIDE, re.DOTALL))
    with Server(tmp_path).ready() as server:
        host, port = server.where
        named = {"SCHEDULER_URL": f"http://{host}:{port}", "SCHEDULER_API_KEY": server.key, "PYTHONPATH": str(ROOT)}
        told = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            env=os.environ | named,
            capture_output=True,
            text=True,
            timeout=ENOUGH,
            check=False,
        )
    assert (told.returncode, told.stdout) == (0, expected), told.stderr


def test_the_methods_that_the_guide_names_are_there():
    named = set(re.findall(r"`([a-z]+_[a-z_]+)`", GUIDE)) - {"maybe_done", "retry_after"}
    there = {name for name in dir(operations.Operations) if not name.startswith("_")}
    kinds = {type(getattr(operations.Operations, name)) for name in there - {"terms"}}
    assert named <= there
    assert kinds == {Operation, Walk}
