"""Loops: turns, sleep, bells, and what a turn that raises does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from backend.engine.loop import Doorbell, Loop
from backend.errors import StoreUnavailable
from backend.events import Events, Fact, LoopFailed, LoopFailure, LoopRecovered
from tests.unit.worker_world import DEADLINE, HandClock, until

pytestmark = pytest.mark.anyio


def loop_of(turn: Callable[[], Awaitable[float]], *, longest_pause: float = 10.0) -> tuple[Loop, list[LoopFailed]]:
    events, failures = Events(), []
    events.subscribe(lambda fact: failures.append(fact) if isinstance(fact, LoopFailed) else None)
    loop = Loop("test", turn, clock=HandClock(), events=events, bell=Doorbell(), longest_pause=longest_pause)
    return loop, failures


async def test_a_loop_takes_turns_until_it_is_stopped():
    turns = 0

    async def turn() -> float:
        nonlocal turns
        turns += 1
        if turns == 3:
            loop.stop()
        return 0.0

    loop, failures = loop_of(turn)
    async with asyncio.timeout(DEADLINE):
        await loop.run()
    assert (turns, failures) == (3, [])
    assert loop.first_turn.is_set()


async def test_a_bell_ends_a_long_sleep():
    turns = 0

    async def turn() -> float:
        nonlocal turns
        turns += 1
        return 3600.0

    loop, _ = loop_of(turn)
    running = asyncio.create_task(loop.run())
    await until(lambda: turns == 1)
    loop.bell.ring()
    await until(lambda: turns == 2)
    loop.stop()
    async with asyncio.timeout(DEADLINE):
        await running


async def test_a_bell_that_rings_during_a_turn_is_not_forgotten():
    turns = 0

    async def turn() -> float:
        nonlocal turns
        turns += 1
        if turns == 1:
            loop.bell.ring()
        else:
            loop.stop()
        return 3600.0

    loop, _ = loop_of(turn)
    async with asyncio.timeout(DEADLINE):
        await loop.run()
    assert turns == 2


async def test_a_turn_that_has_begun_is_brought_to_its_end():
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def turn() -> float:
        begun.set()
        await go_on.wait()
        ended.set()
        return 3600.0

    loop, _ = loop_of(turn)
    running = asyncio.create_task(loop.run())
    await begun.wait()
    loop.stop()
    go_on.set()
    async with asyncio.timeout(DEADLINE):
        await running
    assert ended.is_set()


async def test_a_turn_that_raises_is_reported_and_the_loop_goes_on():
    turns = 0

    async def turn() -> float:
        nonlocal turns
        turns += 1
        if turns < 3:
            raise ValueError("boom")
        loop.stop()
        return 0.0

    loop, failures = loop_of(turn, longest_pause=0.001)
    async with asyncio.timeout(DEADLINE):
        await loop.run()
    assert [(f.loop, f.error) for f in failures] == [("test", "ValueError: boom")] * 2
    assert "in turn" in failures[0].traceback


async def test_a_database_that_does_not_answer_is_no_defect_and_the_first_answer_is_told_of():
    turns, told = 0, list[Fact]()

    async def turn() -> float:
        nonlocal turns
        turns += 1
        if turns < 3:
            raise StoreUnavailable("the database did not answer")
        if turns == 4:
            loop.stop()
        return 0.0

    loop, failures = loop_of(turn, longest_pause=0.001)
    loop._events.subscribe(told.append)
    async with asyncio.timeout(DEADLINE):
        await loop.run()
    silent = LoopFailed("test", "the database did not answer", "", LoopFailure.DATABASE)
    assert failures == [silent, silent]
    assert told == [silent, silent, LoopRecovered("test")]


async def test_the_silence_grows_while_turns_raise_and_ends_with_one_that_succeeds():
    clock, sound = HandClock(), False

    async def turn() -> float:
        clock.advance(1)
        if not sound:
            raise ValueError("boom")
        return 3600.0

    events = Events()
    loop = Loop("test", turn, clock=clock, events=events, bell=Doorbell(), longest_pause=0.001)
    running = asyncio.create_task(loop.run())
    await until(lambda: loop.silence() > 3)
    assert not loop.first_turn.is_set()
    sound = True
    await until(lambda: loop.silence() == 0)
    loop.stop()
    await running
