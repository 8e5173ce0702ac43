"""Items that come in while others are being served are served together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import pytest

from backend.store.together import MOST_AT_ONCE, Together

pytestmark = pytest.mark.anyio
RUNNER: Any = object()
ASKER = ContextVar("ASKER", default="nobody")


class Act:
    """Doubles numbers when it is told to go on; refuses thirteen, and what is negative takes for ever."""

    def __init__(self) -> None:
        self.served: list[list[int]] = []
        self.runners: list[object] = []
        self.askers: list[str] = []
        self.go_on = asyncio.Event()

    async def __call__(self, runner: Any, numbers: Sequence[int]) -> list[int]:
        self.served.append(list(numbers))
        self.runners.append(runner)
        self.askers.append(ASKER.get())
        await self.go_on.wait()
        if 13 in numbers:
            raise ValueError("thirteen")
        if min(numbers) < 0:
            await asyncio.Event().wait()
        return [2 * number for number in numbers]


async def asked(together: Together[int, int], *numbers: int) -> list[asyncio.Task[int]]:
    """Ask for each of these, one after another, until all wait."""
    tasks = [asyncio.create_task(together(RUNNER, number)) for number in numbers]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_who_comes_alone_is_served_at_once_and_others_gather_meanwhile() -> None:
    act = Act()
    together = Together[int, int](act, 3, None)
    tasks = await asked(together, 1)
    assert act.served == [[1]]
    tasks += await asked(together, 2, 3, 4, 5, 6)
    act.go_on.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8, 10, 12]
    assert act.served == [[1], [2, 3, 4], [5, 6]]


async def test_an_error_is_for_those_it_was_raised_for() -> None:
    act = Act()
    act.go_on.set()
    together = Together[int, int](act, 2, None)
    answers = await asyncio.gather(*(together(RUNNER, number) for number in (1, 13, 2, 3)), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["thirteen", "thirteen", "4", "6"]
    assert await together(RUNNER, 4) == 8


async def test_for_who_has_gone_away_nothing_is_done() -> None:
    act = Act()
    together = Together[int, int](act, 5, None)
    tasks = await asked(together, 1, 2)
    tasks += await asked(together, 3, 4)
    for task in tasks[1:3]:
        task.cancel()
    await asyncio.sleep(0)
    act.go_on.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [int, asyncio.CancelledError, asyncio.CancelledError, int]
    assert act.served == [[1, 2], [4]]


async def test_what_is_held_up_holds_up_others_for_a_while_only() -> None:
    act = Act()
    act.go_on.set()
    together = Together[int, int](act, 1, 0.01)
    held = await asked(together, -1)
    async with asyncio.timeout(10):
        assert await together(RUNNER, 2) == 4
        assert await together(RUNNER, 3) == 6
    held += await asked(together, *range(-10, -1))
    await asyncio.sleep(0.01 * 4 * MOST_AT_ONCE)
    assert len(act.served) == 2 + MOST_AT_ONCE, "no more than so many are under way at once"
    for task in held:
        task.cancel()


async def test_items_of_different_runners_are_not_done_together() -> None:
    act = Act()
    together = Together[int, int](act, 5, None)
    first = await asked(together, 1)
    other: Any = object()
    more = [asyncio.create_task(together(runner, 2)) for runner in (other, other, RUNNER)]
    await asyncio.sleep(0)
    act.go_on.set()
    assert await asyncio.gather(*first, *more) == [2, 4, 4, 4]
    assert (act.served, act.runners) == ([[1], [2, 2], [2]], [RUNNER, other, RUNNER])


async def test_nothing_is_done_in_the_name_of_who_came_first() -> None:
    act = Act()
    act.go_on.set()
    ASKER.set("ann")
    await Together[int, int](act, 5, None)(RUNNER, 1)
    assert act.askers == ["nobody"]
