"""Runs one seed: builds the world, lets it go on, lets it come to rest, judges it."""

from __future__ import annotations

import asyncio
import gc
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from random import Random
from typing import NamedTuple

from backend.engine.auditor import Audit, Bookmark
from backend.events import Events
from backend.store.history import HistoryStore
from tests.simulation import invariants
from tests.simulation.database import NO_PLANT, POISON, Database, Plant, heal, poison
from tests.simulation.invariants import Memory, Violation
from tests.simulation.mirror import Commit, RunNow
from tests.simulation.people import Api, Person
from tests.simulation.replicas import Faults, FaultyRunner, Machine, Replica
from tests.simulation.scenario import Act, Rates, Scenario, Trouble, draw
from tests.simulation.simulated_loop import DatabaseClock, Deadlock, SimulatedLoop, SkewedClock
from tests.simulation.targets import Dispatched, Outside

COLLECT_EVERY = 25
_HISTORIES = count(1)
MOST_ASKED = 50_000
"""Transactions of one history; more are a loop that never rests."""
PATIENCE = 1800.0
"""Seconds in which all must come to rest once nothing fails any more."""


class Report(NamedTuple):
    """What a history came to."""

    scenario: Scenario
    violation: Violation | None
    trace: list[tuple[object, ...]]
    commits: int
    requests: int
    runs: int

    @property
    def digest(self) -> str:
        """The same for the same history."""
        return hashlib.blake2b(repr(self.trace).encode(), digest_size=8).hexdigest()


def simulate(seed: int | str, plant: Plant = NO_PLANT) -> Report:
    """Run the history of a seed."""
    return run(draw(str(seed)), plant)


