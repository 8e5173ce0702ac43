"""The server as process 1 of a container: signals arrive, orphans are reaped, the exit code is the server's."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.acceptance.server import Server, until

# What a container does, as far as it matters here: a process id space of its own.
CONTAINER = ("unshare", "--pid", "--fork", "--kill-child")
SUBREAPER = """
import ctypes, sys
from backend.process import init
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans come to us, as to process 1
init.look_after_a_child()
sys.argv = ["x"]
from backend.scheduler import main
main()
"""
LEAVING = """
import os, signal, sys
from backend.process import init
init.look_after_a_child()
{end}
"""


def namespaces_are_allowed() -> bool:
    try:
        return subprocess.run([*CONTAINER, "true"], check=False, capture_output=True, timeout=30).returncode == 0
    except OSError:
        return False


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("sys.exit(0)", 0),
        ("sys.exit(3)", 3),
        ("raise RuntimeError", 1),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137),
        ("os.kill(os.getppid(), signal.SIGTERM); signal.pause()", 143),
        (
            "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); os.kill(os.getppid(), 15); signal.pause()",
            5,
        ),
    ],
)
def test_process_1_exits_as_its_child_did_and_passes_signals_on(end: str, code: int) -> None:
    program = subprocess.run(
        [sys.executable, "-c", LEAVING.format(end=end)], check=False, capture_output=True, timeout=60
    )
    assert program.returncode == code


def orphan_that_ends(server: Server) -> None:
    """Have a command leave a daemon, which ends once nobody but process 1 can reap it."""
    script = "setsid sh -c 'sleep 0.2; echo > ended' >/dev/null 2>&1 & sleep 0.05"
    target = {"kind": "command", "argv": ["/bin/sh", "-c", script], "cwd": str(server.folder)}
    server.create("orphan", target)
    run = server.post("/schedules/orphan/trigger")
    assert server.run(run["id"])["state"] == "succeeded"
    until("its end", (server.folder / "ended").exists)


def no_zombies_below(pid: int) -> bool:
    family = psutil.Process(pid).children(recursive=True)
    return all(each.status() != psutil.STATUS_ZOMBIE for each in family)


def test_orphans_are_reaped_and_a_signal_drains(tmp_path: Path) -> None:
    with Server(tmp_path, command=("-c", SUBREAPER)) as server:
        orphan_that_ends(server.ready())
        until("an end of all zombies", lambda: no_zombies_below(server.process.pid))
        assert len(psutil.Process(server.process.pid).children()) == 1
        server.send(signal.SIGTERM)
        assert server.exit_code() == 0
        assert server.said("exited")


@pytest.mark.parametrize("module", ["backend.scheduler", "backend.app"])
def test_the_server_works_as_process_1_of_a_process_id_space(tmp_path: Path, module: str) -> None:
    if not namespaces_are_allowed():
        pytest.skip("this user may not make process id spaces; the test with a subreaper above stands in")
    command = ("-c", f"import os; os.execvp('unshare', {[*CONTAINER, sys.executable, '-m', module]!r})")
    with Server(tmp_path, command=command) as server:
        orphan_that_ends(server.ready())
        (first,) = psutil.Process(server.process.pid).children()
        assert (tmp_path / "ended").exists()
        until("an end of all zombies", lambda: no_zombies_below(first.pid))
        first.send_signal(signal.SIGTERM)
        assert server.exit_code() == 0
        assert server.said("exited")
