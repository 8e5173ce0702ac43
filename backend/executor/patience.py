"""Waits for a database that does not answer yet, instead of ending."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from backend.errors import StoreUnavailable
from backend.events import DatabaseAwaited, Events

T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0


async def when_it_answers(ask: Callable[[], Awaitable[T]], events: Events, stop: asyncio.Event) -> T | None:
    """Ask until the database answers, after growing pauses; None when `stop` is set before.

    What no wait would mend, such as a wrong password, is raised as ConfigurationError.
    """
    pause = FIRST_PAUSE
    while not stop.is_set():
        try:
            return await _unless_stopped(ask, stop)
        except StoreUnavailable as error:
            events.emit(DatabaseAwaited(str(error), pause))
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stop.wait()
        pause = min(2 * pause, LONGEST_PAUSE)
    return None


async def _unless_stopped(ask: Callable[[], Awaitable[T]], stop: asyncio.Event) -> T | None:
    asking, stopping = asyncio.ensure_future(ask()), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([asking, stopping], return_when=asyncio.FIRST_COMPLETED)
        return asking.result() if asking.done() else None
    finally:
        for task in (asking, stopping):
            task.cancel()
