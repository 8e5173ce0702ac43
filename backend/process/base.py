"""The base of our own processes. `run_processes` takes any object with the contract; this is one way to have it."""

from __future__ import annotations

import atexit
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from backend.clock import SystemClock
from backend.errors import ConfigurationError, SchedulerError
from backend.events import Events, ProcessDraining, ProcessKilled, ProcessStateChanged
from backend.process.child import Child
from backend.process.state import IllegalMove, ProcessState, move

HALF_A_MINUTE = timedelta(seconds=30)
SLACK = timedelta(seconds=2)
"""What a child gets beyond its grace to close files and leave."""

HEARING = timedelta(milliseconds=100)
"""How long to listen at a stretch: a thread that asks for `state` meanwhile may take the report off the pipe."""


class StartFailed(SchedulerError):
    """A process in the background ended, or took too long, before it was running."""


@dataclass(slots=True)
class _Life:
    """What belongs to one object in one process, and never travels to a child."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    state: ProcessState = ProcessState.IDLE
    asked_at: float | None = None
    child: Child | None = None
    killed: bool = False


class Process:
    """Something that is started, serves, and is asked to stop; here, or in a child process of its own.

    Override `run`, and where needed `prepare` and `on_stop_requested`. What a subclass keeps in attributes
    must be picklable if it is to go to the background; sockets, loops and threads are made in `run`.
    """

    def __init__(
        self, service_name: str, *, grace: timedelta = HALF_A_MINUTE, start_timeout: timedelta = HALF_A_MINUTE
    ) -> None:
        self.service_name = service_name
        self.grace = grace
        self.start_timeout = start_timeout
        self._begin_idle()

    def _begin_idle(self) -> None:
        self.events = Events()
        self.stop_requested = threading.Event()
        self._life = _Life()

    def __getstate__(self) -> dict[str, Any]:
        """Travel without subscribers, locks, and the child itself."""
        return {name: it for name, it in self.__dict__.items() if name not in {"events", "stop_requested", "_life"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin_idle()

    # For subclasses

    def prepare(self) -> None:
        """Load settings, configure logging, subscribe to `events`: called first, in the process that will run."""

    def run(self) -> None:
        """Serve: call `ready()` once it does, and return soon after `stop_requested` is set."""
        raise NotImplementedError(f"{type(self).__name__} must override run()")

    def ready(self) -> None:
        """Say that the process serves now; to be called once, by `run`."""
        self._become(ProcessState.RUNNING)
        self._announce()

    def on_stop_requested(self) -> None:
        """Wake what `stop_requested` alone does not, such as an event loop. Called once, in any thread, maybe early."""

    # The contract

    @property
    def state(self) -> ProcessState:
        """Say where the process is; of one in the background, by what its child reported last."""
        return self._life.child.state if self._life.child else self._life.state

    @property
    def draining(self) -> bool:
        """Say whether it was asked to stop and has not exited yet."""
        return self.stop_requested.is_set() and self.state is not ProcessState.EXITED

    @property
    def sentinel(self) -> int | None:
        """Name what becomes ready when the child ends, for `multiprocessing.connection.wait`; None without a child."""
        return self._life.child.sentinel if self._life.child else None

    @property
    def exit_code(self) -> int | None:
        """Return the child's exit code, -N if signal N killed it; None while it lives, or without one."""
        return self._life.child.exit_code if self._life.child else None

    @property
    def pid(self) -> int | None:
        """Return the child's process id; None without a child."""
        return self._life.child.pid if self._life.child else None

    def start(self, background: bool) -> None:  # noqa: FBT001 - the contract's signature
        """Run here until the end, or in a child process, returning as soon as that is running.

        Whatever `prepare` or `run` raise comes out, after the state became exited. From the background it
        comes as ConfigurationError or, for every other reason, StartFailed. Does nothing after `stop()`.
        """
        if not background:
            self._run_here()
        elif (child := self._spawn()) is not None:
            self._await_running(child)

    def launch(self) -> None:
        """Start in a child process and return at once; `state` and `sentinel` tell what becomes of it.

        Does nothing after `stop()`.
        """
        self._spawn()

    def start_failure(self) -> SchedulerError | None:
        """Say why a child that has ended never ran; None if it did, or was asked to stop."""
        child = self._life.child
        if child is None or child.has_run() or self.stop_requested.is_set():
            return None
        child.wait(SLACK.total_seconds())  # its last words come before its end
        failure = child.failure()
        if failure is not None and failure.what == "refused":
            return ConfigurationError(failure.text)
        why = failure.text if failure else f"exit code {child.exit_code}"
        return StartFailed(f"{self.service_name} ended before it was running: {why}")

    def stop(self) -> None:
        """Ask to drain; of a child, wait until it has, and kill it when its grace is over.

        Safe in any thread, before the start, after the end, and more than once.
        """
        with self._life.lock:
            first = not self.stop_requested.is_set()
            self.stop_requested.set()
            child, state = self._life.child, self._life.state
            if child is None and state is ProcessState.IDLE:
                self._life.state = move(state, ProcessState.EXITED)
        if child is not None:
            self._stop_child(child)
        elif first and state in (ProcessState.INITIALIZING, ProcessState.RUNNING):
            self.events.emit(ProcessDraining(service=self.service_name, reason="asked to stop"))
            self.on_stop_requested()

    def kill(self) -> None:
        """End a child at once; safe in a signal handler."""
        if self._life.child:
            self._life.child.kill()

    def too_slow(self) -> StartFailed:
        """Kill a child that does not get to run, and say so."""
        from backend.duration import format_duration  # noqa: PLC0415 - slow to import, and nobody is told otherwise

        self.kill()
        return StartFailed(f"{self.service_name} did not run within {format_duration(self.start_timeout)}: killed")

    # In this process

    def _run_here(self) -> None:
        if not self._begin():
            return
        try:
            self.prepare()
            self._announce()  # only now, as prepare() subscribes those who listen
            if not self.stop_requested.is_set():
                self.run()
        finally:
            self._become(ProcessState.EXITED)
            self._announce()

    def _begin(self) -> bool:
        with self._life.lock:
            if self._life.state is ProcessState.EXITED and self.stop_requested.is_set():
                return False
            self._life.state = move(self._life.state, ProcessState.INITIALIZING)
            self._life.asked_at = SystemClock().monotonic()
            return True

    def _become(self, state: ProcessState) -> None:
        with self._life.lock:
            self._life.state = move(self._life.state, state)

    def _announce(self) -> None:
        assert self._life.asked_at is not None
        milliseconds = (SystemClock().monotonic() - self._life.asked_at) * 1000
        self.events.emit(ProcessStateChanged(self.service_name, self._life.state, milliseconds))

    # In the background

    def _spawn(self) -> Child | None:
        with self._life.lock:
            if self._life.state is ProcessState.EXITED and self.stop_requested.is_set():
                return None
            if self._life.child is not None or self._life.state is not ProcessState.IDLE:
                raise IllegalMove(f"{self.service_name} is {self._life.state} and cannot be started again")
            child = self._life.child = Child(self)
        atexit.register(self.stop)  # multiprocessing would wait for the child without asking it to stop
        return child

    def _await_running(self, child: Child) -> None:
        if not self._hear_from(child):
            atexit.unregister(self.stop)
            raise self.too_slow()
        failure = self.start_failure()
        if failure is not None:
            atexit.unregister(self.stop)
            raise failure

    def _hear_from(self, child: Child) -> bool:
        """Wait for the child's first report or its end, up to `start_timeout`."""
        clock = SystemClock()
        deadline = clock.monotonic() + self.start_timeout.total_seconds()
        while clock.monotonic() < deadline:
            if child.listen(HEARING.total_seconds()):
                return True
        return False

    def _stop_child(self, child: Child) -> None:
        atexit.unregister(self.stop)
        child.ask_to_stop()
        if child.wait((self.grace + SLACK).total_seconds()):
            return
        child.kill()
        child.wait(SLACK.total_seconds())
        with self._life.lock:
            first, self._life.killed = not self._life.killed, True
        if first:
            self.events.emit(ProcessKilled(self.service_name, (self.grace + SLACK).total_seconds()))
