"""The guard: which jumps of the database's clock it lets pass, and how it holds what it does not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import pytest

from backend.engine.clock_guard import LIMIT, PAUSE, REMIND, ClockAhead, ClockGuard, Reading, ahead_of, later_of
from backend.engine.loop import Turn
from backend.events import ClockHeld, ClockTrusted, Events, Fact
from backend.model.instants import DAY, MINUTE, SECOND
from backend.model.plan import Planned, Standing
from tests.unit.worker_world import START, HandClock

pytestmark = pytest.mark.anyio


def reading(after: int, uptime: float) -> Reading:
    return Reading(START + after, 1000 + uptime)


def test_what_the_uptime_confirms_is_no_jump():
    assert ahead_of(reading(0, 0), reading(180 * MINUTE, 3 * 3600)) == 0


def test_what_it_does_not_confirm_is_one():
    assert ahead_of(reading(0, 0), reading(6 * MINUTE, 1)) == 6 * MINUTE - SECOND


def test_a_clock_that_goes_back_is_behind():
    assert ahead_of(reading(0, 0), reading(-60 * MINUTE, 1)) == -60 * MINUTE - SECOND


def test_the_reading_by_which_it_is_later_is_kept():
    assert later_of(reading(0, 0), reading(10 * SECOND, 9)) == reading(10 * SECOND, 9)
    assert later_of(reading(0, 0), reading(-60 * MINUTE, 9)) == reading(0, 0)


class Guarded:
    """A guard around a planner, on clocks that a test moves."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.database = START
        self.facts: list[Fact] = []
        self.planned_at: list[int] = []
        events = Events()
        events.subscribe(self.facts.append)
        self.guard = ClockGuard(self.clock, events, self.look)
        plan = self.guard.planning(self.plan)

        async def turn() -> float:
            plan([], self.database, "store")
            return 7.0

        self.turn: Callable[[], Awaitable[float]] = self.guard.around(turn)

    def plan(self, due: Sequence[Standing], now: int, store_id: str) -> list[Planned]:
        del due, store_id
        self.planned_at.append(now)
        return []

    async def look(self) -> int:
        return self.database

    def go(self, seconds: float, *, jump: int = 0) -> None:
        self.clock.advance(seconds)
        self.database += int(seconds * SECOND) + jump


@pytest.fixture
def guarded() -> Guarded:
    return Guarded()


async def test_time_that_really_passes_holds_nothing(guarded: Guarded):
    for seconds in (0, 1, 3600, 86400):
        guarded.go(seconds)
        assert await guarded.turn() == 7.0
    assert not guarded.facts
    assert not guarded.guard.held


async def test_a_jump_up_to_the_limit_is_taken_as_it_comes(guarded: Guarded):
    await guarded.turn()
    guarded.go(1, jump=LIMIT)
    assert await guarded.turn() == 7.0


async def test_a_longer_jump_holds_the_engine_before_anything_is_planned(guarded: Guarded):
    await guarded.turn()
    guarded.go(1, jump=LIMIT + 1)
    assert await guarded.turn() == PAUSE
    assert guarded.planned_at == [START]
    assert guarded.guard.held
    assert guarded.facts == [ClockHeld((LIMIT + 1) / SECOND, guarded.database)]


async def test_the_alarm_is_repeated_but_not_with_every_look(guarded: Guarded):
    await guarded.turn()
    guarded.go(0, jump=DAY)
    for _ in range(int(REMIND) + 1):
        await guarded.turn()
        guarded.go(1)
    assert [type(fact) for fact in guarded.facts] == [ClockHeld, ClockHeld]


async def test_when_the_clock_comes_back_the_engine_goes_on(guarded: Guarded):
    await guarded.turn()
    guarded.go(1, jump=DAY)
    await guarded.turn()
    guarded.go(1, jump=-DAY)
    assert await guarded.turn() == 7.0
    assert [type(fact) for fact in guarded.facts] == [ClockHeld, ClockTrusted]
    assert not guarded.guard.held


async def test_a_clock_that_went_back_may_return_to_where_it_was(guarded: Guarded):
    await guarded.turn()
    guarded.go(1, jump=-DAY)
    assert await guarded.turn() == 7.0
    guarded.go(1, jump=DAY)
    assert await guarded.turn() == 7.0
    assert not guarded.facts


async def test_small_jumps_one_after_another_are_not_added_up(guarded: Guarded):
    for _ in range(10):
        await guarded.turn()
        guarded.go(60, jump=LIMIT - SECOND)
    assert not guarded.facts


async def test_other_turns_do_not_even_begin(guarded: Guarded):
    begun = []

    async def prune() -> float:
        begun.append(guarded.database)
        return 3.0

    turn: Turn = guarded.guard.before(prune)
    assert await turn() == 3.0
    guarded.go(1, jump=DAY)
    assert await turn() == PAUSE
    assert begun == [START]


async def test_what_else_goes_wrong_in_a_turn_is_not_hidden(guarded: Guarded):
    async def turn() -> float:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await guarded.guard.around(turn)()


def test_the_error_says_how_far():
    assert str(ClockAhead(DAY, START)) == "the database's clock is 86400 s ahead of what has passed"
