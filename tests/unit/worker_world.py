"""A worker on a real store, with clocks set by hand, and an HTTP server that answers when told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from backend.engine.definition import ScheduleDefinition
from backend.engine.plan import plan_all
from backend.engine.retry import settle_lost
from backend.events import Events, Fact
from backend.model.change import Change, Moment
from backend.model.ids import DEFAULT_NAMESPACE
from backend.model.instants import SECOND
from backend.model.schedule import Schedule
from backend.service.drafts import Draft, revise
from backend.store.open import open_store
from backend.store.planning import Reaping
from backend.store.port import Store
from backend.store.runs import RunFilter, RunRecord
from backend.store.schedules import Wish
from backend.targets.base import TargetRules, Tools
from backend.worker.loop import Worker, WorkerConfig
from tests.databases import sql, url_in

DEADLINE = 20
LEASE = timedelta(seconds=15)
START = 1_800_000_000 * SECOND


@dataclass
class HandClock:
    """Stands still until it is moved."""

    instant: int = START
    ticks: float = 1_000.0

    def now(self) -> int:
        return self.instant

    def monotonic(self) -> float:
        return self.ticks

    def uptime(self) -> float:
        return self.ticks

    def advance(self, seconds: float) -> None:
        self.instant += int(seconds * SECOND)
        self.ticks += seconds


@dataclass
class Gate:
    """Holds every request until `open` is set; remembers who came and who hung up."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    hung_up: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            await reader.readexactly(int(fields.get("content-length", "0")))
            self.keys.append(fields["idempotency-key"])
            opened, gone = asyncio.create_task(self.open.wait()), asyncio.create_task(reader.read(1))
            await asyncio.wait([opened, gone], return_when=asyncio.FIRST_COMPLETED)
            if gone.done() and not opened.done():
                self.hung_up += 1
            else:
                status = self.statuses.pop(0) if self.statuses else 200
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok".encode())
            opened.cancel()
            gone.cancel()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # whoever came left before saying anything
        finally:
            writer.close()


@dataclass
class World:
    url: str
    clock: HandClock
    store: Store
    tools: Tools
    gate: Gate
    facts: list[Fact]
    events: Events
    worker: Worker

    def another_worker(self) -> Worker:
        config = WorkerConfig("w2", 8, LEASE)
        return Worker(self.store.worker(), self.tools, config, clock=self.clock, events=self.events)

    async def put(self, id_: str = "job", **fields: Any) -> None:
        """Make a schedule that calls the gate every hour, unless `fields` say otherwise."""
        document = {
            "id": id_,
            "triggers": [{"kind": "interval", "every": "1h"}],
            "target": {"kind": "http", "url": self.gate.url},
            "retry": {"initial": "0s", "maximum": "0s"},
        }
        definition = ScheduleDefinition.model_validate(document | fields)

        def decide(_: str, current: Schedule | None, open_run: bool, moment: Moment) -> Change:
            return revise(Draft(definition, "tester"), current, moment, open_run=open_run)

        await self.store.namespace(DEFAULT_NAMESPACE).change(Wish([id_], decide))

    async def due(self, seconds: float = 3600) -> None:
        """Let time pass, and plan."""
        self.clock.advance(seconds)
        await self.store.engine().take_turn(plan_all, 1000)

    async def begun(self, attempts: int = 1) -> None:
        """Claim, and wait until so many requests have come in all."""
        await self.worker.turn()
        await until(lambda: len(self.gate.keys) >= attempts)

    async def reap(self) -> Reaping:
        return await self.store.engine().reap(settle_lost, 100, LEASE)

    async def runs(self) -> list[RunRecord]:
        return await self.store.namespace(DEFAULT_NAMESPACE).runs(RunFilter(), after=None, limit=100)

    async def run(self) -> RunRecord:
        [record] = await self.runs()
        return record

    async def history(self) -> tuple[str, list[str]]:
        """The only run's state, and how its attempts ended."""
        record = await self.run()
        return record.run.state, [attempt.state for attempt in record.attempts]

    def told(self, kind: type[Fact]) -> int:
        return sum(isinstance(fact, kind) for fact in self.facts)

    def execute(self, statement: str) -> None:
        """Change the database behind everybody's back."""
        sql(self.url, statement)


@asynccontextmanager
async def world(folder: Path, *, concurrency: int = 8) -> AsyncIterator[World]:
    clock, gate, events = HandClock(), Gate(), Events()
    facts: list[Fact] = []
    events.subscribe(facts.append)
    url = url_in(folder)
    store = await open_store(url, clock=clock)
    server = await asyncio.start_server(gate.answer, "127.0.0.1", 0)
    gate.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    rules = TargetRules(allow_commands=False, allow_private_urls=True)
    try:
        async with asyncio.timeout(2 * DEADLINE), Tools.open(rules) as tools:
            config = WorkerConfig("w1", concurrency, LEASE)
            worker = Worker(store.worker(), tools, config, clock=clock, events=events)
            yield World(url, clock, store, tools, gate, facts, events, worker)
    finally:
        gate.open.set()
        server.close()
        store.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event of ours
            await asyncio.sleep(0.005)