def run(scenario: Scenario, plant: Plant = NO_PLANT, only: frozenset[str] = frozenset()) -> Report:
    """Run the history of a scenario; `only` these invariants are looked at after commits, if any are named."""
    loop = SimulatedLoop()
    clock = DatabaseClock(loop, scenario.start)
    database = Database(clock, plant)
    world = World(scenario, database, clock, loop)
    world.memory.only = only
    violation = None
    try:
        with _no_collection():
            loop.run_until_complete(world.live())
    except Violation as found:
        violation = found
    except Deadlock:
        violation = Violation("somebody_always_goes_on", "everybody waits for nothing")
    finally:
        _end(loop)
        database.close()
    return Report(scenario, violation, world.trace, world.commits, world.requests, len(database.mirror.runs))


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector from ending things in an order of its own."""
    gc.disable()
    try:
        yield
    finally:
        # What is left over is looked through now and then only: it would take a third of the time.
        gc.freeze()
        if next(_HISTORIES) % COLLECT_EVERY == 0:
            gc.unfreeze()
            gc.collect()
        gc.enable()


def _end(loop: SimulatedLoop) -> None:
    """Let nothing go on after the history, nor complain about it."""
    loop.set_exception_handler(lambda *_: None)
    # Who is cancelled while it waits for another may have to be told twice.
    while tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        with suppress(Deadlock):
            loop.run_until_complete(asyncio.wait(tasks, timeout=1.0))
    loop.close()


class World:
    """All that there is in one history."""

    def __init__(self, scenario: Scenario, database: Database, clock: DatabaseClock, loop: SimulatedLoop) -> None:
        self.scenario = scenario
        self.trace: list[tuple[object, ...]] = []
        self.commits = 0
        self.requests = 0
        self._asked = 0
        self._database = database
        self._clock = clock
        self._loop = loop
        self.memory = Memory(database.mirror, clock.right)
        self._api = Api(clock.now, self._machine(0).guard(Events(), None))
        self._outside = Outside(scenario.seed, scenario.misbehaviour, scenario.slowness, self._on_request)
        self._replicas: dict[int, Replica] = {}
        self._lives = 0
        self._faults: list[Faults] = []
        self._stopped = False
        self._broken: Violation | None = None
        self._stopped_at = 0
        self._all_over: asyncio.Future[None] = loop.create_future()

    async def live(self) -> None:
        """Go through the history; Violation at the first invariant that does not hold."""
        history = asyncio.create_task(self._history())
        await asyncio.wait([history, self._all_over], return_when=asyncio.FIRST_COMPLETED)
        if self._broken is not None:
            raise self._broken
        await history

    async def _history(self) -> None:
        scenario = self.scenario
        calm = FaultyRunner("prepare", self._database, Faults(Random(0), Rates(), scenario.lease), self._on_commit)
        await self._person(calm).prepare()
        for number in range(scenario.replicas):
            self._start(number)
        doings = [asyncio.create_task(self._befall(trouble)) for trouble in scenario.troubles]
        doings += [asyncio.create_task(self._do(act)) for act in scenario.acts]
        await asyncio.sleep(scenario.horizon)
        await self._come_to_rest(doings)
        for replica in self._replicas.values():
            await replica.crash()
        await self._judge(calm)

    def _start(self, number: int) -> None:
        self._lives += 1
        name = f"r{number}.{self._lives}"
        runner = self._runner(name)
        skew = Random(f"{self.scenario.seed}/skew/{number}").uniform(-1e6, 1e6)
        self._replicas[number] = Replica(self.scenario, runner, self._outside.tools(name), self._machine(skew))

    def _machine(self, skew: float) -> Machine:
        plant = self._database.plant
        return Machine(SkewedClock(self._loop, self._clock.right, skew), plant.plan, plant.unguarded)

    def _person(self, runner: FaultyRunner) -> Person:
        return Person(self.scenario, runner, self._database.mirror, self._api)

    def _runner(self, name: str) -> FaultyRunner:
        rates = Rates() if self._stopped else self.scenario.rates
        faults = Faults(Random(f"{self.scenario.seed}/faults/{name}"), rates, self.scenario.lease)
        self._faults.append(faults)
        return FaultyRunner(name, self._database, faults, self._on_commit)

    async def _befall(self, trouble: Trouble) -> None:
        await asyncio.sleep(trouble.at)
        replica = self._replicas[trouble.replica]
        self._tell("trouble", trouble.kind, replica.runner.name, round(trouble.length, 1))
        await self._strike(trouble, replica)

    async def _strike(self, trouble: Trouble, replica: Replica) -> None:
        match trouble.kind:
            case "clock":
                self._clock.step(trouble.length)
            case "wrong":
                self._clock.step(trouble.length)
                await asyncio.sleep(10 + trouble.at % 80)
                self._tell("the clock is right again")
                self._clock.step(-trouble.length)
            case "poison" if self.scenario.ids:
                await self._poison(self.scenario.ids[trouble.replica % len(self.scenario.ids)], trouble.length)
            case "freeze":
                replica.runner.freeze(trouble.length)
            case "crash" | "drain":
                await (replica.crash() if trouble.kind == "crash" else replica.drain())
                await asyncio.sleep(trouble.length)
                if self._replicas[trouble.replica] is replica:
                    self._start(trouble.replica)

    async def _poison(self, id_: str, seconds: float) -> None:
        """Let a schedule not be planned for some time, or with 0 for ever."""
        found = [s for s in self._database.mirror.schedules.values() if s.id == id_ and s.deleted_at is None]
        for schedule in found:
            if schedule.triggers != POISON:
                self._database.write(poison(schedule.key))
                await asyncio.sleep(seconds)
                if seconds:
                    self._tell("healed", id_)
                    self._database.write(heal(schedule.key, schedule.triggers))

    async def _do(self, act: Act) -> None:
        await asyncio.sleep(act.at)
        self._tell("person", act.verb, act.schedule)
        runner = self._runner(f"person {act.seed}")
        await self._person(runner).do(act)

    async def _come_to_rest(self, doings: list[asyncio.Task[None]]) -> None:
        """Stop all faults, wake who is frozen, start who is dead, resume what is paused, and wait."""
        self._tell("the faults stop")
        self._stopped = True
        self._outside.misbehaviour, self._outside.slowness = 0, 1
        for faults in self._faults:
            faults.rates = Rates()
        await asyncio.gather(*doings)
        for replica in self._replicas.values():
            replica.runner.frozen_until = 0.0
        person = self._person(self._runner("resume"))
        await person.resume_all()
        stopped_at = self._clock.now()
        deadline = self._loop.elapsed + PATIENCE
        while self._loop.elapsed < deadline:
            await asyncio.sleep(self.scenario.poll)
            # An attempt that had begun before may be the failure after which a schedule pauses itself.
            await person.resume_all()
            still_open = any(invariants.every_run_comes_to_its_end(self.memory, stopped_at))
            if not still_open and self._nothing_is_due_since(stopped_at):
                break
        self._stopped_at = stopped_at

    def _nothing_is_due_since(self, instant: int) -> bool:
        asked = """select 1 from schedules
        where triggers <> ? and (next_scheduled_at <= ? or state = 'error' and deleted_at is null) limit 1"""
        return not self._database.mirror.ask(asked, POISON, instant)

    async def _judge(self, calm: FaultyRunner) -> None:
        invariants.judge_end(self.memory, self._stopped_at)
        audit = Audit(HistoryStore(calm, None), 0, self._clock.now())
        place: Bookmark | None = Bookmark()
        while place is not None:
            place = await audit.batch(place)
        found = audit.found
        unverified = [one for one in found.unverified if one[0] not in self.memory.unreadable]
        if found.missing or found.doubled or unverified:
            text = f"missing {found.missing}, doubled {found.doubled}, unverified {unverified}"
            raise Violation("the_audit_finds_nothing", text)
        self._tell("audit", found.schedules, found.expected, found.recorded)

    def _on_commit(self, actor: str, operation: str, fate: str, commit: Commit | None) -> None:
        self._asked += 1
        if self._asked > MOST_ASKED:
            self._judged(_never_rests)
        if commit is None:
            if fate:
                self._tell(actor, operation, fate)
            return
        self.commits += 1
        moves = [_move(before, after) for before, after in commit.runs]
        self._tell(actor, operation, fate, moves, [(a.id, a.state, a.cursor_at) for _, a in commit.schedules if a])
        self._judged(lambda: invariants.judge_commit(self.memory, commit))

    def _on_request(self, dispatched: Dispatched) -> None:
        self.requests += 1
        self._tell(dispatched.replica, "sends", dispatched.key, dispatched.attempt)
        self._judged(lambda: invariants.judge_request(self.memory, dispatched))

    def _judged(self, judge: Callable[[], None]) -> None:
        try:
            judge()
            for replica in self._replicas.values():
                for failure in replica.failures:
                    raise Violation("nothing_fails_by_itself", failure)
        except Violation as violation:
            # Nobody in the world may catch it: the history ends here.
            self._tell("VIOLATION", str(violation))
            if self._broken is None:
                self._broken = violation
                self._all_over.set_result(None)

    def _tell(self, *words: object) -> None:
        if self._broken is None:
            self.trace.append((round(self._loop.elapsed, 3), *words))


def _never_rests() -> None:
    raise Violation("loops_rest", f"more than {MOST_ASKED} transactions")


def _move(before: RunNow | None, after: RunNow | None) -> tuple[object, ...]:
    run = after or before
    assert run is not None
    return run.schedule_key, run.nominal_at, run.backfill_id[:8], after.state if after else "gone"
