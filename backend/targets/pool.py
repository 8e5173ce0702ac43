"""Warm child processes for the `python` target, each of which takes one call at a time.

    start → call → rest → call → … → end

A child imports the callable's module once and is then used again, but only for callables of the same module. It
ends after so many calls, when it has rested for long, and whenever something about it is odd: it died, was stopped
in the middle of a call, or left processes behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from backend.targets import callee
from backend.targets.child import FLUSH_SECONDS, TERM_SECONDS, OutputPipe, exit_of, signal_group
from backend.targets.output import Output
from backend.targets.warden import MARK
from backend.targets.wards import Warden

CALLS_PER_CHILD = 100
REST_SECONDS = 60.0
MOST_AT_REST = 8
MOST_ANSWER_BYTES = 1 << 20
"""More than any answer has, so that whoever writes nonsense to the socket cannot fill our memory."""


@dataclass(frozen=True, slots=True)
class Called:
    """What came of a call: the child's answer, or the exit code of a child that gave none."""

    answer: Mapping[str, Any] | None
    code: int | None
    output: Output


@dataclass(slots=True, eq=False)
class _Child:
    """A child process, started for callables of one module."""

    module: str
    process: subprocess.Popen[bytes]
    link: socket.socket
    ward: ExitStack
    calls: int = 0
    rest: asyncio.TimerHandle | None = None
    ending: asyncio.Task[int | None] | None = None

    def lives(self) -> bool:
        """Say so without reaping it: until its group was killed, its number must not pass to another."""
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    async def answer(self, request: bytes) -> dict[str, Any] | None:
        """Send a request, whose length was sent before, and read the answer; None when there is none."""
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_sendall(self.link, request)
            length = int.from_bytes(await self._read(callee.LENGTH_BYTES), "big")
            if length > MOST_ANSWER_BYTES:
                return None
            answer = json.loads(await self._read(length))
        except (OSError, EOFError, ValueError):
            return None
        return answer if isinstance(answer, dict) and "left" in answer else None

    async def _read(self, length: int) -> bytes:
        loop, content = asyncio.get_running_loop(), bytearray()
        while len(content) < length:
            if not (chunk := await loop.sock_recv(self.link, length - len(content))):
                raise EOFError
            content += chunk
        return bytes(content)


