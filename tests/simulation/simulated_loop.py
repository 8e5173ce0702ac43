"""An asyncio loop in which time passes only when everybody waits: no threads, no sleeping, always the same order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from backend.clock import Clock
from backend.model.instants import SECOND


class Deadlock(Exception):
    """Everybody waits, and nobody for a time."""


class _Selector:
    """Instead of waiting for files, lets the clock jump to the next timer."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Deadlock
        self._loop.elapsed += timeout
        return []


class SimulatedLoop(asyncio.BaseEventLoop):
    """Begins at 0 seconds; `run_until_complete` returns as soon as the machine can."""

    def __init__(self) -> None:
        super().__init__()
        self.elapsed = 0.0
        self._selector = _Selector(self)

    def time(self) -> float:
        return self.elapsed

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """Do at once what would go to another thread."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


class DatabaseClock(Clock):
    """The one clock that decides; `step` makes it jump."""

    def __init__(self, loop: SimulatedLoop, began_at: int) -> None:
        self._loop = loop
        self._began_at = began_at
        self._ahead = 0

    def now(self) -> int:
        return self.right() + self._ahead

    def right(self) -> int:
        """Tell what time it really is."""
        return self._began_at + int(self._loop.elapsed * SECOND)

    def step(self, seconds: float) -> None:
        self._ahead += int(seconds * SECOND)

    def monotonic(self) -> float:
        return self._loop.elapsed

    def uptime(self) -> float:
        return self._loop.elapsed


DAYS = 1e6
"""Seconds by which the uptimes of replicas differ at most."""


class SkewedClock(Clock):
    """A replica's own clock, which is off by two minutes at most; a start beside a wrong database is judged by it."""

    def __init__(self, loop: SimulatedLoop, right: Callable[[], int], skew: float) -> None:
        self._loop = loop
        self._right = right
        self._skew = skew

    def now(self) -> int:
        return self._right() + int(self._skew / DAYS * 120 * SECOND)

    def monotonic(self) -> float:
        return self._loop.elapsed + abs(self._skew)

    def uptime(self) -> float:
        return self.monotonic()
