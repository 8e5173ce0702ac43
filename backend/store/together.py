"""What many ask for at the same time is asked of the database once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from itertools import takewhile
from typing import Generic, NamedTuple, TypeVar

from backend.store.operation import Runner

Item = TypeVar("Item")
Result = TypeVar("Result")


MOST_AT_ONCE = 4
"""Transactions of one kind that are under way, however many of them are held up."""


class _Waiting(NamedTuple, Generic[Item, Result]):
    runner: Runner
    item: Item
    answer: asyncio.Future[Result]
    since: float


class Together(Generic[Item, Result]):
    """Does for many what each of them asks for: while it is done for some, others gather for the next time.

    Nobody waits to be joined: who comes alone is served at once, and who has waited for `patience` seconds waits no
    longer for those before, whatever holds them up (None: they are held up by what would hold up everybody).
    What is done for an item begins after it came. Belongs to one event loop.
    """

    def __init__(
        self, act: Callable[[Runner, Sequence[Item]], Awaitable[Sequence[Result]]], most: int, patience: float | None
    ) -> None:
        self._act = act
        self._most = most
        self._patience = patience
        self._gathered: list[_Waiting[Item, Result]] = []
        self._serving: set[asyncio.Task[None] | None] = set()
        self._next_look: asyncio.TimerHandle | None = None

    async def __call__(self, runner: Runner, item: Item) -> Result:
        """Give what `act` answers in the item's place; what it raises is raised for all that it was to be done for."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Result] = loop.create_future()
        self._gathered.append(_Waiting(runner, item, answer, loop.time()))
        if not self._serving:
            self._serve()
        elif self._patience is not None and self._next_look is None:
            self._next_look = loop.call_later(self._patience, self._look, loop, self._patience)
        return await answer

    def _look(self, loop: asyncio.AbstractEventLoop, patience: float) -> None:
        self._next_look = None
        if not self._gathered:
            return
        left = self._gathered[0].since + patience - loop.time()
        if left <= 0 and len(self._serving) < MOST_AT_ONCE:
            self._serve()
        self._next_look = loop.call_later(left if left > 0 else patience, self._look, loop, patience)

    def _serve(self) -> None:
        # In a context of its own: what happens here happens in the name of none of those it is done for.
        self._serving.add(asyncio.create_task(self._serve_all(), name="together", context=Context()))

    async def _serve_all(self) -> None:
        try:
            await self._serve_some()
        finally:  # at once when nobody is left: who comes next must not count on this task
            self._serving.discard(asyncio.current_task())

    async def _serve_some(self) -> None:
        while some := self._next():
            try:
                results = await self._act(some[0].runner, [one.item for one in some])
            except asyncio.CancelledError:
                left, self._gathered = self._gathered, []
                for one in (*some, *left):
                    one.answer.cancel()
                raise
            except Exception as error:  # it belongs to those who wait for it
                for one in some:
                    if not one.answer.done():
                        one.answer.set_exception(error)
                continue
            for one, result in zip(some, results, strict=True):
                if not one.answer.done():
                    one.answer.set_result(result)

    def _next(self) -> Sequence[_Waiting[Item, Result]]:
        """Take the next few, of one runner; without those who have gone away."""
        here = [one for one in self._gathered if not one.answer.done()]
        some = [*takewhile(lambda one: one.runner is here[0].runner, here[: self._most])]
        self._gathered = here[len(some) :]
        return some
