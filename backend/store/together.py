"""What many ask for at the same time is asked of the database once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Together(Generic[Item, Result]):
    """Does for many what each of them asks for: while it is done for some, others gather for the next time.

    Nobody waits to be joined: who comes alone is served at once. What is done for an item begins after it came.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._gathered: list[tuple[Item, asyncio.Future[Result]]] = []
        self._serving: asyncio.Task[None] | None = None

    async def __call__(self, item: Item, act: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]) -> Result:
        """Give what `act` answers in the item's place; what it raises is raised for all that it was to be done for.

        All that gather here have to mean the same by `act`: whoever comes first does it for the others.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._gathered.append((item, future))
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve(act), name="together")
        return await future

    async def _serve(self, act: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]) -> None:
        while self._gathered:
            some, self._gathered = self._gathered[: self._most], self._gathered[self._most :]
            try:
                results = await act([item for item, _ in some])
            except asyncio.CancelledError:
                left, self._gathered = self._gathered, []
                for _, future in [*some, *left]:
                    future.cancel()
                raise
            except Exception as error:  # it belongs to those who wait for it
                for _, future in some:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), result in zip(some, results, strict=True):
                if not future.done():
                    future.set_result(result)
