"""Processes with a vice each, and a script that runs those it is told to.

    python -m tests.acceptance.processes KIND:NAME …

Each prints `NAME is running PID` and `NAME has ended`, so that a test can wait for it and see the order.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from types import FrameType

import uvloop

from backend.app import ProcessContract, run_processes
from backend.errors import ConfigurationError
from backend.process.base import Process


def say(line: str) -> None:
    """Write one line at once: several processes share this stream."""
    os.write(1, f"{line}\n".encode())


class Plain(Process):
    """Runs until it is asked to stop."""

    def __init__(self, name: str) -> None:
        super().__init__(name, grace=timedelta(seconds=10))

    def run(self) -> None:
        say(f"{self.service_name} is running {os.getpid()}")
        self.ready()
        self.stop_requested.wait()
        say(f"{self.service_name} has ended")


class Loop(Process):
    """Serves from a uvloop event loop in the main thread."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.wake: Callable[[], object] | None = None

    def run(self) -> None:
        uvloop.run(self.serve())

    async def serve(self) -> None:
        asked, loop = asyncio.Event(), asyncio.get_running_loop()
        self.wake = lambda: loop.call_soon_threadsafe(asked.set)
        say(f"{self.service_name} is running {os.getpid()}")
        self.ready()
        if not self.stop_requested.is_set():
            await asked.wait()
        say(f"{self.service_name} has ended")

    def on_stop_requested(self) -> None:
        if self.wake is not None:
            self.wake()


class Refusing(Plain):
    def prepare(self) -> None:
        raise ConfigurationError("SCHEDULER_PORT: 99999 is outside 1–65535; give a free port, such as 8003")


class BrokenAtStart(Plain):
    def run(self) -> None:
        raise ValueError("this one never starts")


class Slow(Plain):
    """Is never ready."""

    def run(self) -> None:
        say(f"{self.service_name} is starting {os.getpid()}")
        self.stop_requested.wait()


class Crashing(Plain):
    """Raises when it gets SIGUSR1."""

    def run(self) -> None:
        hit = threading.Event()
        signal.signal(signal.SIGUSR1, lambda _number, _frame: hit.set())
        say(f"{self.service_name} is running {os.getpid()}")
        self.ready()
        while not self.stop_requested.is_set():
            if hit.wait(0.05):
                raise RuntimeError("this one crashes")
        say(f"{self.service_name} has ended")


class Quitting(Plain):
    """Ends by itself, without an error, when it gets SIGUSR1."""

    def run(self) -> None:
        signal.signal(signal.SIGUSR1, self.quit)
        super().run()

    def quit(self, _number: int, _frame: FrameType | None) -> None:
        os._exit(0)


class Stubborn(Process):
    """Ignores every request to stop."""

    def __init__(self, name: str) -> None:
        super().__init__(name, grace=timedelta(0))

    def run(self) -> None:
        say(f"{self.service_name} is running {os.getpid()}")
        self.ready()
        while True:
            threading.Event().wait(60)

    def on_stop_requested(self) -> None:
        say(f"{self.service_name} was asked to stop")


class StubbornlyKept(Stubborn):
    """Ignores requests for longer than any test takes."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.grace = timedelta(hours=1)


class StopRaises(Plain):
    def stop(self) -> None:
        super().stop()
        raise RuntimeError(f"{self.service_name} cannot stop")


class Duck:
    """No relation of ours, yet a process."""

    def __init__(self, name: str) -> None:
        self.service_name = name
        self.state = "idle"
        self.stopped = threading.Event()

    def start(self, background: bool) -> None:
        assert not background
        self.state = "running"
        say(f"{self.service_name} is running {os.getpid()}")
        self.stopped.wait()
        say(f"{self.service_name} has ended")

    def stop(self) -> None:
        self.state = "exited"
        self.stopped.set()


class DuckThread(Duck):
    """One whose background is a thread."""

    def start(self, background: bool) -> None:
        assert background
        threading.Thread(target=Duck.start, args=(self, False)).start()


class Watcher(Duck):
    """Starts a `Plain` in the background by itself and tells its states."""

    def start(self, background: bool) -> None:
        child = Plain("observed")
        states = [child.state]
        child.start(background=True)
        states.append(child.state)
        child.stop()
        states.append(child.state)
        say(f"states: {' '.join(states)}; exit code {child.exit_code}")


class Impatient(Duck):
    """Starts a `Slow` and does not wait for long."""

    def start(self, background: bool) -> None:
        child = Slow("slow")
        child.start_timeout = timedelta(seconds=2)
        child.start(background=True)


KINDS: dict[str, Callable[[str], ProcessContract]] = {
    "plain": Plain,
    "loop": Loop,
    "refusing": Refusing,
    "broken": BrokenAtStart,
    "slow": Slow,
    "crashing": Crashing,
    "quitting": Quitting,
    "stubborn": Stubborn,
    "kept": StubbornlyKept,
    "stop-raises": StopRaises,
    "duck": Duck,
    "duck-thread": DuckThread,
    "watcher": Watcher,
    "impatient": Impatient,
}


def main() -> None:
    pairs = [argument.split(":") for argument in sys.argv[1:]]
    run_processes(*(KINDS[kind](name) for kind, name in pairs))
    say("all is done")


if __name__ == "__main__":
    main()
