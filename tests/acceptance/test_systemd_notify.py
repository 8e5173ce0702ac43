"""Servers under a service manager, which is a datagram socket: ready, alive, stopping, and silent when stuck."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.acceptance.server import PATIENCE, Server, until, write_lock

STALLING = ("-m", "tests.acceptance.clocked", "0", "1", "1")
KINDS = [("-m", "backend.scheduler"), ("-m", "backend.app"), ("-m", "backend.executor.worker")]


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(PATIENCE)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        yield listener


def hear(manager: socket.socket, line: bytes) -> None:
    while line not in manager.recv(4096).split(b"\n"):
        pass


def falls_silent(manager: socket.socket) -> bool:
    """Say whether after at most a hundred messages none comes for 2 seconds, five times what systemd waits for."""
    for _ in range(100):
        if not select.select([manager], [], [], 2)[0]:
            return True
        manager.recv(4096)
    return False


@pytest.mark.parametrize("command", KINDS, ids=lambda command: command[1])
def test_systemd_hears_that_a_process_is_ready_alive_and_stopping(
    tmp_path: Path, manager: socket.socket, command: Sequence[str]
) -> None:
    with Server(tmp_path, command=command) as server:
        hear(manager, b"READY=1")
        for _ in range(3):
            hear(manager, b"WATCHDOG=1")
        server.send(signal.SIGTERM)
        hear(manager, b"STOPPING=1")
        assert server.exit_code() == 0


def test_an_engine_without_turns_gives_no_sign_of_life_until_it_turns_again(
    tmp_path: Path, manager: socket.socket
) -> None:
    with Server(tmp_path, command=STALLING, poll_interval="100ms") as server:
        hear(manager, b"WATCHDOG=1")
        server.ready().create(
            "due", {"kind": "command", "argv": ["true"]}, triggers=[{"kind": "interval", "every": "1s"}]
        )
        with write_lock(tmp_path):
            assert falls_silent(manager)
        hear(manager, b"WATCHDOG=1")


def pid_of(server: Server, service: str) -> int | None:
    """Find who said that it is ready; the parent may have told systemd before that line was written."""
    return next((int(line["pid"]) for line in server.said("ready") if line["service"] == service), None)


def test_of_several_processes_the_parent_gives_no_sign_of_life_for_an_engine_that_stands_still(
    tmp_path: Path, manager: socket.socket
) -> None:
    with Server(tmp_path, command=KINDS[1]) as server:
        hear(manager, b"READY=1")
        engine = until("the engine's word", lambda: pid_of(server, "engine"))
        os.kill(engine, signal.SIGSTOP)
        assert falls_silent(manager)
        os.kill(engine, signal.SIGCONT)
        hear(manager, b"WATCHDOG=1")
