"""The loop apart from the turn: a turn does one batch and says how long to sleep."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress

from backend.clock import Clock
from backend.errors import StoreUnavailable
from backend.events import Events, LoopFailed, LoopFailure, LoopRecovered

Turn = Callable[[], Awaitable[float]]
"""Does one batch; answers how many seconds to sleep, 0 when there is more to do."""

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 10.0
FIRING_PAUSE = 1.0
"""The longest pause of loops that fire: when the database is back after a while, this is what it costs."""


class Doorbell:
    """Wakes a sleeping loop; ringing while nobody sleeps makes the next sleep end at once."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake the loop."""
        self._rung.set()

    async def wait(self, seconds: float) -> None:
        """Sleep until the bell rings, at most so long; always lets others run."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0)):
                await self._rung.wait()
        self._rung.clear()
        await asyncio.sleep(0)

    async def heard(self) -> None:
        """Sleep until the bell rings, however long."""
        await self._rung.wait()
        self._rung.clear()


class Loop:
    """Takes turns for ever. A turn that raises is reported, and the next one comes after a growing pause."""

    def __init__(
        self,
        name: str,
        turn: Turn,
        *,
        clock: Clock,
        events: Events,
        bell: Doorbell,
        longest_pause: float = LONGEST_PAUSE,
    ) -> None:
        self.name = name
        self.bell = bell
        self._longest_pause = longest_pause
        self._turn = turn
        self._clock = clock
        self._events = events
        self._started_at = clock.monotonic()
        self._turned_at: float | None = None
        self._stopping = False
        self._failures = 0
        self.first_turn = asyncio.Event()
        """Set when a turn has succeeded."""

    def silence(self) -> float:
        """Seconds since the last turn that succeeded, or since the start: the heartbeat that health reads."""
        return self._clock.monotonic() - (self._turned_at or self._started_at)

    def falters(self, seconds: float) -> bool:
        """Say whether turns have raised for so long."""
        return self._failures > 0 and self.silence() > seconds

    async def run(self) -> None:
        """Take turns until asked to stop; a turn that has begun is always brought to its end."""
        while not self._stopping:
            try:
                pause = await self._turn()
                self._note_turn()
            except StoreUnavailable as error:
                pause = self._pause_after(LoopFailed(self.name, str(error), reason=LoopFailure.DATABASE))
            except Exception as error:  # one bad turn never ends the loop
                words = f"{type(error).__name__}: {error}"
                pause = self._pause_after(LoopFailed(self.name, words, traceback.format_exc()))
            if not self._stopping:
                await self.bell.wait(pause)

    def _note_turn(self) -> None:
        failures, self._failures, self._turned_at = self._failures, 0, self._clock.monotonic()
        self.first_turn.set()
        if failures:
            self._events.emit(LoopRecovered(self.name))

    def _pause_after(self, failed: LoopFailed) -> float:
        self._failures += 1
        self._events.emit(failed)
        return min(FIRST_PAUSE * 2.0 ** min(self._failures, 10), self._longest_pause)

    def stop(self) -> None:
        """Let the turn that has begun be the last."""
        self._stopping = True
        self.bell.ring()
