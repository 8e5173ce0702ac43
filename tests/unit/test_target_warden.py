"""A server that is killed leaves no commands behind: real servers, real SIGKILL."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from backend.targets import warden as helper
from backend.targets.child import ChildSpec, run_child
from backend.targets.wards import Warden

pytestmark = pytest.mark.anyio

DEADLINE = 20
ENV = {"PATH": os.defpath}
HOME = Path(helper.__file__).parents[2]

PERFORM = """
import asyncio, os, sys
from backend.targets.child import ChildSpec, run_child
from backend.targets.wards import Warden
script = 'sleep 1000 & echo $$ $! >>"$MARKS"; wait'
spec = ChildSpec(["/bin/sh", "-c", script], {"PATH": os.defpath, "MARKS": sys.argv[1]}, None, b"")
async def main():
    warden = Warden()
    await asyncio.gather(*(run_child(spec, warden) for _ in range(3)))
asyncio.run(main())
"""

# The server dies after it has started a command and before it could tell the warden which group that is.
IN_THE_WINDOW = (
    PERFORM.replace("asyncio.run(main())", "")
    + """
Warden.hold = lambda self, ward, group: os.kill(os.getpid(), 9)
asyncio.run(main())
"""
)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pids(path: Path) -> list[int]:
    return [int(word) for word in path.read_text().split()] if path.exists() else []


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - other processes set no event of ours
            await asyncio.sleep(0.01)


@contextmanager
def server(code: str, marks: Path) -> Iterator[psutil.Popen]:
    environment = {**ENV, "PYTHONPATH": str(HOME)}
    with psutil.Popen([sys.executable, "-c", code, str(marks)], env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            for pid in filter(alive, pids(marks)):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_commands_die_with_a_server_that_was_killed(tmp_path: Path, number: signal.Signals) -> None:
    marks = tmp_path / "pids"
    with server(PERFORM, marks) as process:
        await until(lambda: len(pids(marks)) == 6)
        wardens = [child.pid for child in process.children() if child.pid not in pids(marks)]
        assert len(wardens) == 1
        assert all(map(alive, pids(marks)))
        process.send_signal(number)
        await until(lambda: not any(map(alive, pids(marks) + wardens)))


async def test_a_command_dies_although_the_server_was_killed_before_it_could_name_it(tmp_path: Path) -> None:
    marks = tmp_path / "pids"
    mark = f"MARKS={marks}".encode()
    with server(IN_THE_WINDOW, marks) as process:
        await asyncio.to_thread(process.wait, DEADLINE)
        assert process.returncode == -signal.SIGKILL

        def carriers() -> list[str]:
            paths = [f"/proc/{pid}/environ" for pid in psutil.pids()]
            return [path for path in paths if mark in content(path)]

        await until(lambda: not carriers())


def content(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


async def test_without_the_warden_the_commands_would_have_stayed(tmp_path: Path) -> None:
    marks = tmp_path / "pids"
    with server(PERFORM, marks) as process:
        await until(lambda: len(pids(marks)) == 6)
        (keeper,) = [child for child in process.children() if child.pid not in pids(marks)]
        keeper.kill()
        process.kill()
        await asyncio.to_thread(process.wait, DEADLINE)
        assert all(map(alive, pids(marks))), "or the tests beside this one prove nothing"


def sleeper(marks: Path) -> ChildSpec:
    return ChildSpec(["/bin/sh", "-c", f"echo $$ >>{marks}; exec sleep 1000"], ENV, None, b"")


async def test_signals_meant_for_the_server_do_not_stop_the_warden(tmp_path: Path) -> None:
    warden, marks = Warden(), tmp_path / "pids"
    child = asyncio.create_task(run_child(sleeper(marks), warden))
    await until(lambda: len(pids(marks)) == 1)
    assert warden.process_id is not None
    keeper = psutil.Process(warden.process_id)
    assert os.getsid(keeper.pid) == keeper.pid
    await until(lambda: ignores(keeper.pid, signal.SIGTERM))
    assert ignores(keeper.pid, signal.SIGINT)
    assert ignores(keeper.pid, signal.SIGHUP)
    await warden.close()
    assert not alive(keeper.pid)
    await child
    assert not alive(pids(marks)[0]), "a warden that is let go kills what is still under watch"


def ignores(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigIgn"))
    return bool(mask >> (number - 1) & 1)


async def test_a_new_warden_is_told_of_the_commands_that_the_dead_one_knew(tmp_path: Path) -> None:
    warden, marks = Warden(), tmp_path / "pids"
    first = asyncio.create_task(run_child(sleeper(marks), warden))
    await until(lambda: len(pids(marks)) == 1)
    old = warden.process_id
    assert old is not None
    os.kill(old, signal.SIGKILL)
    await until(lambda: not alive(old))
    second = asyncio.create_task(run_child(sleeper(marks), warden))
    await until(lambda: len(pids(marks)) == 2)
    assert warden.process_id != old
    await warden.close()
    assert [(await first).code, (await second).code] == [-signal.SIGKILL, -signal.SIGKILL]


async def test_a_command_that_could_not_start_is_forgotten() -> None:
    warden = Warden()
    with pytest.raises(FileNotFoundError):
        await run_child(ChildSpec(["/no/such/program"], ENV, None, b""), warden)
    assert not warden._wards
    await warden.close()


async def test_no_warden_runs_before_the_first_command() -> None:
    warden = Warden()
    assert warden.process_id is None
    await warden.close()


def test_the_notes_of_a_warden_follow_its_commands() -> None:
    groups: dict[str, int] = {}
    marks: dict[str, str] = {}
    for line in ("?1 a-1", "?2 a-2", "?3 a-3", "+1 4711", "+2 4712", "-1"):
        helper.note(line, groups, marks)
    assert (groups, marks) == ({"2": 4712}, {"3": "a-3"})


def test_the_warden_never_kills_its_own_group_or_everybody() -> None:
    helper.kill({0, 1, os.getpgrp()})
