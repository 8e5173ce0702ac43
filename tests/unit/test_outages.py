"""Outages of the database: one fact at the begin and one at the end, however many loops notice."""

from __future__ import annotations

import pytest

from backend.events import (
    DatabaseAvailable,
    DatabaseUnavailable,
    Events,
    Fact,
    LoopFailed,
    LoopFailure,
    LoopRecovered,
)
from backend.observe.outages import Outages
from tests.unit.worker_world import HandClock

TOLD = (DatabaseUnavailable, DatabaseAvailable)


class Listening:
    def __init__(self) -> None:
        self.clock, self.events, self.told = HandClock(), Events(), list[Fact]()
        self.events.subscribe(Outages(self.clock, self.events).observe)
        self.events.subscribe(lambda fact: self.told.append(fact) if isinstance(fact, TOLD) else None)

    def fails(self, *loops: str) -> None:
        for loop in loops:
            self.events.emit(LoopFailed(loop, f"no answer for {loop}", reason=LoopFailure.DATABASE))
            self.clock.advance(1)

    def recovers(self, *loops: str) -> None:
        for loop in loops:
            self.events.emit(LoopRecovered(loop))
            self.clock.advance(1)


@pytest.fixture
def heard() -> Listening:
    return Listening()


def test_an_outage_that_all_loops_notice_again_and_again_is_told_once_with_its_length(heard: Listening) -> None:
    heard.fails("engine", "worker", "engine", "reaper")
    assert heard.told == [DatabaseUnavailable("engine", "no answer for engine")]
    heard.clock.advance(6)
    heard.recovers("worker", "engine", "reaper")
    assert heard.told[1:] == [DatabaseAvailable(10, 4)], "the first answer is the end, the others were at rest"


def test_it_is_not_over_as_long_as_one_loop_gets_no_answer(heard: Listening) -> None:
    heard.fails("recorder", "engine")
    heard.recovers("engine")
    heard.fails("recorder")
    assert len(heard.told) == 1
    heard.recovers("recorder")
    assert heard.told[1:] == [DatabaseAvailable(4, 3)]


def test_a_second_outage_is_told_of_anew(heard: Listening) -> None:
    heard.fails("engine")
    heard.recovers("engine")
    heard.fails("worker")
    heard.recovers("worker")
    assert heard.told[2:] == [DatabaseUnavailable("worker", "no answer for worker"), DatabaseAvailable(1, 1)]


def test_a_defect_is_no_outage_and_shows_that_there_was_an_answer(heard: Listening) -> None:
    heard.events.emit(LoopFailed("engine", "boom", "a traceback"))
    heard.recovers("engine")
    assert heard.told == []
    heard.fails("recorder")
    heard.events.emit(LoopFailed("recorder", "boom", "a traceback"))
    assert heard.told[1:] == [DatabaseAvailable(1, 1)]
