"""Bounded walks over time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import pytest

from backend.engine import due as due_module
from backend.engine.due import RESERVE, WALK, Due, due_instants, next_nominal
from backend.errors import FieldError
from backend.model.instants import DAY, MINUTE, SECOND
from backend.triggers.exclusions import Exclusion
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


def every_second_without_any(most: int) -> str:
    """Write a timing of as many exclusions as a definition takes, the last two of which leave nothing."""
    never = [{"kind": "cron", "expression": "59 59 23 31 12 *"}] * (most - 2)
    none = [{"kind": "cron", "expression": f"{seconds} * * * * *"} for seconds in ("0-30", "31-59")]
    triggers = [{"kind": "cron", "expression": "* * * * * *"}] * 20
    return json.dumps({"triggers": triggers, "exclusions": [*never, *none], "start_at": None, "end_at": None})


def test_a_search_that_exclusions_make_hopeless_ends_after_a_bounded_number_of_questions(monkeypatch):
    asked = 0
    ask = Exclusion.excluded_until

    def counted(exclusion: Exclusion, instant: int) -> int | None:
        nonlocal asked
        asked += 1
        return ask(exclusion, instant)

    monkeypatch.setattr(Exclusion, "excluded_until", counted)
    with pytest.raises(FieldError, match="no occurrence within reach"):
        next_nominal(every_second_without_any(100), T0, T0)
    assert 0 < asked <= due_module.MOST_ASKED


def test_as_many_scattered_dates_as_a_definition_takes_are_jumped_over():
    mondays = [(date(2026, 3, 2) + timedelta(weeks=week)).isoformat() for week in range(100)]
    timing = {
        "triggers": [{"kind": "cron", "expression": "0 9 * * mon"}] * 20,
        "exclusions": [{"kind": "date", "date": day} for day in reversed(mondays)],
        "start_at": None,
        "end_at": None,
    }
    assert next_nominal(json.dumps(timing), T0 - DAY, 0) == T0 + 700 * DAY


def test_a_walk_that_exclusions_make_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr(due_module, "MOST_ASKED_IN_WALK", 300)
    mostly = {
        "triggers": [{"kind": "cron", "expression": "* * * * * *"}],
        "exclusions": [{"kind": "cron", "expression": "1-59/2 * * * * *"}],
        "start_at": None,
        "end_at": None,
    }
    text = json.dumps(mostly)
    assert len(due_instants(text, T0 + MINUTE, until=T0 + 2 * MINUTE, effective_at=T0).instants) == 31
    with pytest.raises(FieldError, match="walk over time too long"):
        due_instants(text, T0 + MINUTE, until=T0 + 20 * MINUTE, effective_at=T0)
