"""Puts engine, workers and API together on one store, and takes them apart in order."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from backend.api.context import Context, Health
from backend.clock import Clock
from backend.duration import format_duration
from backend.engine.auditor import Auditor
from backend.engine.callbacks import Listening
from backend.engine.clock_guard import ClockGuard
from backend.engine.lateness import Lateness
from backend.engine.loop import FIRING_PAUSE, LONGEST_PAUSE, Doorbell, Loop, Turn
from backend.engine.prune import Prune
from backend.engine.reap import BATCH as REAPED
from backend.engine.reap import Reap
from backend.engine.tick import Tick
from backend.engine.tzdata import Tzdata
from backend.events import Events
from backend.executor.hatch import BELLS, HEALTH, METRICS, Answers, health_text
from backend.executor.mail import mailer_of
from backend.executor.scrape import Scrape, ask_database, measure_files, page_of
from backend.observe.metrics import Metrics
from backend.observe.outages import Outages
from backend.observe.web_metrics import WebMetrics
from backend.service.schedules import Surroundings
from backend.settings import Settings, base_environment
from backend.store.keyring import KeyRing
from backend.store.port import Store
from backend.store.retention import Retention
from backend.store.timed import timed
from backend.store.wakeup import TIMES
from backend.targets.base import TargetRules, Tools
from backend.triggers.zones import tzdata_version
from backend.worker.loop import Worker, WorkerConfig

ENGINE = "engine"
CLOCK = "clock"
Ring = Callable[[], None]

STALLED = timedelta(seconds=30)
FALTERING = 5.0
"""Seconds after which a server whose turns fail, as when its database is away, is not ready; it goes on trying."""
LEAVING = timedelta(seconds=2)
"""Part of the grace that is kept for stopping attempts and giving them back; at most a quarter of it."""


@dataclass(slots=True)
class System:
    """A running engine with a worker, and the API on top of it."""

    settings: Settings
    store: Store
    worker: Worker
    loops: tuple[Loop, ...]
    guard: ClockGuard
    tzdata: Tzdata
    clock: Clock
    metrics: Metrics
    events: Events
    stalled_after: timedelta
    draining: bool = False

    @property
    def engine(self) -> Loop:
        """The loop that plans."""
        return self.loops[0]

    def health(self) -> Health:
        """Judge by the heartbeats of the loops, not by a flag."""
        silence, worker_silence = self.engine.silence(), self.worker.claiming.silence()
        # While draining the loops rest on purpose; whoever asks for liveness must not cut the grace short.
        live = self.draining or max(silence, worker_silence) < self.stalled_after.total_seconds()
        turning = live and self.engine.first_turn.is_set() and self.worker.claiming.first_turn.is_set()
        faltering = any(loop.falters(FALTERING) for loop in (self.engine, self.worker.claiming, self.worker.beating))
        status = "draining" if self.draining else "ready" if turning else "starting" if live else "stalled"
        if faltering and status == "ready":
            status = "faltering"
        # Alive, since a restart would take the wrong time for the right one; not ready, since nothing fires.
        status = "clock_held" if self.guard.held else status
        details = {
            "engine_silence_seconds": round(silence, 3),
            "worker_silence_seconds": round(worker_silence, 3),
            "attempts_running": self.worker.active,
        }
        return Health(live, status == "ready", status, details)

    async def render_metrics(self) -> tuple[bytes, str]:
        """Read the backlog, count the workers, and give all metrics."""
        await ask_database(self.store.admin(), self.metrics)
        measure_files(self.metrics, self.settings.data_dir, self.settings.sqlite_path)
        firing = (*self.loops, self.worker.claiming, self.worker.beating)
        self.metrics.set_silence({loop.name: loop.silence() for loop in firing})
        return self.metrics.render()

    def api(self) -> Any:  # noqa: ANN401 - an ASGI application
        """Build the API on this system."""
        around = surroundings_of(self.settings, self.events, self.bells().__getitem__)
        return api_on(self.store, around, self.health, self.render_metrics, self.settings)

    def bells(self) -> dict[str, Ring]:
        """Give what wakes the engine and the workers, and has the leases checked."""
        rings = (self.engine.bell.ring, self.worker.wake, self.worker.beating.bell.ring)
        return dict(zip(BELLS, rings, strict=True))

    def answers(self) -> Answers:
        """Answer what the API asks from another process."""

        async def metrics() -> bytes:
            content, content_type = await self.render_metrics()
            return content_type.encode() + b"\n" + content

        async def health() -> bytes:
            return health_text(self.health())

        async def rung(ring: Ring) -> bytes:
            ring()
            return b""

        bells = {word: partial(rung, ring) for word, ring in self.bells().items()}
        return {**bells, METRICS: metrics, HEALTH: health}

    def hear(self, hints: frozenset[str]) -> None:
        """Look at once for what another server on the same database hints at."""
        if TIMES in hints:
            self.engine.bell.ring()
        self.worker.hear(hints)

    async def run_loops(self) -> None:
        """Take turns until `drain`; a loop that ends otherwise raises."""
        async with asyncio.TaskGroup() as group:
            for loop in (*self.loops, self.worker.claiming):
                group.create_task(loop.run(), name=loop.name)

    async def turning(self) -> None:
        """Wait until engine and worker have taken their first turn."""
        await self.engine.first_turn.wait()
        await self.worker.claiming.first_turn.wait()

    async def drain(self, running: asyncio.Task[None]) -> None:
        """Stop planning and claiming, let attempts end within the grace, give the rest back before it is over."""
        self.draining = True
        await drained((*self.loops, self.worker.claiming), running, self.worker, self.settings, self.clock)


async def drained(
    loops: Iterable[Loop], running: asyncio.Task[None], worker: Worker, settings: Settings, clock: Clock
) -> None:
    """Stop the loops, and let their turns and the worker's attempts end within the grace; a turn that hangs is left."""
    grace = settings.shutdown_grace
    deadline = clock.monotonic() + (grace - min(LEAVING, grace / 4)).total_seconds()
    worker.announce_drain()
    for loop in loops:
        loop.stop()
    await asyncio.wait({running}, timeout=max(deadline - clock.monotonic(), 0.0))
    if running.done():
        await running
    running.cancel()
    await worker.drain(deadline - clock.monotonic())


