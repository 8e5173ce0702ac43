"""What health says while turns fail or a server leaves, and that leaving takes no longer than it may."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backend.clock import SystemClock
from backend.engine.loop import Doorbell, Loop
from backend.errors import StoreUnavailable
from backend.events import LoopFailed
from backend.executor.wiring import drained, system_on
from backend.executor.worker_page import WorkerPage
from backend.observe.metrics import Metrics
from backend.settings import Settings
from tests.unit.worker_world import DEADLINE, World, until, world

pytestmark = pytest.mark.anyio


async def asked(page: WorkerPage, path: str) -> tuple[int, str]:
    """Ask a worker's page; answers the status, and what it calls it."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await page({"type": "http", "path": path, "method": "GET"}, None, send)
    return sent[0]["status"], json.loads(sent[1]["body"])["status"]


def page_of(w: World) -> WorkerPage:
    return WorkerPage(w.store, w.worker, Metrics(w.clock), 30.0)


async def away(*_: Any) -> None:
    raise StoreUnavailable("away")


async def test_a_worker_whose_heartbeats_alone_fail_is_alive_and_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path) as w:
        monkeypatch.setattr(type(w.store.worker()), "able", away)
        page, claiming = page_of(w), asyncio.create_task(w.worker.claiming.run())
        assert await asked(page, "/readyz") == (503, "starting")
        async with w.worker.serving():
            await w.worker.claiming.first_turn.wait()
            await until(lambda: w.told(LoopFailed) > 0)
            assert await asked(page, "/readyz") == (200, "ok")
            w.clock.advance(6)
            assert await asked(page, "/readyz") == (503, "faltering")
            assert await asked(page, "/livez") == (200, "ok")
            w.worker.claiming.stop()
            await claiming


async def test_a_worker_that_drains_for_long_is_alive_and_not_ready(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.worker.serving():
        w.worker.announce_drain()
        w.clock.advance(60)
        page = page_of(w)
        assert (await asked(page, "/readyz"), await asked(page, "/livez")) == ((503, "draining"), (200, "ok"))


async def test_a_server_whose_heartbeats_alone_fail_is_faltering(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path) as w:
        monkeypatch.setattr(type(w.store.worker()), "able", away)
        settings = Settings(data_dir=tmp_path)
        async with system_on(w.store, settings, clock=w.clock, events=w.events) as system:
            running = asyncio.create_task(system.run_loops())
            await system.turning()
            await until(lambda: w.told(LoopFailed) > 0)
            assert system.health().ready
            w.clock.advance(6)
            health = system.health()
            assert (health.live, health.ready, health.status) == (True, False, "faltering")
            await system.drain(running)


async def test_a_turn_that_hangs_does_not_outlast_the_grace(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.worker.serving():
        began = asyncio.Event()

        async def hang() -> float:
            began.set()
            await asyncio.Event().wait()
            return 0.0

        clock = SystemClock()
        loop = Loop("hanging", hang, clock=clock, events=w.events, bell=Doorbell())
        running = asyncio.create_task(loop.run())
        await began.wait()
        settings = Settings(data_dir=tmp_path, shutdown_grace=timedelta(seconds=0.2))
        async with asyncio.timeout(DEADLINE):
            await drained([loop], running, w.worker, settings, clock)
            with suppress(asyncio.CancelledError):
                await running
        assert running.cancelled()
