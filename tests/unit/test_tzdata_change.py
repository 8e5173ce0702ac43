"""What another release of the time zone database makes of a schedule: a pure decision about one row."""

from __future__ import annotations

from typing import Any

import pytest

from backend.engine.tzdata import retime, retime_all
from backend.model.instants import MINUTE, parse_instant
from backend.model.schedule import Schedule
from tests.unit.engine_cases import made

HOUR = 60 * MINUTE
NOW = parse_instant("2026-12-01T12:00:00Z")
CAIRO = {"kind": "cron", "expression": "0 9 * * *", "timezone": "Africa/Cairo"}  # 07:00 UTC in winter
ONCE = {"kind": "once", "at": "2026-12-02T09:00:00", "timezone": "Africa/Cairo"}


def at(text: str) -> int:
    return parse_instant(f"2026-12-{text}:00Z")


def planned(triggers: tuple[dict[str, Any], ...] = (CAIRO,), **changes: Any) -> Schedule:
    """A schedule in the middle of its life, as the release before this one has planned it."""
    return made(triggers, now=NOW, changes=changes)


def test_a_next_time_that_is_right_stays():
    assert retime(planned()) is None


@pytest.mark.parametrize("wrong", ["02T06:00", "02T08:00", "05T07:00"])
def test_a_next_time_that_is_wrong_becomes_right(wrong: str):
    found = retime(planned(next_nominal_at=at(wrong), next_scheduled_at=at(wrong)))
    assert found is not None
    assert (found.before, found.schedule.next_nominal_at, found.skips) == (at(wrong), at("02T07:00"), False)
    assert found.schedule.next_scheduled_at == at("02T07:00")
    assert found.schedule.cursor_at == NOW


def test_the_delay_of_jitter_is_that_of_the_right_time():
    schedule = made((CAIRO,), now=NOW, jitter="1h")
    wrong = schedule._replace(next_nominal_at=at("02T08:00"), next_scheduled_at=at("02T08:10"))
    found = retime(wrong)
    assert found is not None
    assert found.schedule == schedule


def test_what_fired_an_hour_too_early_does_not_fire_again_at_the_right_time():
    # By the old rules 09:00 in Cairo was 06:00 UTC; it has run then, and 07:00 would be the same morning again.
    fired = planned(cursor_at=at("03T06:00"), next_nominal_at=at("04T06:00"))
    found = retime(fired)
    assert found is not None
    assert found.skips
    assert (found.schedule.next_nominal_at, found.schedule.cursor_at) == (at("04T07:00"), at("03T07:00"))
    assert found.schedule.effective_at == at("03T07:00")
    assert retime(found.schedule) is None


def test_what_fired_an_hour_too_late_fires_the_next_day():
    found = retime(planned(cursor_at=at("03T08:00"), next_nominal_at=at("04T08:00")))
    assert found is not None
    assert (found.schedule.next_nominal_at, found.skips) == (at("04T07:00"), False)


def test_a_rule_that_changes_only_from_now_on_passes_nothing_over():
    # The last one was right by both; only the next one moves.
    found = retime(planned(cursor_at=at("03T07:00"), next_nominal_at=at("04T06:00")))
    assert found is not None
    assert (found.schedule.next_nominal_at, found.skips) == (at("04T07:00"), False)


def test_a_one_shot_that_has_run_does_not_run_again():
    fired = planned(
        (ONCE, CAIRO | {"expression": "0 20 * * *"}), cursor_at=at("02T06:00"), next_nominal_at=at("02T17:00")
    )
    found = retime(fired)
    assert found is not None
    assert found.skips
    assert found.schedule.next_nominal_at == at("02T18:00")


def test_before_anything_was_planned_nothing_is_passed_over():
    # The cursor is where the schedule was made, which is no occurrence by any rule.
    fresh = planned(cursor_at=at("03T06:30"), effective_at=at("03T06:30"), next_nominal_at=at("03T08:00"))
    found = retime(fresh)
    assert found is not None
    assert (found.schedule.next_nominal_at, found.skips) == (at("03T07:00"), False)


def test_one_that_cannot_be_planned_does_not_stop_the_others():
    broken = planned(next_nominal_at=at("02T08:00"))._replace(triggers="{")
    wrong = planned(next_nominal_at=at("02T08:00"))
    assert [found.before for found in retime_all([broken, wrong])] == [at("02T08:00")]
