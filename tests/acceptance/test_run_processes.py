"""A list of disasters, each with real processes."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import psutil
import pytest

pytestmark = pytest.mark.sqlite_only("these processes have no database")

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guides" / "processes.md"
PATIENCE = 60  # seconds; a deadline for a busy machine, not an expectation


NOHUP = """
import signal, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN)
from tests.acceptance.processes import main
sys.argv[1:] = ["plain:a"]
main()
"""


def _heed_hangups() -> None:
    """Let the program hear of a closed terminal also where the tests were started with nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Script:
    """A running program whose lines are read as they come, in a process group of its own."""

    def __init__(self, *command: str) -> None:
        self.program = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=_heed_hangups,  # noqa: PLW1509 - a signal is set, and nothing else
        )
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._fresh: queue.Queue[str] = queue.Queue()
        self._readers = [threading.Thread(target=self._read_lines), threading.Thread(target=self._read_errors)]

    def _read_lines(self) -> None:
        for line in self.program.stdout or ():
            self._fresh.put(line.strip())

    def _read_errors(self) -> None:
        for line in self.program.stderr or ():
            self.errors.append(line.rstrip("\n"))

    def __enter__(self) -> Self:
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.program.poll() is None or self.alive():
            os.killpg(self.program.pid, signal.SIGKILL)
        self.program.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        for stream in (self.program.stdout, self.program.stderr):
            if stream:
                stream.close()

    def until(self, text: str) -> str:
        """Read on until a line contains `text`, and return that line."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                line = self._fresh.get(timeout=0.2)
            except queue.Empty:
                continue
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"{text!r} never came; stdout {self.lines}, stderr {self.errors}")

    def pid_of(self, name: str) -> int:
        return int(self.until(f"{name} is ").split()[-1])

    def send(self, number: signal.Signals) -> None:
        self.program.send_signal(number)

    def send_to_all(self, number: signal.Signals) -> None:
        os.killpg(self.program.pid, number)

    def end(self) -> int:
        """Wait for the end of the program and of all it started, and return its exit code."""
        code = self.program.wait(PATIENCE)
        assert gone(self.alive), f"left over: {self.alive()}"
        for reader in self._readers:
            reader.join(PATIENCE)
        while not self._fresh.empty():
            self.lines.append(self._fresh.get())
        return code

    def alive(self) -> list[str]:
        """Name what runs in the program's group, whoever its parent is now."""
        return [
            " ".join(each.info["cmdline"] or ["?"]) for each in psutil.process_iter(["cmdline"]) if self._owns(each)
        ]

    def _owns(self, each: psutil.Process) -> bool:
        try:
            return os.getpgid(each.pid) == self.program.pid and each.status() != psutil.STATUS_ZOMBIE
        except (ProcessLookupError, psutil.NoSuchProcess):
            return False

    def order(self) -> list[str]:
        return [" ".join(line.split()[:3]) for line in self.lines]

    def complaint(self) -> str:
        return "\n".join(self.errors)


