"""A replica as the wiring makes it: the real loops of engine, reaper, pruner and worker, on a store that fails."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import NamedTuple, TypeVar

from backend.clock import Clock
from backend.engine.clock_guard import ClockGuard
from backend.engine.loop import Loop, Turn
from backend.engine.prune import Prune
from backend.engine.reap import Reap
from backend.engine.tick import Tick
from backend.errors import SchedulerError, StoreUnavailable
from backend.events import Events, Fact, LoopFailed
from backend.executor.wiring import CLOCK, loop_of
from backend.model.plan import Planner
from backend.store.admin import noted_clock
from backend.store.operation import Operation
from backend.store.port import Store
from backend.store.retention import Retention
from backend.targets.base import Tools
from backend.worker.loop import Worker, WorkerConfig
from tests.simulation.database import STORE_ID, Database
from tests.simulation.scenario import Rates, Scenario

T = TypeVar("T")
LONG = timedelta(days=30)
GRACE = 10.0
INJECTED = "injected"


@dataclass
class Faults:
    """What may befall the commits of one caller."""

    rng: Random
    rates: Rates
    lease: float

    def draw(self) -> str:
        """Name what befalls the next operation; mostly nothing."""
        place = self.rng.random()
        for name, rate in zip(Rates._fields, self.rates, strict=True):
            if place < rate:
                return name
            place -= rate
        return ""


class FaultyRunner:
    """Runs operations for one caller, which can be frozen or dead; every answer may be a lie by omission."""

    def __init__(self, name: str, database: Database, faults: Faults, hear: Callable[..., None]) -> None:
        self.name = name
        self.frozen_until = 0.0
        self.dead = False
        self._database = database
        self._faults = faults
        self._hear = hear
        self._loop = asyncio.get_running_loop()

    async def read(self, operation: Operation[T]) -> T:
        await self._awake()
        try:
            return self._database.read(operation)
        finally:
            operation.close()

    async def write(self, operation: Operation[T]) -> T:
        name = _name_of(operation)
        fate = self._faults.draw()
        rng = self._faults.rng
        freezes_first = fate == "frozen" and rng.random() < 0.5
        if freezes_first:
            self.freeze(self._faults.lease * rng.choice((0.5, 1.5, 3.0)))
        try:
            # No store answers before whoever asked has let others go on.
            await asyncio.sleep(rng.random() * 0.1 if rng.random() < 0.3 else 0)
            await self._awake()
            if fate == "before":
                self._hear(self.name, name, fate, None)
                raise StoreUnavailable(INJECTED)
            result = self._run(operation, name, fate)
        finally:
            operation.close()
        if fate == "frozen" and not freezes_first:
            self.freeze(self._faults.lease * rng.choice((0.5, 1.5, 3.0)))
        if self._database.deferred and (rest := self._database.second_half()) is not None:
            await asyncio.sleep(0)
            if rng.random() < self._faults.rates.before:
                raise StoreUnavailable(INJECTED)
            self._run(rest, "second half", "")
        if self.frozen_until:
            await self._awake()
        if fate in {"undone", "unknown"}:
            raise StoreUnavailable(INJECTED)
        return result

    def _run(self, operation: Operation[T], name: str, fate: str) -> T:
        try:
            result, commit = self._database.write(operation, undone=fate == "undone")
        except SchedulerError:
            self._hear(self.name, name, "refused", None)
            raise
        self._hear(self.name, name, fate, commit)
        return result

    def known_at(self) -> int:
        """Read what time was noted last, as on opening a store."""
        return self._database.read(noted_clock())

    def freeze(self, seconds: float) -> None:
        """Let nothing through for a while; what was on its way goes on after it."""
        self.frozen_until = max(self.frozen_until, self._loop.time() + seconds)

    async def _awake(self) -> None:
        while self.dead or self.frozen_until > self._loop.time():  # noqa: ASYNC110 - it thaws at a time
            await asyncio.sleep(1e6 if self.dead else self.frozen_until - self._loop.time())
        self.frozen_until = 0.0


def _name_of(operation: Operation[T]) -> str:
    """Name an operation, also under the guard of the clock."""
    guarded = inspect.getgeneratorlocals(operation).get("operation", operation)
    return str(getattr(guarded, "__name__", ""))


class Careless(ClockGuard):
    """A planted bug: whatever the database's clock says is believed."""

    def check(self, now: int) -> None:
        """Believe it."""


class Machine(NamedTuple):
    """Where a replica runs: its clock, and how it is planned there."""

    clock: Clock
    plan: Planner
    unguarded: bool

    def guard(self, events: Events, known_at: int | None) -> ClockGuard:
        """Guard the database's clock."""
        return (Careless if self.unguarded else ClockGuard)(self.clock, events, known_at)


class Replica:
    """Engine and worker in one process. A crash loses all that is not committed."""

    def __init__(self, scenario: Scenario, runner: FaultyRunner, tools: Tools, machine: Machine) -> None:
        self.runner = runner
        self.failures: list[str] = []
        events = Events()
        events.subscribe(self._note)
        guard = machine.guard(events, runner.known_at())
        store = guard.over(Store(runner, STORE_ID, lambda: None))
        config = WorkerConfig(runner.name, scenario.concurrency, timedelta(seconds=scenario.lease), scenario.poll)
        self.worker = Worker(store.worker(), tools, config, clock=machine.clock, events=events)
        self._loops = self._made(scenario, store, guard, machine.plan)
        self._task = asyncio.create_task(self._live())

    def _made(self, scenario: Scenario, store: Store, guard: ClockGuard, plan: Planner) -> list[Loop]:
        clock, events = guard.clock, guard.events
        engine, worker, lease = store.engine(), self.worker, timedelta(seconds=scenario.lease)
        tick = Tick(
            engine,
            clock,
            events,
            worker.wake,
            scenario.poll,
            scenario.batch,
            check_leases=worker.beating.bell.ring,
            plan=plan,
        )
        reap = Reap(engine, events, worker.wake, lease)
        kept = LONG if scenario.keep is None else timedelta(seconds=scenario.keep)
        prune = Prune(engine, Retention(kept, 2 * kept, kept, 1000), clock)

        async def beat_then_reap() -> float:
            await worker.beat()
            return await reap.turn()

        turns: dict[str, Turn] = {"engine": tick.turn, "reaper": beat_then_reap}
        if scenario.keep is not None:
            turns["pruner"] = prune.turn
        turns = {name: guard.around(turn) for name, turn in turns.items()} | {CLOCK: guard.noting(store)}
        return [worker.claiming, *(loop_of(name, turn, clock, events) for name, turn in turns.items())]

    def _note(self, fact: Fact) -> None:
        if isinstance(fact, LoopFailed) and INJECTED not in fact.error:
            self.failures.append(f"{fact.loop}: {fact.error}\n{fact.traceback}")

    async def _live(self) -> None:
        tasks: list[asyncio.Task[None]] = []
        try:
            async with self.worker.serving():
                tasks += [asyncio.create_task(loop.run()) for loop in self._loops]
                await asyncio.gather(*tasks)
                await self.worker.drain(GRACE)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def drain(self) -> None:
        """Leave as after SIGTERM; what the store refuses is left to the end of its lease."""
        for loop in self._loops:
            loop.stop()
        await asyncio.wait([self._task], timeout=3 * GRACE)
        await self.crash()

    async def crash(self) -> None:
        """End as after SIGKILL."""
        self.runner.dead = True
        self._task.cancel()
        await asyncio.wait([self._task])