@asynccontextmanager
async def system_on(
    store: Store, settings: Settings, *, clock: Clock, events: Events, stalled_after: timedelta = STALLED
) -> AsyncIterator[System]:
    """Build the system on an open store; its leases are kept until the block is left.

    Without a turn for `stalled_after`, or three times the poll interval, it counts as dead.
    """
    metrics = Metrics(clock)
    store = timed(store, metrics.stopwatch)
    events.subscribe(metrics.observe)
    guard = ClockGuard(clock, events, store.known_at)
    store = guard.over(store)
    async with worker_on(store, settings, clock=clock, events=events) as worker:
        tzdata = Tzdata(store.engine().timezones(), events, tzdata_version())
        turns = _turns(store, settings, worker, guard, tzdata)
        loops = tuple(loop_of(name, turn, clock, events) for name, turn in turns.items())
        patience = max(stalled_after, 3 * settings.poll_interval)
        system = System(settings, store, worker, loops, guard, tzdata, clock, metrics, events, patience)
        store.hear(system.hear)
        yield system


@asynccontextmanager
async def worker_on(store: Store, settings: Settings, *, clock: Clock, events: Events) -> AsyncIterator[Worker]:
    """Build a worker with its tools; its leases are kept until the block is left."""
    tools = Tools.open(
        rules_of(settings),
        concurrency=settings.worker_concurrency,
        base_env=base_environment(),
        mailer=mailer_of(settings),
    )
    async with tools as lent:
        poll = settings.poll_interval.total_seconds()
        config = WorkerConfig(
            worker_name(),
            settings.worker_concurrency,
            settings.lease,
            poll,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=version_of_this_package(),
            ring=KeyRing(settings.secret_keys),
        )
        events.subscribe(Outages(clock, events).observe)
        worker = Worker(store.worker(), lent, config, clock=clock, events=events)
        async with worker.serving():
            yield worker


