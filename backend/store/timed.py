"""Measures how long a store takes to answer, as those who wait for it see it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from backend.store.operation import Operation, Runner
from backend.store.port import Store

T = TypeVar("T")
Access = Literal["read", "write"]
Stopwatch = Callable[[Access], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class TimedRunner:
    """Runs operations under a stopwatch; the time in a queue or for a connection counts."""

    runner: Runner
    stopwatch: Stopwatch

    async def write(self, operation: Operation[T]) -> T:
        with self.stopwatch("write"):
            return await self.runner.write(operation)

    async def read(self, operation: Operation[T]) -> T:
        with self.stopwatch("read"):
            return await self.runner.read(operation)


def timed(store: Store, stopwatch: Stopwatch) -> Store:
    """Give the same store, measured."""
    return replace(store, runner=TimedRunner(store.runner, stopwatch))
