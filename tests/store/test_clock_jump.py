"""A database clock that jumps ahead changes nothing while the engine is held, on every kind of database."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backend.engine.clock_guard import PAUSE, ClockGuard
from backend.engine.plan import plan_all
from backend.engine.prune import Prune
from backend.engine.tick import Tick
from backend.events import ClockHeld, ClockTrusted, Events, Fact
from backend.model.instants import SECOND
from backend.store.retention import Retention
from tests.store.world import StillClock, World

pytestmark = pytest.mark.anyio
KEEP = Retention(timedelta(days=30), timedelta(days=90), timedelta(days=30), 1000)


class Engine:
    """Turns of an engine whose machine knows how long it was up, whatever the database says."""

    def __init__(self, world: World) -> None:
        self.uptime = StillClock()
        self.facts: list[Fact] = []
        events = Events()
        events.subscribe(self.facts.append)
        guard = ClockGuard(self.uptime, events, world.store.admin().now)
        tick = Tick(world.store.engine(), self.uptime, events, lambda: None, plan=guard.planning(plan_all))
        self.turn = guard.around(tick.turn)
        self.prune = guard.before(Prune(world.store.engine(), KEEP, self.uptime).turn)


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
