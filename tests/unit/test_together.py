"""Items that come in while others are being served are served together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from backend.store.together import Together

pytestmark = pytest.mark.anyio


class Act:
    """Doubles numbers, slowly; refuses thirteen."""

    def __init__(self) -> None:
        self.served: list[list[int]] = []

    async def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.served.append(list(numbers))
        await asyncio.sleep(0.001)
        if 13 in numbers:
            raise ValueError("thirteen")
        return [2 * number for number in numbers]


async def test_who_comes_alone_is_served_at_once_and_others_gather_meanwhile() -> None:
    together, act = Together[int, int](3), Act()

    async def later(number: int) -> int:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return await together(number, act)

    answers = await asyncio.gather(together(1, act), *(later(number) for number in range(2, 7)))
    assert answers == [2, 4, 6, 8, 10, 12]
    assert act.served == [[1], [2, 3, 4], [5, 6]]


async def test_an_error_is_for_those_it_was_raised_for() -> None:
    together, act = Together[int, int](2), Act()
    answers = await asyncio.gather(*(together(number, act) for number in (1, 13, 2, 3)), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["thirteen", "thirteen", "4", "6"]
    assert await together(4, act) == 8


async def test_who_goes_away_leaves_the_others_served() -> None:
    together, act = Together[int, int](5), Act()
    tasks = [asyncio.create_task(together(number, act)) for number in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert (answers[0], type(answers[1]), answers[2]) == (0, asyncio.CancelledError, 4)
