"""What /metrics answers: the engine's part, wherever the engine is, and that of the process that answers."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST

from backend.api.context import Health
from backend.errors import StoreUnavailable
from backend.observe.metrics import Metrics
from backend.observe.web_metrics import Pulse, WebMetrics
from backend.store.port import AdminStore

Scrape = Callable[[], Awaitable[tuple[bytes, str]]]
DATABASE_PATIENCE = 1.5
"""Seconds that the database gets for its part; less than the API's process waits for the engine's."""


def page_of(engine: Scrape, web: WebMetrics, health: Callable[[], Health]) -> Scrape:
    """Put both parts together. An engine that does not answer leaves its part out: that is when the other matters."""

    async def scrape() -> tuple[bytes, str]:
        web.set_pulse(pulse_of(health()))
        try:
            content, content_type = await engine()
        except StoreUnavailable:
            content, content_type = b"", CONTENT_TYPE_LATEST
        return content + web.render(), content_type

    return scrape


def pulse_of(health: Health) -> Pulse:
    """Tell how the engine is; what another process said is as old as its silence since."""
    ages = (health.details.get(name, 0) for name in ("engine_silence_seconds", "engine_unheard_seconds"))
    return Pulse(health.live, health.ready, float(sum(ages)))


async def ask_database(admin: AdminStore, metrics: Metrics) -> None:
    """Let the database tell what waits and who works; if it does not, in time, its metrics say nothing."""
    try:
        async with asyncio.timeout(DATABASE_PATIENCE):
            backlog, workers = await admin.backlog(), await admin.count_workers()
    except (StoreUnavailable, TimeoutError):
        metrics.forget_database()
        return
    metrics.set_backlog(
        due=backlog.due,
        age_seconds=backlog.oldest_age / 1_000_000,
        open_runs=backlog.open_runs,
        schedules=backlog.schedules,
    )
    metrics.set_workers(workers)


def measure_files(metrics: Metrics, data_dir: Path, database: Path | None) -> None:
    """Measure what is left of the disk under the data, and the database's write-ahead log."""
    with suppress(OSError):
        metrics.set_free(shutil.disk_usage(data_dir).free)
    if database is not None:
        with suppress(OSError):
            metrics.set_wal(database.with_name(f"{database.name}-wal").stat().st_size)
