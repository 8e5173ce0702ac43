"""The hatch between the engine's process and the API's, over a real socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from datetime import timedelta

import pytest

from backend.api.context import Health
from backend.clock import SystemClock
from backend.errors import StoreUnavailable
from backend.executor import hatch
from backend.executor.hatch import EngineView, answering, ask, ask_health, health_text, open_hatch, starting_answers

pytestmark = pytest.mark.anyio
DEADLINE = 20
LIVE = Health(live=True, ready=True, status="ready", details={"attempts_running": 3})


class SteppedClock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> int:
        return 0

    def monotonic(self) -> float:
        return self.seconds

    def uptime(self) -> float:
        return self.seconds


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - what comes over a socket sets no event of ours
            await asyncio.sleep(0.01)


def view_of(listener: socket.socket, clock: SteppedClock | None = None) -> EngineView:
    return EngineView(listener.getsockname(), clock or SystemClock(), timedelta(seconds=30))


async def health() -> bytes:
    return health_text(LIVE)


async def test_bells_health_and_metrics_come_through() -> None:
    rung: list[str] = []

    async def engine() -> bytes:
        rung.append("engine")
        return b""

    async def metrics() -> bytes:
        return b"text/plain\nup 1\n"

    with open_hatch() as listener:
        view = view_of(listener)
        answers = {"engine": engine, "health": health, "metrics": metrics}
        async with answering(listener, answers), view.following():
            await until(lambda: view.health().ready)
            assert view.health().details["attempts_running"] == 3
            view.ring("engine")()
            await until(lambda: rung == ["engine"])
            assert await view.metrics() == (b"up 1\n", "text/plain")
            assert await asyncio.to_thread(ask_health, listener.getsockname())


async def test_a_large_answer_comes_whole() -> None:
    async def metrics() -> bytes:
        return b"text/plain\n" + b"x" * 5_000_000

    with open_hatch() as listener:
        async with answering(listener, {"metrics": metrics}):
            content, _ = await view_of(listener).metrics()
    assert len(content) == 5_000_000


async def test_a_new_engine_answers_on_the_same_hatch() -> None:
    with open_hatch() as listener:
        for _ in range(3):
            async with answering(listener, {"health": health}):
                assert await ask(listener.getsockname(), "health") == health_text(LIVE)


async def test_an_unknown_word_gets_no_answer() -> None:
    with open_hatch() as listener:
        async with answering(listener, {"health": health}):
            assert await ask(listener.getsockname(), "sesame") == b""


async def test_who_is_of_another_user_is_sent_away_before_a_word_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hatch, "PATIENCE", 10 * DEADLINE)
    ours = os.getuid()
    with open_hatch() as listener:
        async with answering(listener, {"health": health}), asyncio.timeout(DEADLINE):
            monkeypatch.setattr(os, "getuid", lambda: ours + 1)
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.settimeout(DEADLINE)
                stranger.connect(listener.getsockname())
                assert await asyncio.to_thread(stranger.recv, 1) == b"", "it has not said a word"
            monkeypatch.undo()
            assert await ask(listener.getsockname(), "health") == health_text(LIVE)


async def test_whoever_asks_what_cannot_be_answered_is_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def metrics() -> bytes:
        raise StoreUnavailable("the database did not answer")

    monkeypatch.setattr(hatch, "PATIENCE", 10 * DEADLINE)
    with open_hatch() as listener:
        async with answering(listener, {"metrics": metrics}), asyncio.timeout(DEADLINE):
            with pytest.raises(StoreUnavailable, match="has no metrics now"):
                await view_of(listener).metrics()


async def test_an_engine_that_waits_for_its_database_is_alive_and_not_ready() -> None:
    with open_hatch() as listener:
        answers = starting_answers()
        async with answering(listener, answers):
            view = view_of(listener)
            assert await asyncio.to_thread(ask_health, listener.getsockname())
            async with view.following():
                await until(lambda: "engine_unheard_seconds" in view.health().details)
                assert view.health()[:3] == (True, False, "starting")
                answers["health"] = health
                await until(lambda: view.health().ready)


async def test_an_engine_that_does_not_answer_is_an_error_within_the_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hatch, "PATIENCE", 0.1)
    with open_hatch() as listener:
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await view_of(listener).metrics()
        assert not await asyncio.to_thread(ask_health, listener.getsockname())


async def test_health_turns_with_the_silence_of_the_engine() -> None:
    clock = SteppedClock()
    with open_hatch() as listener:
        view = view_of(listener, clock)
        assert view.health()[:3] == (True, False, "starting")
        async with answering(listener, {"health": health}), view.following():
            await until(lambda: view.health().ready)
        clock.seconds += 4
        assert view.health()[:3] == (True, True, "ready"), "a restart takes as long"
        clock.seconds += 10
        assert view.health()[:3] == (True, False, "starting")
        clock.seconds += 30
        assert view.health()[:3] == (False, False, "stalled")


@pytest.mark.parametrize("told", [LIVE._replace(live=False, ready=False, status="stalled")])
async def test_an_engine_that_calls_itself_stalled_is_believed(told: Health) -> None:
    async def stalled() -> bytes:
        return health_text(told)

    with open_hatch() as listener:
        view = view_of(listener)
        async with answering(listener, {"health": stalled}), view.following():
            await until(lambda: not view.health().live)
            assert not await asyncio.to_thread(ask_health, listener.getsockname())
