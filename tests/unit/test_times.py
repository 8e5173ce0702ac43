"""When a draft, or a schedule, fires next, as a person sees it."""

from __future__ import annotations

import pytest

from backend.errors import Refused
from backend.model.instants import SECOND, parse_instant
from backend.service.times import MANY, PreviewRequest, crowded, full_hour, preview, upcoming
from backend.service.validation import parse
from tests.unit.engine_cases import MINUTELY, T0, at, made

LONDON = {"kind": "cron", "expression": "30 1 * * *", "timezone": "Europe/London"}


def shown(triggers, *, start: str, count: int = 3):
    request = parse(PreviewRequest, {"triggers": triggers, "from": start, "count": count})
    return preview(request, T0)


def test_times_are_shown_in_utc_and_on_the_wall_of_the_rules_own_zone():
    [first, *_] = shown([LONDON], start="2026-07-01T00:00:00Z").occurrences
    assert first.nominal_time == "2026-07-01T00:30:00Z"
    assert (first.local_time, first.timezone) == ("2026-07-01T01:30:00+01:00", "Europe/London")


def test_daylight_saving_is_told_where_it_moves_a_time():
    before, moved, after = shown([LONDON], start="2026-03-28T00:00:00Z").occurrences
    assert moved.local_time == "2026-03-29T02:00:00+01:00"
    assert moved.note
    assert (before.note, after.note) == (None, None)


def test_each_time_is_shown_in_the_zone_of_the_trigger_that_fires():
    both = [{"kind": "cron", "expression": "0 0 * * *", "timezone": "Asia/Tokyo"}, LONDON]
    zones = [one.timezone for one in shown(both, start="2026-01-10T00:00:00Z", count=4).occurrences]
    assert zones == ["Europe/London", "Asia/Tokyo"] * 2


def test_times_lie_strictly_after_the_start():
    [first] = shown([MINUTELY | {"anchor": "2026-01-01T00:00:00Z"}], start="2026-01-01T00:05:00Z", count=1).occurrences
    assert first.nominal_time == "2026-01-01T00:06:00Z"


def test_without_a_start_and_an_anchor_a_preview_begins_now_in_whole_seconds():
    [first] = preview(parse(PreviewRequest, {"triggers": [MINUTELY], "count": 1}), T0 + 1_500_000).occurrences
    assert parse_instant(first.nominal_time) == T0 + 61 * SECOND


def test_a_thousand_times_may_be_asked_for_and_no_more():
    assert len(shown([MINUTELY], start="2026-01-01T00:00:00Z", count=1000).occurrences) == 1000
    for count in (0, 1001):
        with pytest.raises(Refused, match="count"):
            shown([MINUTELY], start="2026-01-01T00:00:00Z", count=count)
        with pytest.raises(Refused, match="outside 1–1000"):
            upcoming("[]", after=0, effective_at=0, count=count)


def test_a_rule_that_ends_shows_what_is_left():
    once = {"kind": "once", "at": "2026-03-02T09:30:00Z"}
    assert [o.nominal_time for o in shown([once], start="2026-03-02T09:00:00Z").occurrences] == ["2026-03-02T09:30:00Z"]
    assert shown([once], start="2026-03-02T09:30:00Z").occurrences == []


def test_a_preview_says_in_words_what_it_means_and_warns():
    answer = shown([{"kind": "cron", "expression": "0 0 */2 * 1", "timezone": "UTC"}], start="2026-01-01T00:00:00Z")
    assert answer.description
    assert answer.warnings


def test_a_schedules_next_times_are_those_that_it_will_plan():
    schedule = made()
    times = upcoming(schedule.triggers, after=T0, effective_at=at("09:02:00"), count=2)
    assert [one.nominal_time for one in times] == ["2026-03-02T09:03:00Z", "2026-03-02T09:04:00Z"]


def test_exclusions_that_leave_nothing_within_reach_are_refused_by_a_preview():
    every_second = [{"kind": "cron", "expression": "* * * * * *"}]
    none = [{"kind": "cron", "expression": f"{seconds} * * * * *"} for seconds in ("*/2", "1-59/2")]
    with pytest.raises(Refused, match="exclusions: the exclusions leave no occurrence within reach"):
        preview(parse(PreviewRequest, {"triggers": every_second, "exclusions": none}), T0)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [("0 9 * * *", True), ("0 * * * *", True), ("5 9 * * *", False), ("*/30 * * * *", False), ("H 9 * * *", False)],
)
def test_only_a_rule_of_minute_0_alone_is_told_who_else_fires_there(expression, expected):
    request = parse(PreviewRequest, {"triggers": [{"kind": "cron", "expression": expression}], "id": "job"})
    assert (full_hour(request, T0) is not None) is expected


def test_minute_0_is_warned_about_when_many_others_fire_there():
    shown_alone = shown([{"kind": "cron", "expression": "0 9 * * *"}], start="2026-01-01T00:00:00Z")
    assert crowded(shown_alone, MANY - 1).warnings == []
    (warning,) = crowded(shown_alone, MANY).warnings
    assert warning.startswith("10 other schedules fire at minute 0 too")
