"""The world outside: answers requests after a while, or never, and remembers who asked under which key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, NamedTuple, cast

from backend.targets.base import TargetRules, Tools
from backend.targets.output import Output
from backend.targets.sender import Answer, NoAnswer, Request


class Dispatched(NamedTuple):
    """A request that has come in."""

    run_id: str
    key: str
    attempt: int
    replica: str


class Outside:
    """Answers by the seed, the run and the attempt; with `misbehaviour` 0 at once and well."""

    def __init__(self, seed: str, misbehaviour: float, slowness: float, hear: Callable[[Dispatched], None]) -> None:
        self._seed = seed
        self._hear = hear
        self.misbehaviour = misbehaviour
        self.slowness = slowness

    def tools(self, replica: str) -> Tools:
        """Lend what a worker needs to reach us."""
        rules = TargetRules(allow_commands=False, allow_private_urls=True)
        return Tools(rules, cast("Any", _Line(self, replica)), cast("Any", None), cast("Any", None), {})

    async def answer(self, request: Request, replica: str) -> Answer | NoAnswer:
        """Take a request as the sender of the product would."""
        headers = request.headers
        self._hear(Dispatched(headers["X-Run-Id"], headers["Idempotency-Key"], int(headers["X-Attempt"]), replica))
        rng = Random(f"{self._seed}/{headers['X-Schedule-Id']}/{headers['X-Nominal-Time']}/{headers['X-Attempt']}")
        if rng.random() >= self.misbehaviour:
            await asyncio.sleep(rng.uniform(0.05, 2) * self.slowness)
            return _status(200)
        await asyncio.sleep(rng.choice((0.1, 3.0, 12.0, 25.0, 60.0)))
        return _BAD[rng.randrange(len(_BAD))]


class _Line(NamedTuple):
    outside: Outside
    replica: str

    async def send(self, request: Request) -> Answer | NoAnswer:
        return await self.outside.answer(request, self.replica)


def _status(status: int, headers: Mapping[str, str] = {}) -> Answer:
    return Answer(status, headers, Output(), complete=True)


_BAD: tuple[Answer | NoAnswer, ...] = (
    _status(200),
    _status(200),
    _status(503),
    _status(503, {"Retry-After": "7"}),
    _status(500),
    _status(404),
    NoAnswer("target.example closed the connection before it answered; whether it acted is unknown"),
)
