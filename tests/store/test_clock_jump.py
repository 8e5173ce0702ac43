"""A database clock that jumps ahead changes nothing while the engine is held, on every kind of database."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from backend.engine.auditor import Audit, Bookmark
from backend.engine.clock_guard import PAUSE, ClockGuard
from backend.engine.prune import Prune
from backend.engine.tick import Tick
from backend.errors import ClockAhead
from backend.events import ClockHeld, ClockTrusted, Events, Fact
from backend.model.ids import DEFAULT_NAMESPACE
from backend.model.instants import SECOND
from backend.model.run import AttemptState
from backend.service.calendars import Calendars
from backend.service.runs import Runs
from backend.service.schedules import Surroundings
from backend.store.leasing import Claim, Lessee
from backend.store.open import open_store
from backend.store.retention import Retention
from backend.store.workers import Presence
from backend.targets.base import TargetRules
from tests.store.world import LEASE, START, StillClock, World

pytestmark = pytest.mark.anyio
KEEP = Retention(timedelta(days=30), timedelta(days=90), timedelta(days=30), 1000)


class Engine:
    """Turns of an engine whose machine knows how long it was up, whatever the database says."""

    def __init__(self, world: World) -> None:
        self.uptime = StillClock()
        self.facts: list[Fact] = []
        events = Events()
        events.subscribe(self.facts.append)
        guard = ClockGuard(self.uptime, events, world.store.known_at)
        store = guard.over(world.store)
        self.world = replace(world, store=store)
        self.turn = guard.around(Tick(store.engine(), self.uptime, events, lambda: None).turn)
        self.prune = guard.around(Prune(store.engine(), KEEP, self.uptime).turn)


async def test_a_jump_of_a_year_neither_fires_nor_moves_a_cursor_nor_prunes(world: World) -> None:
    engine = Engine(world)
    await world.put("job")
    await engine.turn()
    world.clock.go(minutes=1)
    engine.uptime.go(minutes=1)
    await engine.turn()
    await world.work()
    before = world.sql("select * from schedules"), world.sql("select * from runs order by key")
    world.clock.go(days=365)
    assert await engine.turn() == PAUSE
    assert await engine.prune() == PAUSE
    assert (world.sql("select * from schedules"), world.sql("select * from runs order by key")) == before
    assert ClockHeld(365 * 86400, world.clock.now()) in engine.facts


async def test_when_the_clock_comes_back_what_was_due_meanwhile_fires(world: World) -> None:
    engine = Engine(world)
    await world.put("job")
    await engine.turn()
    world.clock.go(days=365)
    assert await engine.turn() == PAUSE
    world.clock.go(days=-365, minutes=1)
    engine.uptime.go(minutes=1)
    await engine.turn()
    assert await world.states() == ["queued"]
    assert [type(fact) for fact in engine.facts if isinstance(fact, ClockHeld | ClockTrusted)] == [
        ClockHeld,
        ClockTrusted,
    ]


async def test_a_machine_that_slept_for_hours_is_not_held(world: World) -> None:
    engine = Engine(world)
    await world.put("job")
    await engine.turn()
    for clock in (world.clock, engine.uptime):
        clock.go(hours=8)
    await engine.turn()
    assert (await world.schedule("job")).cursor_at > world.clock.now() - 61 * SECOND


def _nothing() -> None:
    """Nobody is woken."""


def everything(world: World) -> list[object]:
    return [
        world.sql(f"select * from {table} order by 1")
        for table in ("schedules", "runs", "schedule_revisions", "attempts", "calendars")
    ]


async def test_whatever_a_person_changes_while_the_clock_is_wrong_is_refused(world: World) -> None:
    held = Engine(world).world
    await held.put("job")
    await held.trigger()
    await held.work()
    [run] = await held.runs()
    before = everything(world)
    world.clock.go(days=365)
    around = Surroundings(
        TargetRules(allow_commands=True, allow_private_urls=True),
        Events(),
        {"retry": {}},
        _nothing,
        _nothing,
        _nothing,
        bytes,
    )
    namespace = held.store.namespace(DEFAULT_NAMESPACE)
    runs, calendars = Runs(namespace, "tester", around), Calendars(namespace, "tester", around)
    for change in (
        held.put("job", name="other"),
        held.put("new"),
        held.pause(),
        held.resume(catch_up=True),
        held.delete(),
        held.trigger(),
        runs.retry(run.id),
        runs.cancel(run.id),
        calendars.put("days", [date(2027, 1, 1)]),
    ):
        with pytest.raises(ClockAhead):
            await change
    assert everything(world) == before


async def test_a_jump_of_a_year_takes_no_lease_gives_none_and_keeps_those_that_are_held(world: World) -> None:
    held = Engine(world).world
    await held.put("job")
    claim = await claimed(held)
    await held.trigger()
    world.clock.go(days=365)
    with pytest.raises(ClockAhead):
        await held.reap()
    with pytest.raises(ClockAhead):
        await held.claim(token="t2")
    told = await held.store.worker().extend([(claim.runs[0].key, "t1")], LEASE)
    assert told.held == {claim.runs[0].key}
    assert world.sql("select lease_until from runs where state = 'running'") == [(START + 15 * SECOND,)]


async def test_a_result_that_comes_while_the_clock_is_wrong_is_recorded_at_the_time_that_it_should_be(
    world: World,
) -> None:
    engine = Engine(world)
    held = engine.world
    await held.put("job", retry={"max_attempts": 3, "initial": 10, "maximum": 10})
    claim = await claimed(held)
    world.clock.go(days=365)
    engine.uptime.go(seconds=3)
    assert (await held.finish(claim, AttemptState.FAILED)).finished[0].accepted
    [(state, available_at)] = world.sql("select state, available_at from runs")
    assert state == "retrying"
    assert available_at <= START + 13 * SECOND
    assert world.sql("select finished_at from attempts") == [(START + 3 * SECOND,)]


async def claimed(world: World) -> Claim:
    await world.trigger()
    return await world.claim()


async def test_a_worker_whose_lease_was_given_before_the_clock_went_back_is_not_waited_for(world: World) -> None:
    await world.put("job")
    await claimed(world)
    world.clock.go(hours=-1)
    assert (await world.reap()).requeued == 0
    world.clock.go(seconds=15)
    assert (await world.reap()).requeued == 0
    world.clock.go(seconds=1)
    assert (await world.reap()).requeued == 1


async def test_leases_longer_than_ours_are_left_alone(world: World) -> None:
    await world.put("job")
    presence = Presence("w1", "host", 1, "0", 1, 10 * LEASE, draining=False)
    await world.trigger()
    await world.store.worker().claim(Lessee("w1", "t1", 10 * LEASE), 1)
    await world.store.worker().extend([], LEASE, presence)
    await world.reap()
    assert world.sql("select lease_until from runs") == [(START + 150 * SECOND,)]


async def test_a_store_knows_what_time_was_noted_last(world: World) -> None:
    assert world.store.known_at == START
    world.clock.go(hours=1)
    await world.store.admin().note_clock()
    world.clock.go(minutes=-10)
    await world.store.admin().note_clock()
    again = await open_store(world.url, clock=world.clock)
    again.close()
    assert again.known_at == START + 50 * 60 * SECOND


async def test_the_audit_and_explanations_say_nothing_wrong_while_the_clock_is_and_after_it(world: World) -> None:
    engine = Engine(world)
    await engine.world.put("job")
    for _ in range(2):
        for clock in (world.clock, engine.uptime):
            clock.go(minutes=1)
        await engine.turn()
        await engine.world.work()
    for step in (timedelta(days=365), timedelta(days=-365)):
        world.clock.at += step // timedelta(microseconds=1)
        await engine.turn()
        audit = Audit(world.store.engine().history(), 0, world.clock.now())
        await audit.batch(Bookmark())
        assert (audit.found.expected, audit.found.missing, audit.found.doubled) == (2, [], [])
