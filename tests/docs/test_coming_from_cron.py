"""The examples of the guide for cron's users do what the guide says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from backend.engine.definition import ScheduleDefinition
from backend.service.crontab import Options, read_crontab
from tests.acceptance.server import PATIENCE, Server, until
from tests.acceptance.test_cli import environment

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "coming-from-cron.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", GUIDE, re.DOTALL)


def call(server: Server, command: str) -> subprocess.CompletedProcess[str]:
    program, *argv = shlex.split(command)
    assert program == "scheduler"
    return subprocess.run(
        [sys.executable, "-m", "backend", *argv],
        check=False,
        cwd=server.folder,
        env=environment(server),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_every_command_of_the_guide_does_what_it_says(tmp_path: Path):
    (crontab,), (bad,), (told,) = blocks("crontab"), blocks("crontab-bad"), blocks("text")
    with Server(tmp_path).ready() as server:
        (server.folder / "my.crontab").write_text(crontab)
        (server.folder / "bad.crontab").write_text(bad)
        commands = [line for block in blocks("sh") for line in block.splitlines()]
        said = {}
        for command in commands:
            done = call(server, command)
            assert done.returncode == 0, (command, done.stderr)
            said[command] = done.stdout
        assert len(said) == 9
        assert "3 created (dry run" in said["scheduler import crontab my.crontab --dry-run"]
        assert "3 unchanged" in said["scheduler import crontab my.crontab --prune"]
        assert said["scheduler apply -f schedules.yaml"].endswith("\n3 moved\n")
        (run,) = server.runs()
        ended = until("the run's end", lambda: server.run(run["id"]))
        assert ended["output"] == "Stand-up in five minutes.\nBring coffee.\n"
        refused = call(server, "scheduler import crontab bad.crontab")
        assert (refused.returncode, refused.stderr) == (2, told)
        assert len(server.get("/schedules")["items"]) == 3


def test_what_the_guide_says_of_lines_is_true():
    (found,) = read_crontab(b"HOME=/srv\nTZ=Africa/Cairo\n@daily a\n", Options(None)).jobs
    definition = ScheduleDefinition.model_validate(found.document)
    assert definition.target.model_dump()["cwd"] == "/srv"
    assert definition.timeout.days == 7
    assert definition.retry.max_attempts == 1
    assert definition.pause_after_failures == 0
    assert definition.misfire_policy == "fire_once"
    assert definition.overlap_policy == "skip"
