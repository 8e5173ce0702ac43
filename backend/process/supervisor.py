"""Run several processes as one: all but the last in the background, and none left over in the end."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Sequence
from multiprocessing.connection import wait
from typing import Protocol

from backend.events import Events, ProcessDied
from backend.process.guard import CRASHED, guarded
from backend.process.signals import INTERRUPTS, Bell, intercepted

logger = logging.getLogger("backend.app")

CONTRACT = ("start", "stop", "state", "service_name")
A_MOMENT = 1.0
"""Seconds within which the signal arrives that has already ended a child, when both were sent it at once."""


class ProcessContract(Protocol):
    """What `run_processes` needs of a process. One that goes to the background must be picklable as well.

    Two more things are used where they exist: `sentinel` (ready when the child has ended) with `exit_code`,
    to notice a child that dies; and `kill()`, for the second interrupt.
    """

    @property
    def service_name(self) -> str:
        """Name the process in logs."""
        ...

    @property
    def state(self) -> str:
        """Return `idle`, `initializing`, `running` or `exited`."""
        ...

    def start(self, *, background: bool) -> None:
        """Run here until the end, or in the background, returning when it runs."""
        ...

    def stop(self) -> None:
        """Ask to drain; called from any thread, maybe before the start, after the end, and more than once."""
        ...


def check_contract(processes: Sequence[object]) -> None:
    """Raise ValueError if there is nothing to run, TypeError naming what an object lacks."""
    if not processes:
        raise ValueError("run_processes() was given no process; give at least one, such as Scheduler()")
    for process in processes:
        if isinstance(process, type):
            raise TypeError(f"{process.__name__} is a class; give an object, such as {process.__name__}()")
        missing = [name for name in CONTRACT if not hasattr(process, name)]
        missing += [f"{name}()" for name in ("start", "stop") if not callable(getattr(process, name, len))]
        if missing:
            raise TypeError(f"{type(process).__name__} is no process: it lacks {', '.join(missing)}")


class Supervisor:
    """Starts, watches and stops processes.

    The calling thread starts them and is then lent to the last one. A second thread does what a signal
    handler must not, and notices a child that dies.
    """

    def __init__(self, processes: Sequence[ProcessContract]) -> None:
        self._processes = tuple(processes)
        self._lock = threading.Lock()
        self._bell = Bell()
        self._current: ProcessContract | None = None
        self._watched: list[ProcessContract] = []
        self._mourned: list[ProcessContract] = []
        self._signal: signal.Signals | None = None
        self._draining = False
        self._finished = False
        self._failed = False

    def run(self) -> None:
        """Run all processes until the last one ends, a signal comes, or one fails; SystemExit(1) in that case."""
        watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        with intercepted(*INTERRUPTS, first=self._note, again=self._kill):
            watcher.start()
            try:
                with guarded():
                    self._start()
            finally:
                self._stop()
                self._dismiss(watcher)
        if self._failed:
            raise SystemExit(CRASHED)

    # Starting

    def _start(self) -> None:
        *background, foreground = self._processes
        for process in background:
            if not self._turn_to(process):
                return
            self._start_in_background(process)
        if self._turn_to(foreground):
            foreground.start(background=False)

    def _turn_to(self, process: ProcessContract) -> bool:
        with self._lock:
            self._current = process
            return not self._draining

    def _start_in_background(self, process: ProcessContract) -> None:
        try:
            process.start(background=True)
        except Exception:
            self._mourned.append(process)  # told of here, so not again when it is stopped
            if self._signal is None:
                raise
            logger.warning("%s: its start was given up", process.service_name, exc_info=True)
        if _sentinel(process) is not None:
            with self._lock:
                self._watched.append(process)
            self._bell.ring()

    # Watching

    def _watch(self) -> None:
        while not self._finished:
            wait([self._bell.fileno(), *self._sentinels()])
            self._bell.hush()
            self._look()

    def _sentinels(self) -> list[int]:
        with self._lock:
            watched = () if self._draining else tuple(self._watched)
        return [sentinel for sentinel in map(_sentinel, watched) if sentinel is not None]

    def _look(self) -> None:
        dead = [process for process in self._watched if _has_ended(process)]
        if dead and self._signal is None and all(_exit_code(process) == 0 for process in dead):
            wait([self._bell.fileno()], A_MOMENT)
        if self._signal is not None:
            self._drain(f"signal {self._signal.name}")
        elif dead and not self._draining:
            self._mourn(dead)
            self._drain(f"{dead[0].service_name} has died")

    def _mourn(self, dead: Sequence[ProcessContract]) -> None:
        self._failed = True
        for process in dead:
            self._mourned.append(process)
            code = _exit_code(process)
            logger.error("%s died with exit code %s", process.service_name, code)
            events = getattr(process, "events", None)
            if isinstance(events, Events):
                events.emit(ProcessDied(process.service_name, code))

    def _drain(self, why: str) -> None:
        with self._lock:
            if self._draining:
                return
            self._draining = True
            current = self._current
        logger.info("stopping", extra={"fields": {"reason": why}})
        if current is not None:
            self._stop_one(current)

    # Stopping

    def _stop(self) -> None:
        with self._lock:
            self._draining = True
        for process in reversed(self._processes):
            self._stop_one(process)
            self._judge(process)

    def _stop_one(self, process: ProcessContract) -> None:
        try:
            process.stop()
        except (Exception, SystemExit):
            logger.exception("%s: stop() raised", process.service_name)

    def _judge(self, process: ProcessContract) -> None:
        """Count a child that crashed while it drained as a crash; one that we had to kill is only told of."""
        code = _exit_code(process)
        if code == -signal.SIGKILL:
            logger.error("%s was killed", process.service_name)
        elif code not in (None, 0) and process not in self._mourned:
            logger.error("%s ended with exit code %s", process.service_name, code)
            self._failed = True

    def _dismiss(self, watcher: threading.Thread) -> None:
        self._finished = True
        self._bell.ring()
        watcher.join(A_MOMENT)  # it may be held by a stop() that blocks; as a daemon it ends with us
        if not watcher.is_alive():
            self._bell.close()

    # Inside the signal handler: no locks, no logging

    def _note(self, number: signal.Signals) -> None:
        self._signal = number
        self._bell.ring()

    def _kill(self) -> None:
        for process in self._processes:
            kill = getattr(process, "kill", None)
            if callable(kill):
                kill()


def _sentinel(process: ProcessContract) -> int | None:
    sentinel: int | None = getattr(process, "sentinel", None)
    return sentinel


def _exit_code(process: ProcessContract) -> int | None:
    code: int | None = getattr(process, "exit_code", None)
    return code


def _has_ended(process: ProcessContract) -> bool:
    sentinel = _sentinel(process)
    return sentinel is not None and bool(wait([sentinel], 0))