@dataclass(slots=True)
class PythonPool:
    """The server's side. Nothing runs before the first call, and nothing a while after the last one."""

    warden: Warden
    base_env: Mapping[str, str]
    calls_per_child: int = CALLS_PER_CHILD
    rest_seconds: float = REST_SECONDS
    _resting: list[_Child] = field(default_factory=list)
    _ending: set[asyncio.Task[int | None]] = field(default_factory=set)

    async def call(self, module: str, request: Mapping[str, Any]) -> Called:
        """Make a call in a child of `module`'s; OSError when none can be started. When cancelled, kill the child."""
        body = json.dumps({**request, "path": _import_path()}).encode()
        with OutputPipe() as pipe:
            child = self._ready(module, len(body), pipe.writer)
            pipe.close_writer()
            try:
                called = await self._called(child, body, pipe)
            except BaseException:  # also after the answer: until it rests, nobody but us knows of the child
                await asyncio.shield(self._ended(child, signal.SIGTERM))
                raise
            if called.answer is not None and not called.answer["left"]:
                self._rest(child, fit=called.answer["error"] is None or not called.answer["permanent"])
            return called

    async def _called(self, child: _Child, body: bytes, pipe: OutputPipe) -> Called:
        answer, code = await _answer(child, body), None
        if answer is None or answer["left"]:
            code = await asyncio.shield(self._ended(child, signal.SIGKILL))
        with anyio.move_on_after(FLUSH_SECONDS):  # a daemon that left the group may keep the pipe for ever
            await pipe.ended.wait()
        return Called(answer, code, pipe.output)

    async def close(self) -> None:
        """End all children."""
        for child in tuple(self._resting):
            self._dismiss(child)
        if self._ending:
            await asyncio.wait(self._ending)

    @property
    def process_ids(self) -> list[int]:
        """Name the children at rest."""
        return [child.process.pid for child in self._resting]

    def _ready(self, module: str, length: int, output: int) -> _Child:
        """Give a child that has been told of a call, at best a warm one."""
        while (child := self._warm(module)) is not None:
            try:
                _announce(child, length, output)
            except OSError:  # it died just now; nothing was called, so that another may
                self._dismiss(child)
            else:
                return child
        child = self._start(module)
        try:
            _announce(child, length, output)
        except OSError:
            self._dismiss(child)
            raise
        return child

    def _warm(self, module: str) -> _Child | None:
        for child in reversed(self._resting):
            if child.module == module:
                self._wake(child)
                if child.lives():
                    return child
                self._dismiss(child)
                return self._warm(module)
        return None

    def _wake(self, child: _Child) -> None:
        self._resting.remove(child)
        if child.rest is not None:
            child.rest.cancel()

    def _start(self, module: str) -> _Child:
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        with theirs, ExitStack() as stack:
            stack.callback(ours.close)
            ward = stack.enter_context(self.warden.ward())
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and file; what is called travels by socket
                [sys.executable, "-I", "-u", "-X", "utf8", str(Path(callee.__file__))],
                env={**self.base_env, MARK: ward.mark},
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self.warden.hold(ward, process.pid)
            return _Child(module, process, ours, stack.pop_all())

    def _rest(self, child: _Child, *, fit: bool) -> None:
        child.calls += 1
        self._resting.append(child)
        if not fit or child.calls >= self.calls_per_child:
            self._dismiss(child)
            return
        child.rest = asyncio.get_running_loop().call_later(self.rest_seconds, self._dismiss, child)
        if len(self._resting) > MOST_AT_REST:
            self._dismiss(self._resting[0])

    def _dismiss(self, child: _Child) -> None:
        """Let a child end by itself, and see to it."""
        if child in self._resting:
            self._wake(child)
        self._ended(child, None)

    def _ended(self, child: _Child, number: signal.Signals | None) -> asyncio.Task[int | None]:
        """End a child in a task of its own, which goes on when whoever waits for it is cancelled."""
        if child.ending is not None:  # once it is reaped, its number may be another's
            return child.ending
        child.ending = task = asyncio.get_running_loop().create_task(self._end(child, number))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task

    async def _end(self, child: _Child, number: signal.Signals | None) -> int | None:
        """End a child, its group, and its ward; answers its exit code. Without a signal it leaves by itself."""
        with exit_of(child.process.pid) as exited:
            child.link.close()
            if number is not None:
                signal_group(child.process.pid, number)
            with anyio.move_on_after(TERM_SECONDS):
                await exited.wait()
            signal_group(child.process.pid, signal.SIGKILL)
            with anyio.move_on_after(TERM_SECONDS):
                await exited.wait()
        code = child.process.poll()
        child.ward.close()
        return code


def _announce(child: _Child, length: int, output: int) -> None:
    socket.send_fds(child.link, [length.to_bytes(callee.LENGTH_BYTES, "big")], [output])


async def _answer(child: _Child, body: bytes) -> dict[str, Any] | None:
    """Wait for the answer or the end of the child; a fork of its may hold the socket open beyond that."""
    with exit_of(child.process.pid) as exited:
        answering = asyncio.create_task(child.answer(body))
        gone = asyncio.create_task(exited.wait())
        try:
            await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({answering}, timeout=FLUSH_SECONDS)
            answer = answering.result() if answering.done() else None
            if answer is None:  # its exit code says more than the signal that we would send
                await asyncio.wait({gone}, timeout=FLUSH_SECONDS)
            return answer
        finally:
            await _cancelled(answering, gone)


async def _cancelled(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    with anyio.CancelScope(shield=True), contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)


def _import_path() -> list[str]:
    """Let the child find what the server finds, and what lies in its working folder."""
    path: Iterable[str] = (os.path.abspath(entry) for entry in sys.path)
    return list(dict.fromkeys([*path, os.getcwd()]))
