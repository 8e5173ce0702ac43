"""The guard: which jumps of the database's clock it lets pass, and how it holds what it does not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from backend.engine.clock_guard import LIMIT, PAUSE, REMIND, ClockGuard, GuardedRunner, Reading, ahead_of, later_of
from backend.engine.loop import Turn
from backend.errors import ClockAhead
from backend.events import ClockHeld, ClockTrusted, Events, Fact
from backend.model.instants import DAY, MINUTE, SECOND
from backend.store.operation import Now, Operation, Query, now, steady_now
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


T = TypeVar("T")


class Database:
    """A database that knows the time and nothing else."""

    def __init__(self) -> None:
        self.time = START
        self.asked: list[str] = []

    async def write(self, operation: Operation[T]) -> T:
        rows = None
        try:
            while True:
                statement = next(operation) if rows is None else operation.send(rows)
                rows = [(self.time,)] if isinstance(statement, Now) else []
                self.asked += [statement.name] if isinstance(statement, Query) else []
        except StopIteration as done:
            answer: T = done.value
            return answer
        finally:
            operation.close()

    read = write


def plan() -> Operation[int]:
    instant = yield from now()
    yield Query("plan")
    return instant


def prolong() -> Operation[int]:
    return (yield from steady_now())


class Guarded:
    """A guard between what writes and a database, on clocks that a test moves. `known` is noted in the store."""

    def __init__(self, *, known: int | None = None, host: int = START) -> None:
        self.clock = HandClock(host)
        self.facts: list[Fact] = []
        events = Events()
        events.subscribe(self.facts.append)
        self.guard = ClockGuard(self.clock, events, known)
        self.store = Database()
        self.runner = GuardedRunner(self.store, self.guard)

        async def turn() -> float:
            await self.runner.write(plan())
            return 7.0

        self.turn: Callable[[], Awaitable[float]] = self.guard.around(turn)

    @property
    def database(self) -> int:
        return self.store.time

    async def look(self) -> int:
        return self.store.time

    def go(self, seconds: float, *, jump: int = 0) -> None:
        self.clock.advance(seconds)
        self.store.time += int(seconds * SECOND) + jump


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
    assert guarded.store.asked == ["plan"]
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

    turn: Turn = guarded.guard.before(prune, guarded.look)
    assert await turn() == 3.0
    guarded.go(1, jump=DAY)
    assert await turn() == PAUSE
    assert begun == [START]


async def test_what_else_goes_wrong_in_a_turn_is_not_hidden(guarded: Guarded):
    async def turn() -> float:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await guarded.guard.around(turn)()


async def test_whoever_writes_by_a_time_that_is_not_trusted_is_told_and_nothing_follows(guarded: Guarded):
    assert await guarded.runner.write(plan()) == START
    guarded.go(1, jump=DAY)
    with pytest.raises(ClockAhead, match="is 86400 s ahead of what has passed"):
        await guarded.runner.write(plan())
    assert guarded.store.asked == ["plan"]


async def test_who_reads_is_told_what_the_database_says(guarded: Guarded):
    await guarded.turn()
    guarded.go(1, jump=DAY)
    assert await guarded.runner.read(plan()) == START + SECOND + DAY


async def test_what_is_under_way_goes_on_by_the_time_that_it_should_be(guarded: Guarded):
    await guarded.turn()
    guarded.go(1, jump=DAY)
    assert await guarded.runner.write(prolong()) == START + SECOND
    guarded.go(9)
    assert await guarded.runner.write(prolong()) == START + 10 * SECOND
    guarded.go(1, jump=-DAY)
    assert await guarded.runner.write(prolong()) == START + 11 * SECOND
    guarded.go(1, jump=-2 * DAY)
    assert await guarded.runner.write(prolong()) == START + 12 * SECOND - 2 * DAY


WEEK = 7 * DAY


async def test_a_server_that_was_off_for_a_week_is_not_held():
    guarded = Guarded(known=START - WEEK)
    assert await guarded.turn() == 7.0


async def test_a_server_that_starts_while_the_clock_is_wrong_is_held_until_it_is_right():
    guarded = Guarded(known=START - WEEK)
    guarded.go(1, jump=DAY)
    assert await guarded.turn() == PAUSE
    assert guarded.facts == [ClockHeld(86400, guarded.database)]
    guarded.go(60)
    assert await guarded.turn() == PAUSE
    guarded.go(1, jump=-DAY)
    assert await guarded.turn() == 7.0


async def test_a_server_whose_own_clock_is_behind_believes_one_that_has_just_been_noted():
    guarded = Guarded(known=START - LIMIT, host=START - WEEK)
    assert await guarded.turn() == 7.0


async def test_a_server_whose_own_clock_is_ahead_is_not_held():
    guarded = Guarded(known=START - WEEK, host=START + WEEK)
    assert await guarded.turn() == 7.0


async def test_a_server_that_starts_while_the_clock_is_behind_is_not_held_when_it_comes_back():
    guarded = Guarded(known=START - WEEK)
    guarded.go(1, jump=-DAY)
    assert await guarded.turn() == 7.0
    guarded.go(1, jump=DAY)
    assert await guarded.turn() == 7.0


async def test_in_a_new_store_which_knows_no_earlier_time_its_own_is_taken_as_it_is():
    guarded = Guarded(known=START, host=START - WEEK)
    assert await guarded.turn() == 7.0
    guarded.go(1, jump=DAY)
    assert await guarded.turn() == PAUSE
