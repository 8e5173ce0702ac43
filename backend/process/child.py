"""A process in the background: a child of this one, seen from both ends of a pipe.

The parent's end asks the child to drain, the child's end says that it is running or why it never will be.
The request does not travel as SIGTERM: systemd and others send that to the whole group, and the child
would take the parent's for the second one, upon which it exits at once.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import NamedTuple, Protocol

from backend.errors import ConfigurationError
from backend.events import Events, Fact, ProcessStateChanged
from backend.process.guard import REFUSED, guarded
from backend.process.signals import HANGUP, INTERRUPTS, Bell, held_back, intercepted, let_through
from backend.process.state import ProcessState

STOP = "stop"
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Report(NamedTuple):
    """What a child says of itself: `running`, `refused` or `crashed`, and the error's text."""

    what: str
    text: str = ""


class Runnable(Protocol):
    """What a child needs of the process it runs."""

    service_name: str
    events: Events

    def start(self, background: bool) -> None: ...  # noqa: FBT001 - the contract's signature
    def stop(self) -> None: ...


class Child:
    """The parent's view of a process in the background."""

    def __init__(self, process: Runnable) -> None:
        """Spawn the child; the process is pickled, and TypeError or PicklingError says if it cannot be."""
        context = multiprocessing.get_context("spawn")
        self._lock = threading.Lock()
        self._reports: list[Report] = []
        self._asked = False
        self._ours, theirs = context.Pipe()
        mortal = threading.current_thread() is threading.main_thread()
        self._child = context.Process(target=_run, args=(process, theirs, mortal), name=process.service_name)
        # The tracker's own start lets signals through again, so it must not happen while they are held back.
        resource_tracker.ensure_running()
        # Until the child has its handlers, a signal to the group would end it undrained.
        with held_back(*INTERRUPTS, HANGUP):
            self._child.start()
        theirs.close()
        self.sentinel: int = self._child.sentinel

    @property
    def pid(self) -> int | None:
        """Name the child to the operating system."""
        return self._child.pid

    @property
    def state(self) -> ProcessState:
        """Say where the child is by its own last word, and by whether it lives."""
        if self.wait(0):
            return ProcessState.EXITED
        return ProcessState.RUNNING if self.has_run() else ProcessState.INITIALIZING

    @property
    def exit_code(self) -> int | None:
        """Return the exit code, -N if signal N killed the child, or None while it lives."""
        if not self.wait(0):
            return None
        with self._lock:  # of two threads that reap at once, one would be told that it still lives
            self._child.join()
            return self._child.exitcode

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the child, and say whether it came."""
        return bool(wait([self.sentinel], seconds))

    def listen(self, seconds: float) -> bool:
        """Wait for a report or the end, and say whether the child has ever reported, or has ended."""
        wait([self.sentinel, self._ours], 0 if self._heard() else seconds)
        return bool(self._heard()) or self.wait(0)

    def has_run(self) -> bool:
        """Say whether the child has ever been running."""
        return any(report.what == "running" for report in self._heard())

    def failure(self) -> Report | None:
        """Return why the child ended, if it said so."""
        return next((report for report in self._heard() if report.what != "running"), None)

    def ask_to_stop(self) -> None:
        """Ask the child to drain; asking again does nothing."""
        with self._lock:
            if self._asked:
                return
            self._asked = True
            with suppress(OSError):  # it is dead already
                self._ours.send(STOP)

    def kill(self) -> None:
        """End the child at once; safe in a signal handler."""
        with suppress(ValueError, OSError):
            self._child.kill()

    def _heard(self) -> tuple[Report, ...]:
        with self._lock:
            with suppress(EOFError, OSError):
                while self._ours.poll():
                    self._reports.append(self._ours.recv())
            return tuple(self._reports)


def _run(process: Runnable, parent: Connection, mortal: bool) -> None:  # noqa: FBT001 - spawn passes by position
    """Be the child; its exit code says how it ended."""
    if mortal:
        _die_with_parent()
    for number in (signal.SIGINT, HANGUP):  # a terminal sends them to us too; the parent coordinates
        signal.signal(number, signal.SIG_IGN)
    bell = Bell()
    threading.Thread(target=_attend, args=(process, parent, bell), name="attend", daemon=True).start()
    with guarded(), intercepted(signal.SIGTERM, first=lambda _number: bell.ring(), again=lambda: None):
        let_through(*INTERRUPTS, HANGUP)
        with _reported(process, parent):
            process.start(background=False)


@contextmanager
def _reported(process: Runnable, parent: Connection) -> Iterator[None]:
    running = threading.Event()

    def tell(report: Report) -> None:
        with suppress(OSError):  # the parent is gone, and so shall we be
            parent.send(report)

    def follow(fact: Fact) -> None:
        if isinstance(fact, ProcessStateChanged) and fact.state == ProcessState.RUNNING:
            running.set()
            tell(Report("running"))

    process.events.subscribe(follow)
    try:
        yield
    except ConfigurationError as refusal:
        if running.is_set():
            raise
        tell(Report("refused", str(refusal)))
        raise SystemExit(REFUSED) from refusal  # the parent prints the sentence, once
    except Exception as error:
        tell(Report("crashed", f"{type(error).__name__}: {error}"))
        raise


def _attend(process: Runnable, parent: Connection, bell: Bell) -> None:
    """Stop the process when the parent or SIGTERM asks; kill it when the parent is gone."""
    mother = multiprocessing.parent_process()
    assert mother is not None
    watched: list[Connection | int] = [mother.sentinel, parent, bell.fileno()]
    while True:
        ready = wait(watched)
        if mother.sentinel in ready:
            os.kill(os.getpid(), signal.SIGKILL)
        watched = [mother.sentinel]
        # In a thread of its own: a stop() that blocks must not keep us from noticing that the parent died.
        threading.Thread(target=process.stop, name="stop", daemon=True).start()


def _die_with_parent() -> None:
    """Ask the kernel to kill us with the parent, also while native code keeps our threads from running.

    The kernel means the parent's thread, so this is only for children of its main thread.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