def gone(what: Callable[[], object]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if not what():
            return True
        threading.Event().wait(0.05)
    return False


def run(*processes: str) -> Script:
    return Script("-m", "tests.acceptance.processes", *processes)


def test_processes_start_in_order_and_stop_in_reverse():
    with run("plain:a", "plain:b", "plain:c") as script:
        script.until("c is running")
        script.send(signal.SIGTERM)
        assert script.end() == 0
    assert script.order() == [
        *("a is running", "b is running", "c is running"),
        *("c has ended", "b has ended", "a has ended"),
        "all is done",
    ]
    assert script.errors == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_drains_a_foreground_that_runs_an_event_loop(number):
    with run("plain:a", "loop:front") as script:
        script.until("front is running")
        script.send(number)
        assert script.end() == 0
    assert script.order()[-3:] == ["front has ended", "a has ended", "all is done"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_drains_everybody_once(number):
    with run("loop:a", "plain:b", "plain:front") as script:
        script.until("front is running")
        script.send_to_all(number)
        assert script.end() == 0
    assert {"a has ended", "b has ended", "front has ended"} < set(script.order())
    assert script.errors == []


def test_a_terminal_that_is_closed_drains_everybody_however_often_it_says_so():
    with run("loop:a", "kept:b", "plain:front") as script:
        pid = script.pid_of("b")
        script.until("front is running")
        script.send_to_all(signal.SIGHUP)
        script.until("front has ended")
        script.until("b was asked to stop")
        script.send_to_all(signal.SIGHUP)
        os.kill(pid, signal.SIGKILL)  # who would keep us for an hour
        assert script.end() == 0
    assert script.order()[-2:] == ["a has ended", "all is done"]


def test_a_hangup_that_nohup_has_ignored_stays_ignored():
    with Script("-c", NOHUP) as script:
        pid = script.pid_of("a")
        (ignored,) = re.findall(r"SigIgn:\t(\w+)", Path(f"/proc/{pid}/status").read_text())
        assert int(ignored, 16) & 1 << signal.SIGHUP - 1
        script.send(signal.SIGHUP)
        script.send(signal.SIGTERM)
        assert script.end() == 0


def test_programs_heed_signals_before_they_import_what_is_slow():
    names = ("backend.app", "backend.scheduler", "backend.executor.worker")
    code = (
        f"import sys, {', '.join(names)}; print({{'pydantic', 'structlog', 'uvicorn', 'asyncpg'}} & {{*sys.modules}})"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, timeout=60)
    assert told.stdout == b"set()\n"


def test_all_stop_when_the_foreground_ends_by_itself():
    with run("plain:a", "watcher:front") as script:
        assert script.end() == 0
    assert script.order()[-2:] == ["a has ended", "all is done"]


def test_a_process_in_the_background_is_seen_through_all_its_states():
    with run("watcher:front") as script:
        script.until("states: idle running exited; exit code 0")
        assert script.end() == 0


def test_one_that_fails_to_start_stops_those_before_it_and_none_after_it_starts():
    with run("plain:a", "broken:b", "plain:c") as script:
        assert script.end() == 1
    assert script.order() == ["a is running", "a has ended"]
    assert "Traceback" in script.complaint()
    assert "ValueError: this one never starts" in script.complaint()
    assert "b ended before it was running: ValueError: this one never starts" in script.complaint()


def test_one_that_does_not_start_in_time_is_killed():
    with run("impatient:a", "plain:b") as script:
        assert script.end() == 1
    assert "b is running" not in script.order()
    assert "slow did not run within 2s: killed" in script.complaint()


def test_a_signal_gives_up_a_start_that_takes_long():
    with run("plain:a", "slow:b", "plain:c") as script:
        script.until("b is starting")
        script.send(signal.SIGTERM)
        assert script.end() == 0
    assert script.order()[-2:] == ["a has ended", "all is done"]
    assert "c is running" not in script.order()


@pytest.mark.parametrize("where", [("plain:a", "crashing:b", "plain:c"), ("plain:a", "plain:c", "crashing:b")])
def test_one_that_crashes_ends_all_with_its_traceback(where):
    with run(*where) as script:
        pid = script.pid_of("b") if where[1].endswith("b") else None
        script.until(f"{where[-1][-1]} is running")
        os.kill(pid or script.program.pid, signal.SIGUSR1)
        assert script.end() == 1
    assert {"c has ended", "a has ended"} < set(script.order())
    assert "RuntimeError: this one crashes" in script.complaint()
    assert "all is done" not in script.lines
    if pid:
        assert "b died with exit code 1" in script.complaint()


def test_one_that_is_killed_ends_all():
    with run("plain:a", "plain:b", "loop:c") as script:
        pid = script.pid_of("b")
        script.until("c is running")
        os.kill(pid, signal.SIGKILL)
        assert script.end() == 1
    assert script.order()[-2:] == ["c has ended", "a has ended"]
    assert "b died with exit code -9" in script.complaint()


def test_one_that_leaves_without_being_asked_ends_all():
    with run("quitting:a", "plain:b") as script:
        pid = script.pid_of("a")
        script.until("b is running")
        os.kill(pid, signal.SIGUSR1)
        assert script.end() == 1
    assert "a died with exit code 0" in script.complaint()


def test_one_that_ignores_the_request_is_killed_after_its_grace_and_the_others_drain():
    with run("plain:a", "stubborn:b", "plain:c") as script:
        script.until("c is running")
        script.send(signal.SIGTERM)
        assert script.end() == 0
    assert script.order()[-4:] == ["c has ended", "b was asked", "a has ended", "all is done"]
    assert "b was killed" in script.complaint()


@pytest.mark.parametrize("who", [("plain:a", "kept:b", "plain:c"), ("plain:a", "plain:c", "kept:b")])
def test_a_second_interrupt_ends_everything_at_once(who):
    with run(*who) as script:
        script.until(f"{who[-1][-1]} is running")
        script.send(signal.SIGINT)
        script.until("b was asked to stop")
        script.send(signal.SIGINT)
        assert script.end() == 130
    assert "all is done" not in script.lines


def test_a_second_sigterm_ends_a_child_at_once():
    with run("kept:a", "plain:b") as script:
        pid = script.pid_of("a")
        script.until("b is running")
        os.kill(pid, signal.SIGTERM)
        script.until("a was asked to stop")
        os.kill(pid, signal.SIGTERM)
        assert script.end() == 1
    assert "a died with exit code 130" in script.complaint()


def test_a_killed_parent_leaves_no_orphan():
    with run("plain:a", "kept:b", "loop:c", "loop:front") as script:
        script.until("front is running")
        script.send(signal.SIGKILL)
        assert script.end() == -signal.SIGKILL
    assert "a has ended" not in script.order()


@pytest.mark.parametrize("where", [("plain:a", "refusing:b", "plain:c"), ("refusing:b",)])
def test_a_refused_configuration_is_one_sentence_and_two(where):
    with run(*where) as script:
        assert script.end() == 2
    assert script.errors == ["SCHEDULER_PORT: 99999 is outside 1–65535; give a free port, such as 8003"]
    assert "c is running" not in script.order()


def test_one_whose_stop_raises_does_not_keep_the_others():
    with run("plain:a", "stop-raises:b", "stop-raises:c") as script:
        script.until("c is running")
        script.send(signal.SIGTERM)
        assert script.end() == 0
    assert script.order()[-4:] == ["c has ended", "b has ended", "a has ended", "all is done"]
    assert "RuntimeError: b cannot stop" in script.complaint()


def test_any_object_with_the_contract_will_do():
    with run("duck-thread:a", "plain:b", "duck:front") as script:
        script.until("front is running")
        script.send(signal.SIGTERM)
        assert script.end() == 0
    assert script.order()[-4:] == ["front has ended", "b has ended", "a has ended", "all is done"]


def examples() -> dict[str, str]:
    """Return the guide's programs by the file name in their first line."""
    blocks = re.findall(r"```python\n# (\S+)\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    return dict(blocks)


def test_the_guides_own_scheduler_runs_and_drains(tmp_path):
    path = tmp_path / "pro.py"
    path.write_text(examples()["pro.py"])
    with Script(str(path)) as script:
        script.until("metrics on duty")
        script.until("pro-scheduler on duty")
        script.send(signal.SIGTERM)
        assert script.end() == 0
    assert script.lines[-2:] == ["pro-scheduler went home", "metrics went home"]


def test_the_guides_own_team_starts_again_who_dies(tmp_path):
    path = tmp_path / "team.py"
    path.write_text(examples()["team.py"])
    with Script(str(path)) as script:
        script.until("first on duty")
        script.until("second on duty")
        children = psutil.Process(script.program.pid).children()
        for child in children:
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()
        assert sorted([script.until("on duty"), script.until("on duty")]) == ["first on duty", "second on duty"]
        script.send(signal.SIGTERM)
        assert script.end() == 0
    assert script.lines[-2:] == ["second went home", "first went home"]


def test_the_guides_test_scheduler_runs():
    names: dict[str, object] = {}
    exec(compile(examples()["test_scheduler.py"], str(GUIDE), "exec"), names)
    test = names["test_the_program_around_a_scheduler_stops_it"]
    assert callable(test)
    test()
