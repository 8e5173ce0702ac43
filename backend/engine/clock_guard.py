"""The guard against a database clock that jumps ahead: what fired too early could never be taken back.

A cursor never goes back, so a turn taken at a wrong, later time would skip all until then. The guard holds the
engine instead, until the clock comes back or a person restarts the server because the new time is right.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from backend.clock import Clock
from backend.engine.loop import Turn
from backend.errors import SchedulerError
from backend.events import ClockHeld, ClockTrusted, Events
from backend.model.instants import MINUTE, SECOND
from backend.model.plan import Planned, Planner, Standing

LIMIT = 5 * MINUTE
"""A jump up to this is taken as it comes."""
PAUSE = 1.0
"""Seconds between looks while the engine is held."""
REMIND = 60.0
"""Seconds between alarms while the engine is held."""


class Reading(NamedTuple):
    """The database's clock, in microseconds, and how long this machine was up at about that time, in seconds."""

    now: int
    uptime: float


class ClockAhead(SchedulerError):
    """The database's clock is further ahead than this machine's uptime confirms; nothing has been written."""

    def __init__(self, ahead: int, now: int) -> None:
        super().__init__(f"the database's clock is {ahead / SECOND:.0f} s ahead of what has passed")
        self.ahead = ahead
        self.now = now


def ahead_of(trusted: Reading, reading: Reading) -> int:
    """Tell how many microseconds more have passed by the database's clock than by this machine; negative: fewer."""
    return reading.now - trusted.now - round((reading.uptime - trusted.uptime) * SECOND)


def later_of(trusted: Reading, reading: Reading) -> Reading:
    """Choose the one by which it is later now: up to where time has been before, nothing new can become due."""
    return reading if ahead_of(trusted, reading) > 0 else trusted


class ClockGuard:
    """Remembers the latest time it trusts; the first that it sees is taken as it is.

    `look` reads the database's clock.
    """

    def __init__(self, clock: Clock, events: Events, look: Callable[[], Awaitable[int]]) -> None:
        self.clock = clock
        self.events = events
        self._look = look
        self._trusted: Reading | None = None
        self._told_at: float | None = None

    @property
    def held(self) -> bool:
        """Tell whether the engine is held now."""
        return self._told_at is not None

    def planning(self, plan: Planner) -> Planner:
        """Let a planner plan only at a time that is trusted: it raises ClockAhead, which undoes the turn."""

        def guarded(due: Sequence[Standing], now: int, store_id: str) -> Sequence[Planned]:
            self._check(now, self.clock.uptime())
            return plan(due, now, store_id)

        return guarded

    def around(self, turn: Turn) -> Turn:
        """Let a turn whose planner is guarded say that it was held, instead of failing."""

        async def guarded() -> float:
            try:
                pause = await turn()
            except ClockAhead as ahead:
                self._alarm(ahead)
                return PAUSE
            self._clear()
            return pause

        return guarded

    def before(self, turn: Turn) -> Turn:
        """Let a turn begin only at a time that is trusted."""

        async def guarded() -> float:
            self._check(await self._look(), self.clock.uptime())
            return await turn()

        return self.around(guarded)

    def _check(self, now: int, uptime: float) -> None:
        reading = Reading(now, uptime)
        if self._trusted is None:
            self._trusted = reading
        ahead = ahead_of(self._trusted, reading)
        if ahead > LIMIT:
            raise ClockAhead(ahead, now)
        self._trusted = later_of(self._trusted, reading)

    def _alarm(self, ahead: ClockAhead) -> None:
        uptime = self.clock.uptime()
        if self._told_at is None or uptime - self._told_at >= REMIND:
            self._told_at = uptime
            self.events.emit(ClockHeld(ahead.ahead / SECOND, ahead.now))

    def _clear(self) -> None:
        if self._told_at is not None:
            self._told_at = None
            self.events.emit(ClockTrusted())
