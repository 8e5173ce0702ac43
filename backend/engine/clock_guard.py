"""The guard against a database clock that jumps ahead: what was written by a wrong, later time could not be taken back.

A cursor never goes back, so a turn taken at such a time would skip all until then; a change would plan up to it, a
lease would last until it, and every lease given before would seem to be over. So whatever writes asks the guard about
the time that it has read: a turn, a change or a claim is undone, until the clock comes back or a person restarts the
server because the new time is right. Only what a worker does under leases that it holds goes on, by the time that
the guard thinks it is.

A server's first reading is judged by this machine's clock and by the last time that a server has noted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from backend.clock import Clock
from backend.engine.loop import Turn
from backend.errors import ClockAhead
from backend.events import ClockHeld, ClockTrusted, Events
from backend.model.instants import MINUTE, SECOND
from backend.store.operation import Now, Operation, Runner
from backend.store.port import Store

T = TypeVar("T")
LIMIT = 5 * MINUTE
"""A jump up to this is taken as it comes."""
PAUSE = 1.0
"""Seconds between looks while the engine is held."""
REMIND = 60.0
"""Seconds between alarms while the engine is held."""
NOTE_EVERY = 30.0
"""Seconds between two looks that are noted in the store."""


class Reading(NamedTuple):
    """A time in microseconds, and how long this machine was up at about that time, in seconds."""

    now: int
    uptime: float


def ahead_of(trusted: Reading, reading: Reading) -> int:
    """Tell how many microseconds more have passed by the database's clock than by this machine; negative: fewer."""
    return reading.now - trusted.now - round((reading.uptime - trusted.uptime) * SECOND)


def later_of(trusted: Reading, reading: Reading) -> Reading:
    """Choose the one by which it is later now: up to where time has been before, nothing new can become due."""
    return reading if ahead_of(trusted, reading) > 0 else trusted


class ClockGuard:
    """Remembers the latest time it trusts.

    `known_at` is what a server noted last in this store; with None the first time that is seen is taken as it is.
    """

    def __init__(self, clock: Clock, events: Events, known_at: int | None) -> None:
        self.clock = clock
        self.events = events
        # Of a database clock that was right all the time, this machine's own clock, or a store that has been in use
        # until just now, confirms it; so a server that was off for a week is not held.
        known = None if known_at is None else max(known_at, clock.now())
        self._trusted = None if known is None else Reading(known, clock.uptime())
        self._told_at: float | None = None

    @property
    def held(self) -> bool:
        """Tell whether the engine is held now."""
        return self._told_at is not None

    def over(self, store: Store) -> Store:
        """Give the store under this guard."""
        return replace(store, runner=GuardedRunner(store.runner, self))

    def check(self, now: int) -> None:
        """Trust a time that has just been read, or raise ClockAhead."""
        reading = Reading(now, self.clock.uptime())
        trusted = self._trusted or reading
        ahead = ahead_of(trusted, reading)
        if ahead > LIMIT:
            raise ClockAhead(ahead, now)
        self._trusted = later_of(trusted, reading)

    def steadied(self, now: int) -> int:
        """Give the time that has just been read if it is trusted, else what it should be."""
        try:
            self.check(now)
        except ClockAhead as error:
            return now - error.ahead
        return now

    def around(self, turn: Turn) -> Turn:
        """Let a turn that writes by the database's clock say that it was held, instead of failing."""

        async def guarded() -> float:
            try:
                pause = await turn()
            except ClockAhead as ahead:
                self._alarm(ahead)
                return PAUSE
            self._clear()
            return pause

        return guarded

    def before(self, turn: Turn, look: Callable[[], Awaitable[int]]) -> Turn:
        """Let a turn that may write nothing begin only at a time that is trusted; `look` reads the database's clock."""

        async def guarded() -> float:
            self.check(await look())
            return await turn()

        return self.around(guarded)

    def noting(self, store: Store) -> Turn:
        """Give a turn that looks at the clock, so that slow drift never adds up, and notes it for who starts next."""

        async def note() -> float:
            await store.admin().note_clock()
            return NOTE_EVERY

        return self.around(note)

    def _alarm(self, ahead: ClockAhead) -> None:
        uptime = self.clock.uptime()
        if self._told_at is None or uptime - self._told_at >= REMIND:
            self._told_at = uptime
            self.events.emit(ClockHeld(ahead.ahead / SECOND, ahead.now))

    def _clear(self) -> None:
        if self._told_at is not None:
            self._told_at = None
            self.events.emit(ClockTrusted())


@dataclass(frozen=True, slots=True)
class GuardedRunner:
    """Runs operations; what writes hears only of times that the guard trusts."""

    runner: Runner
    guard: ClockGuard

    async def write(self, operation: Operation[T]) -> T:
        return await self.runner.write(_asking(self.guard, operation))

    async def read(self, operation: Operation[T]) -> T:
        return await self.runner.read(operation)


def _asking(guard: ClockGuard, operation: Operation[T]) -> Operation[T]:
    """Hand every statement on; ClockAhead, which undoes the operation, where it must not go on by the time it is."""
    try:
        statement = next(operation)
        while True:
            rows = yield statement
            if isinstance(statement, Now):
                now = int(rows[0][0])
                if statement.goes_on:
                    rows = [(guard.steadied(now),)]
                else:
                    guard.check(now)
            statement = operation.send(rows)
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        operation.close()
