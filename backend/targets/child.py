"""One child process from start to end: its own session, bounded output, and nothing left of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Self

import anyio

from backend.targets.output import Output
from backend.targets.warden import MARK
from backend.targets.wards import Ward, Warden

TERM_SECONDS = 1.0
FLUSH_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to start."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    cwd: str | None
    stdin: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended: the exit code, negative for a signal, None when even SIGKILL did not end it."""

    code: int | None
    output: Output


async def run_child(spec: ChildSpec, warden: Warden) -> Ended:
    """Run a child to its end and keep its output; OSError when it cannot be started.

    The child is over when its first process is: what that one left in its group is killed. When cancelled, the
    group gets SIGTERM and, a second later or when the first process has gone, SIGKILL.
    """
    with warden.ward() as ward, OutputPipe() as pipe:
        process = _start(spec, ward, pipe)
        try:
            warden.hold(ward, process.pid)
            pipe.close_writer()
            await _to_the_end(process, pipe)
        finally:
            process.poll()  # not before the group was killed: until then its number cannot pass to another
        # A daemon that kept our pipe and left the group would keep us waiting for ever.
        with anyio.move_on_after(FLUSH_SECONDS):
            await pipe.ended.wait()
        return Ended(process.returncode, pipe.output)


def _start(spec: ChildSpec, ward: Ward, pipe: OutputPipe) -> subprocess.Popen[bytes]:
    with _input_file(spec.stdin) as stdin:
        # Popen and not the loop's own: it has no await in which a cancellation could lose the new process, and
        # it leaves it to us when the process is reaped.
        return subprocess.Popen(  # noqa: S603 - no shell reads it, and `check` let it pass
            spec.argv,
            env={**spec.env, MARK: ward.mark},
            cwd=spec.cwd,
            stdin=stdin,
            stdout=pipe.writer,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _input_file(content: bytes) -> IO[bytes]:
    # A file in memory instead of a pipe: a child that does not read its input cannot block us or break anything.
    file = os.fdopen(os.memfd_create("stdin"), "w+b")
    file.write(content)
    file.seek(0)
    return file


async def _to_the_end(process: subprocess.Popen[bytes], pipe: OutputPipe) -> None:
    with exit_of(process.pid) as exited:
        try:
            await exited.wait()
            with anyio.move_on_after(FLUSH_SECONDS):
                await pipe.ended.wait()
        except BaseException:
            signal_group(process.pid, signal.SIGTERM)
            with anyio.move_on_after(TERM_SECONDS, shield=True):
                await exited.wait()
            raise
        finally:
            signal_group(process.pid, signal.SIGKILL)
            with anyio.move_on_after(TERM_SECONDS, shield=True):
                await exited.wait()


def signal_group(group: int, number: signal.Signals) -> None:
    """Signal all of a process group, if there is one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


@contextmanager
def exit_of(pid: int) -> Iterator[asyncio.Event]:
    """Watch for the end of a child without reaping it."""
    exited = asyncio.Event()
    loop = asyncio.get_running_loop()
    try:
        handle = os.pidfd_open(pid)
    except OSError:  # a kernel before 5.3, or a sandbox that hides the call
        waiting = asyncio.ensure_future(asyncio.to_thread(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT))
        waiting.add_done_callback(lambda _: exited.set())
        yield exited
        return

    def ended() -> None:
        loop.remove_reader(handle)
        exited.set()

    loop.add_reader(handle, ended)
    try:
        yield exited
    finally:
        loop.remove_reader(handle)
        os.close(handle)


class OutputPipe:
    """A pipe read to its end as it fills, so that the child never waits for us."""

    def __init__(self) -> None:
        self.output = Output()
        self.ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._reader, self.writer = os.pipe()
        self._open_writer: int | None = self.writer
        os.set_blocking(self._reader, False)

    def __enter__(self) -> Self:
        self._loop.add_reader(self._reader, self._read)
        return self

    def close_writer(self) -> None:
        """Leave the writing end to the child alone, so that its end is the end of the pipe."""
        if self._open_writer is not None:
            os.close(self._open_writer)
            self._open_writer = None

    def __exit__(self, *_: object) -> None:
        self.close_writer()
        self._loop.remove_reader(self._reader)
        os.close(self._reader)

    def _read(self) -> None:
        try:
            chunk = os.read(self._reader, 65536)
        except BlockingIOError:
            return
        if chunk:
            self.output.add(chunk)
        else:
            self._loop.remove_reader(self._reader)
            self.ended.set()
