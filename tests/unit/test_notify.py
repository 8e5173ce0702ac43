"""What systemd hears, over a real datagram socket."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backend.clock import SystemClock
from backend.engine.loop import Doorbell, Loop
from backend.events import Events, LeaseLost, ProcessDraining, ProcessStateChanged
from backend.process.notify import Notifier
from backend.settings import service_manager

pytestmark = pytest.mark.anyio
DEADLINE = 20


@contextmanager
def manager(name: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        listener.settimeout(DEADLINE)
        yield listener


@pytest.mark.parametrize("abstract", [False, True])
def test_a_process_tells_when_it_is_ready_and_when_it_stops(tmp_path: Path, abstract: bool) -> None:
    name = f"@scheduler-{secrets.token_hex(8)}" if abstract else str(tmp_path / "notify")
    with manager(name) as listener:
        events = Events()
        events.subscribe(Notifier(name).follow)
        events.emit(ProcessStateChanged("x", "initializing", 1))
        events.emit(LeaseLost("r", 1, "w"))
        events.emit(ProcessStateChanged("x", "running", 1))
        events.emit(ProcessDraining("x", "asked to stop"))
        assert listener.recv(4096) == b"READY=1\nSTATUS=ready"
        assert listener.recv(4096) == b"STOPPING=1\nSTATUS=draining: asked to stop"


@pytest.mark.parametrize("address", [None, "/no/such/socket", "@nobody-listens-here"])
def test_who_cannot_be_told_stops_nobody(address: str | None) -> None:
    Notifier(address).tell("READY=1")


def test_a_full_socket_makes_nobody_wait(tmp_path: Path) -> None:
    with manager(str(tmp_path / "notify")):
        for _ in range(1000):
            Notifier(str(tmp_path / "notify")).alive()


@pytest.mark.parametrize(("address", "watchdog", "beat"), [("/x", 4.0, 2.0), ("/x", None, None), (None, 4.0, None)])
def test_a_sign_of_life_comes_twice_as_often_as_it_must(address, watchdog, beat) -> None:
    assert Notifier(address, watchdog).beat == beat


async def test_a_loop_that_stands_still_stops_the_watchdog(tmp_path: Path) -> None:
    stuck = asyncio.Event()
    turns = 0

    async def turn() -> float:
        nonlocal turns
        turns += 1
        if stuck.is_set():
            await asyncio.Event().wait()
        return 0.005

    with manager(str(tmp_path / "notify")) as listener:
        listener.setblocking(False)
        loop = Loop("engine", turn, clock=SystemClock(), events=Events(), bell=Doorbell())
        notifier = Notifier(str(tmp_path / "notify"), 0.02)
        tasks = [asyncio.create_task(loop.run())]
        tasks.append(asyncio.create_task(notifier.keep_alive(lambda: loop.silence() < 0.5)))
        async with asyncio.timeout(DEADLINE):
            for _ in range(5):
                assert await asyncio.get_running_loop().sock_recv(listener, 4096) == b"WATCHDOG=1"
            stuck.set()
            while loop.silence() < 0.6:  # noqa: ASYNC110 - the point is that nothing happens
                await asyncio.sleep(0.05)
            _drained(listener)
            before = turns
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.get_running_loop().sock_recv(listener, 4096), 0.3)
            assert turns == before
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _drained(listener: socket.socket) -> None:
    try:
        while True:
            listener.recv(4096)
    except BlockingIOError:
        return


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, (None, None)),
        ({"NOTIFY_SOCKET": ""}, (None, None)),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000"}, ("/run/x", 30.0)),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "self"}, ("/run/x", 30.0)),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, ("/run/x", None)),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "0"}, ("/run/x", None)),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "soon"}, ("/run/x", None)),
    ],
)
def test_what_systemd_says_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch, variables, told) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(os.getpid()) if value == "self" else value)
    assert service_manager() == told
