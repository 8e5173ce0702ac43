"""The herd: N schedules due at one instant, until the last run is finished and durable.

    python -m benchmarks.herd                     1,000 and 10,000 schedules, no-op target
    python -m benchmarks.herd -n 1000 --http      with POST requests to a sink on loopback
    python -m benchmarks.herd --database URL      on a PostgreSQL

The store has its durable settings (WAL, synchronous=FULL). Beside the product runs, in the same run and on the same
disk, the bare limit: the same rows written by plain set-based SQL without any scheduler. Trust the ratios; absolute
figures wobble with the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import cast

import apsw
import uvloop

from backend.clock import SystemClock
from backend.engine.errand import load_errand
from backend.engine.loop import Doorbell, Loop
from backend.engine.tick import Tick
from backend.events import AttemptFinished, Events, Fact, OccurrencesRecorded
from backend.model.attempt import AttemptResult
from backend.model.ids import DEFAULT_NAMESPACE
from backend.model.instants import SECOND, rfc3339
from backend.service.schedules import Batch, Schedules, Surroundings
from backend.store.open import open_store
from backend.store.port import Store
from backend.store.sqlite.connection import Connection
from backend.store.sqlite.migrate import migrate
from backend.targets.base import Succeeded, TargetRules, Tools
from backend.worker.attempt import result_of
from backend.worker.loop import Worker, WorkerConfig, _Slot

HEADSTART = 1.0
SINK_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"
CLOCK = SystemClock()


class NoopWorker(Worker):
    """A worker whose attempts succeed at once: what is measured is everything around them."""

    async def _perform(self, slot: _Slot) -> AttemptResult | None:
        return result_of(slot.assignment, load_errand(slot.assignment.errand), Succeeded())


@dataclass
class Herd:
    """Waits until N runs are recorded, and finished."""

    size: int
    recorded: int = 0
    finished: int = 0
    recorded_at: int = 0
    finished_at: int = 0
    lateness: list[float] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def observe(self, fact: Fact) -> None:
        if isinstance(fact, OccurrencesRecorded):
            self.recorded += fact.runs
            self.recorded_at = CLOCK.now()
        elif isinstance(fact, AttemptFinished):
            self.finished += fact.run_state == "succeeded"
            self.finished_at = CLOCK.now()
            self.lateness.append((fact.started_at - fact.scheduled_at) / SECOND)
            if self.finished == self.size:
                self.done.set()


async def main(arguments: argparse.Namespace) -> None:
    kind = "HTTP to a loopback sink" if arguments.http else "no-op"
    store = "PostgreSQL" if arguments.database else "SQLite WAL + FULL"
    print(f"herd, {kind} target, concurrency {arguments.concurrency}, {store}; bare SQL: SQLite WAL + FULL\n")
    print(
        f"{'N':>7} {'materialised/s':>15} {'finished/s':>11} {'lateness p50':>13} {'p99':>9} "
        f"{'bare SQL: insert/s':>19} {'life cycle/s':>13} {'ratio':>6}"
    )
    for size in arguments.n:
        rounds = [await one_round(size, arguments) for _ in range(arguments.rounds)]
        print_round(size, sorted(rounds, key=lambda r: r[1])[len(rounds) // 2])


Round = tuple[float, float, list[float], float, float]


def print_round(size: int, measured: Round) -> None:
    materialised, finished, lateness, insert, cycle = measured
    print(
        f"{size:>7,} {materialised:>15,.0f} {finished:>11,.0f} {percentile(lateness, 50):>11.3f} s "
        f"{percentile(lateness, 99):>7.3f} s {insert:>19,.0f} {cycle:>13,.0f} {finished / cycle:>6.2f}"
    )


def percentile(values: Sequence[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


async def one_round(size: int, arguments: argparse.Namespace) -> Round:
    folder = Path(tempfile.mkdtemp(prefix="herd-", dir=arguments.folder))
    try:
        herd = Herd(size)
        due_at = await run_herd(folder, herd, arguments)
        seconds = (herd.recorded_at - due_at) / SECOND, (herd.finished_at - due_at) / SECOND
        assert herd.recorded == size, f"{herd.recorded} of {size} recorded"
        insert, cycle = await asyncio.to_thread(bare_limit, folder / "bare.db", size)
        return size / seconds[0], size / seconds[1], herd.lateness, insert, cycle
    finally:
        shutil.rmtree(folder)


def database_of(folder: Path, arguments: argparse.Namespace) -> str:
    """Name a database for one round: a file, or a schema that is left to whoever named the server."""
    if arguments.database is None:
        return f"sqlite:///{folder}/scheduler.db"
    joint = "&" if "?" in arguments.database else "?"
    return f"{arguments.database}{joint}schema={folder.name.replace('-', '_')}"


async def run_herd(folder: Path, herd: Herd, arguments: argparse.Namespace) -> int:
    store = await open_store(database_of(folder, arguments))
    events = Events()
    events.subscribe(herd.observe)
    rules = TargetRules(allow_commands=False, allow_private_urls=True)
    config = WorkerConfig("herd", arguments.concurrency, timedelta(seconds=15))
    kind = Worker if arguments.http else NoopWorker
    async with sink() as url, Tools.open(rules, concurrency=arguments.concurrency) as tools:
        worker = kind(store.worker(), tools, config, clock=CLOCK, events=events)
        tick = Tick(store.engine(), CLOCK, events, worker.wake)
        engine = Loop("engine", tick.turn, clock=CLOCK, events=events, bell=Doorbell())
        due_at = await create(store, herd.size, url, rules, events)
        async with worker.serving():
            tasks = [asyncio.create_task(engine.run()), asyncio.create_task(worker.claiming.run())]
            await asyncio.wait_for(herd.done.wait(), 600)
            engine.stop()
            worker.claiming.stop()
            await asyncio.gather(*tasks)
            await worker.drain(5)
    await asyncio.to_thread(store.close)
    return due_at


async def create(store: Store, size: int, url: str, rules: TargetRules, events: Events) -> int:
    around = Surroundings(rules, events, {"retry": {}}, nothing, nothing, nothing, bytes)
    schedules = Schedules(store.namespace(DEFAULT_NAMESPACE), "benchmark", around)
    # Far enough ahead that all exist before the instant: creating takes about a second per 10,000.
    due_at = (CLOCK.now() // SECOND + round(HEADSTART + 2 + size / 2500)) * SECOND
    trigger = {"kind": "interval", "every": "1d", "anchor": rfc3339(due_at)}
    target = {"kind": "http", "url": url}
    for start in range(0, size, 10_000):
        numbers = range(start, min(size, start + 10_000))
        await schedules.apply(Batch([{"id": f"herd-{n}", "triggers": [trigger], "target": target} for n in numbers]))
    late = CLOCK.now() - due_at
    assert late < 0, f"creating took {late / SECOND:.1f} s too long"
    return due_at


def nothing() -> None:
    """Wake nobody: the loops start later."""


@contextlib.asynccontextmanager
async def sink() -> AsyncIterator[str]:
    """Answer every request with 200, as cheaply as Python can."""

    class Answer(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.Transport", transport)  # uvloop has its own, of the same shape

        def data_received(self, data: bytes) -> None:
            if b"\r\n\r\n" in data:
                self.transport.write(SINK_ANSWER)

    server = await asyncio.get_running_loop().create_server(Answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


def bare_limit(path: Path, size: int) -> tuple[float, float]:
    """Write the same rows with plain SQL: insert + cursor per second, and with claim and finish per second."""
    migrate(path)
    raw = Connection(path).raw
    fill(raw, size)
    began = CLOCK.monotonic()
    for start in range(0, size, 1000):
        insert_batch(raw, start, min(size, start + 1000))
    inserted = CLOCK.monotonic() - began
    for start in range(0, size, 1000):
        finish_batch(raw, start, min(size, start + 1000))
    cycle = CLOCK.monotonic() - began
    raw.close()
    return size / inserted, size / cycle


def fill(raw: apsw.Connection, size: int) -> None:
    columns = (
        "namespace, id, name, target_kind, state, definition, triggers, revision, created_at, created_by, updated_at, "
        "effective_at, cursor_at, next_nominal_at, next_scheduled_at, misfire_policy, misfire_threshold, "
        "catchup_window, overlap_policy, delivery, pause_after_failures"
    )
    row = "('default', ?, ?, 'http', 'active', ?, '[]', 1, 0, 'b', 0, 0, 0, 1, 1, 'fire_once', 1, 1, 'skip', 'x', 5)"
    raw.execute("begin immediate")
    raw.executemany(
        f"insert into schedules ({columns}) values {row}", [(f"h{n}", f"h{n}", "d" * 500) for n in range(size)]
    )
    raw.execute("commit")


def insert_batch(raw: apsw.Connection, start: int, end: int) -> None:
    raw.execute("begin immediate")
    raw.executemany(
        "insert into runs (id, schedule_key, namespace, nominal_at, backfill_id, trigger_type, state, scheduled_at, "
        "queued_at, available_at, retry_until_at, chained, revision) "
        "values (?, ?, 'default', 1, '', 'schedule', 'queued', 1, 1, 1, 1, 0, 1)",
        [(f"01a20543-c6c8-7714-996e-{n:012}", n + 1) for n in range(start, end)],
    )
    raw.executemany(
        "update schedules set cursor_at = 1, next_nominal_at = 2, next_scheduled_at = 2 where key = ?",
        [(n + 1,) for n in range(start, end)],
    )
    raw.execute("commit")


def finish_batch(raw: apsw.Connection, start: int, end: int) -> None:
    keys = [(n + 1,) for n in range(start, end)]
    raw.execute("begin immediate")
    raw.executemany(
        "update runs set state = 'running', attempt = 1, lease_token = 't', lease_until = 1 where key = ?", keys
    )
    raw.execute("commit")
    raw.execute("begin immediate")
    raw.executemany(
        "update runs set state = 'succeeded', lease_token = null, lease_until = null, finished_at = 1 where key = ?",
        keys,
    )
    raw.executemany(
        "insert into attempts (run_key, number, state, started_at, finished_at, worker) "
        "values (?, 1, 'succeeded', 1, 1, 'w')",
        keys,
    )
    raw.execute("commit")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, nargs="+", default=[1000, 10_000], help="sizes of the herd")
    parser.add_argument("--http", action="store_true", help="POST to a sink on loopback instead of doing nothing")
    parser.add_argument("--concurrency", type=int, default=1000, help="attempts in flight (the server's default is 64)")
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many is printed")
    parser.add_argument("--database", default=None, help="a postgresql:// URL; each round makes a schema of its own")
    parser.add_argument(
        "--folder", default=None, help="where the database is made; default: the system's temporary one"
    )
    return parser.parse_args()


if __name__ == "__main__":
    uvloop.run(main(arguments()))