@asynccontextmanager
async def guarded(store: Store, *, clock: Clock, events: Events) -> AsyncIterator[Store]:
    """Give the store to who does not plan on it, under a guard that looks at the clock until the block is left."""
    guard = ClockGuard(clock, events, store.known_at)
    guarded = guard.over(store)
    looking = asyncio.create_task(loop_of(CLOCK, guard.noting(guarded), clock, events).run())
    try:
        yield guarded
    finally:
        looking.cancel()
        await asyncio.wait([looking])


def api_on(
    store: Store, around: Surroundings, health: Callable[[], Health], metrics: Scrape, settings: Settings
) -> Any:  # noqa: ANN401
    """Build the API, an ASGI application."""
    from backend.api.app import create_app  # dear to import, and not every process has an API

    web = WebMetrics(version_of_this_package())
    around.events.subscribe(web.observe)
    page = page_of(metrics, web, health)
    return create_app(
        Context(
            store,
            around,
            health,
            page,
            version_of_this_package(),
            metrics_public=settings.metrics_public,
            requests_per_second=settings.requests_per_second,
        )
    )


def surroundings_of(settings: Settings, events: Events, bell: Callable[[str], Ring]) -> Surroundings:
    """Build what use cases are given; `bell` finds what rings the engine's, by name."""
    wake_engine, wake_workers, check_leases = map(bell, BELLS)
    return Surroundings(
        rules=rules_of(settings),
        events=events,
        defaults={
            "retry": {  # as JSON, like what it is put into
                "max_attempts": settings.retry_max_attempts,
                "initial": format_duration(settings.retry_initial),
                "maximum": format_duration(settings.retry_maximum),
                "multiplier": settings.retry_multiplier,
            }
        },
        wake_engine=wake_engine,
        wake_workers=wake_workers,
        check_leases=check_leases,
        entropy=secrets.token_bytes,
        ring=KeyRing(settings.secret_keys),
    )


def _turns(store: Store, settings: Settings, worker: Worker, guard: ClockGuard, tzdata: Tzdata) -> dict[str, Turn]:
    engine, poll, clock, events = store.engine(), settings.poll_interval.total_seconds(), guard.clock, guard.events
    tick = Tick(engine, clock, events, worker.wake, poll, check_leases=worker.beating.bell.ring)
    reap = Reap(engine, events, worker.wake, settings.lease)
    callees = Listening(engine, events, worker.wake)
    prune = Prune(
        engine,
        Retention(
            settings.retention_runs,
            settings.retention_failures,
            settings.retention_deleted,
            settings.retention_keep,
            settings.retention_audit,
        ),
        clock,
    )

    lateness = Lateness(engine, worker.wake)
    auditor = Auditor(engine.history(), clock, events)

    async def beat_then_reap() -> float:
        # After this whole machine slept, our own leases are over as well: renewing them first keeps running work.
        await worker.beat()
        ended = await callees.turn(REAPED)
        return 0.0 if ended == REAPED else await reap.turn()

    return {
        ENGINE: guard.around(tzdata.soon_before(tick.turn)),
        "reaper": guard.around(beat_then_reap),
        "pruner": guard.around(prune.turn),
        "auditor": guard.before(auditor.turn, store.admin().now),
        "tzdata": guard.before(tzdata.turn, store.admin().now),
        "lateness": guard.before(lateness.turn, store.admin().now),
        CLOCK: guard.noting(store),
    }


def loop_of(name: str, turn: Turn, clock: Clock, events: Events) -> Loop:
    """Make a loop with a bell of its own; while it fails, the engine rests no longer than FIRING_PAUSE."""
    longest = FIRING_PAUSE if name == ENGINE else LONGEST_PAUSE
    return Loop(name, turn, clock=clock, events=events, bell=Doorbell(), longest_pause=longest)


def rules_of(settings: Settings) -> TargetRules:
    """Say what targets may do on this server."""
    return TargetRules(
        settings.allow_commands,
        settings.allow_private_urls,
        settings.python_targets,
        mail=settings.smtp_url is not None,
        traced=settings.otlp_endpoint is not None,
        public_url=settings.public_url,
    )


def worker_name() -> str:
    """Name this worker: host, process, and a few random digits, since process ids come back."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"


def version_of_this_package() -> str:
    """Read the installed version; `0` when running from a bare checkout."""
    try:
        return version("agent-scheduler")
    except PackageNotFoundError:
        return "0"
