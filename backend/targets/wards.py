"""Keeps the warden told of every command that runs, so that none survives the server.

    announce → start → hold → (the command runs) → release

The server may be killed anywhere on this line. Before `start` there is nothing to kill. Between `start` and
`hold` the warden has only the announced mark, and looks for the process that carries it, for a second, because a
process shows its environment only once it has become the command. After `hold` it knows the group. What remains:
a process that left its group on purpose (a daemon), one that takes over a second to get from fork to exec in just
that moment, and a server that is killed in the same instant as its warden.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from backend.targets import warden

# A warden that was stopped by somebody must not stop us.
SEND_SECONDS = 1.0
CLOSE_SECONDS = 5.0


@dataclass(slots=True)
class Ward:
    """One command under watch; `mark` has to stand in its environment as SCHEDULER_WARD."""

    number: int
    mark: str
    group: int | None = None


@dataclass(slots=True)
class _Line:
    """A running warden and our end of what it reads."""

    process: subprocess.Popen[bytes]
    end: socket.socket

    def say(self, text: str) -> None:
        # An OSError means that the warden died or hangs; the next command starts another, which is told all again.
        with contextlib.suppress(OSError):
            self.end.sendall(f"{text}\n".encode(), socket.MSG_NOSIGNAL)


@dataclass(slots=True)
class Warden:
    """The server's side of the warden, which is started with the first command."""

    _line: _Line | None = None
    _wards: dict[int, Ward] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _secret: str = field(default_factory=lambda: secrets.token_hex(8))

    @contextmanager
    def ward(self) -> Iterator[Ward]:
        """Announce a command; it is released when the context ends, when it must be dead."""
        line = self._ready()
        number = next(self._numbers)
        ward = self._wards[number] = Ward(number, f"{self._secret}-{number}")
        line.say(f"?{number} {ward.mark}")
        try:
            yield ward
        finally:
            del self._wards[number]
            self._say(f"-{number}")

    def hold(self, ward: Ward, group: int) -> None:
        """Tell which process group the announced command leads."""
        ward.group = group
        self._say(f"+{ward.number} {group}")

    @property
    def process_id(self) -> int | None:
        """Name the warden's process, when there is one."""
        return None if self._line is None else self._line.process.pid

    async def close(self) -> None:
        """Let the warden go; it kills what is still under watch."""
        line, self._line = self._line, None
        if line is None:
            return
        line.end.close()
        try:
            await asyncio.to_thread(line.process.wait, CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            line.process.kill()
            await asyncio.to_thread(line.process.wait)

    def _say(self, text: str) -> None:
        if self._line is not None:
            self._line.say(text)

    def _ready(self) -> _Line:
        if self._line is not None and self._line.process.poll() is None:
            return self._line
        if self._line is not None:
            self._line.end.close()
        self._line = _start()
        for ward in self._wards.values():
            if ward.group is not None:
                self._line.say(f"+{ward.number} {ward.group}")
        return self._line


def _start() -> _Line:
    ours, theirs = socket.socketpair()
    ours.settimeout(SEND_SECONDS)
    with theirs:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and file
            [sys.executable, "-I", "-S", str(Path(warden.__file__))],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={},
            start_new_session=True,  # an interrupt at the terminal goes to the server's group only
        )
    return _Line(process, ours)
