"""Bounded walks over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from backend.engine.due import RESERVE, WALK, Due, due_instants, next_nominal
from backend.errors import FieldError
from backend.model.instants import DAY, MINUTE, SECOND
from backend.triggers.registry import dump_triggers
from tests.unit.engine_cases import MINUTELY, SECONDLY, T0, at, definition, made


def texts(*triggers: Mapping[str, Any]) -> str:
    return made(triggers).triggers


def test_instants_lie_after_the_cursor_up_to_and_including_now():
    due = due_instants(texts(MINUTELY), T0 + MINUTE, until=T0 + 3 * MINUTE, effective_at=T0)
    assert due.instants == (T0 + MINUTE, T0 + 2 * MINUTE, T0 + 3 * MINUTE)
    assert due.following == T0 + 4 * MINUTE
    assert due.beyond == ()


def test_before_the_first_instant_nothing_is_due():
    due = due_instants(texts(MINUTELY), T0 + MINUTE, until=T0 + MINUTE - 1, effective_at=T0)
    assert (due.instants, due.following) == ((), T0 + MINUTE)


def test_a_schedule_with_nothing_left_walks_nowhere():
    assert due_instants(texts(MINUTELY), None, until=T0 + DAY, effective_at=T0) == Due((), None)


@pytest.mark.parametrize(("steps", "visited"), [(WALK - 1, WALK - 1), (WALK, WALK)])
def test_a_walk_that_fits_reaches_now(steps, visited):
    due = due_instants(texts(SECONDLY), T0 + SECOND, until=T0 + steps * SECOND, effective_at=T0)
    assert len(due.instants) == visited
    assert due.beyond == ()
    assert due.following == T0 + (steps + 1) * SECOND


@pytest.mark.parametrize("steps", [WALK + 1, 10 * WALK, 365 * 86400])
def test_a_longer_walk_leaves_the_newest_it_saw_to_the_next_one(steps):
    due = due_instants(texts(SECONDLY), T0 + SECOND, until=T0 + steps * SECOND, effective_at=T0)
    decided = WALK - RESERVE
    assert len(due.instants) == decided
    assert due.following == due.beyond[0] == T0 + (decided + 1) * SECOND
    assert len(due.beyond) == RESERVE


def test_equal_instants_of_several_triggers_are_one():
    twice = texts(MINUTELY, {"kind": "cron", "expression": "* * * * *", "timezone": "Europe/London"})
    due = due_instants(twice, T0 + MINUTE, until=T0 + 3 * MINUTE, effective_at=T0)
    assert due.instants == (T0 + MINUTE, T0 + 2 * MINUTE, T0 + 3 * MINUTE)


def test_a_schedule_is_the_union_of_its_triggers():
    union = texts({"kind": "cron", "expression": "5 9 * * *"}, {"kind": "once", "at": "2026-03-02T09:03:00Z"})
    assert due_instants(union, at("09:03:00"), until=at("12:00:00"), effective_at=T0).instants == (
        at("09:03:00"),
        at("09:05:00"),
    )


def test_recurring_triggers_plan_nothing_up_to_their_effect_but_a_single_instant_does():
    both = texts(MINUTELY, {"kind": "once", "at": "2026-03-02T08:59:30Z"})
    assert next_nominal(both, T0 - DAY, effective_at=T0) == at("08:59:30")
    assert next_nominal(both, at("08:59:30"), effective_at=T0) == T0 + MINUTE
    assert next_nominal(both, T0 + MINUTE, effective_at=T0) == T0 + 2 * MINUTE


def test_a_single_instant_comes_once():
    once = texts({"kind": "once", "at": "2026-03-02T09:30:00Z"})
    assert next_nominal(once, T0, T0) == at("09:30:00")
    assert next_nominal(once, at("09:30:00"), T0) is None


def test_an_interval_without_an_anchor_is_never_guessed():
    with pytest.raises(FieldError, match="no anchor"):
        next_nominal(dump_triggers(definition().triggers), T0, T0)
