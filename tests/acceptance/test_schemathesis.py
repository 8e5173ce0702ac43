"""A part of `make schemathesis`: the whole document, with a fixed seed and little time."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.schemathesis_run import run, serve

SECONDS = 15
SEED = 20261123


def test_the_server_answers_as_its_document_says(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        done = run(server, SECONDS, SEED, "--phases", "examples,coverage,stateful")
        assert done.returncode == 0, done.stdout[-20_000:] + done.stderr + server.errors
        assert "0 failures" in done.stdout or "failures" not in done.stdout.splitlines()[-1], done.stdout[-500:]
