"""When a draft, or a schedule, fires next, as a person sees it."""

from __future__ import annotations

from typing import Any

import pytest

from backend.engine.plan import delay_of
from backend.errors import Refused
from backend.model.instants import SECOND, parse_instant
from backend.service.times import MANY, Preview, PreviewRequest, crowded, full_hour, preview, upcoming
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


def drafted(**fields: Any) -> Preview:
    return preview(parse(PreviewRequest, {"from": "2026-01-01T00:00:00Z", **fields}), T0)


DAILY = {"kind": "cron", "expression": "0 9 * * *"}


def test_a_preview_takes_the_whole_timing_of_a_draft():
    window = {"start_at": "2026-01-05T00:00:00Z", "end_at": "2026-01-07T00:00:00Z"}
    two = ["2026-01-05T09:00:00Z", "2026-01-06T09:00:00Z"]
    assert [one.nominal_time for one in drafted(triggers=[DAILY], **window).occurrences] == two
    assert [one.nominal_time for one in drafted(triggers=[DAILY], max_runs=2, **window).occurrences] == two
    assert len(drafted(triggers=[DAILY], max_runs=1).occurrences) == 1
    with pytest.raises(Refused, match="end_at is before start_at"):
        drafted(triggers=[DAILY], start_at="2026-01-05T00:00:00Z", end_at="2026-01-04T00:00:00Z")


def test_a_preview_shows_when_jitter_lets_an_occurrence_fire_as_the_schedule_of_that_id_will():
    schedule = made([DAILY], jitter="30m")
    shown_ones = drafted(triggers=[DAILY], jitter="30m", id="digest", **{"from": "2026-03-02T09:00:00Z"}).occurrences
    assert parse_instant(shown_ones[0].nominal_time) == schedule.next_nominal_at
    assert parse_instant(shown_ones[0].scheduled_time) == schedule.next_scheduled_at != schedule.next_nominal_at
    times = upcoming(schedule.triggers, after=T0, effective_at=T0, count=5, delay=delay_of(schedule))
    assert times == shown_ones
    plain = drafted(triggers=[DAILY]).occurrences[0]
    assert plain.scheduled_time == plain.nominal_time


def test_times_that_follow_from_an_id_are_told_so_where_none_is_given():
    hashed = {"kind": "cron", "expression": "H 7 * * *"}
    (warning,) = drafted(triggers=[hashed]).warnings
    assert warning == "H: each schedule has times of its own, which follow from its id; give the id"
    assert drafted(triggers=[hashed], id="hh").warnings == []
    assert drafted(triggers=[DAILY], jitter="5m").warnings[0].startswith("jitter: each schedule")


@pytest.mark.parametrize(
    ("draft", "cause"),
    [
        ({"triggers": [{"kind": "once", "at": "2025-01-01T00:00:00Z"}]}, "2025-01-01T00:00:00Z is over"),
        (
            {
                "triggers": [{"kind": "once", "at": "2026-05-01T09:00:00Z"}],
                "exclusions": [{"kind": "date", "date": "2026-05-01"}],
            },
            "the exclusions take every one away",
        ),
        (
            {"triggers": [{"kind": "rrule", "rule": "FREQ=DAILY;UNTIL=20250108", "dtstart": "2025-01-05T09:00:00"}]},
            "the rule ended with its COUNT or UNTIL, at 2025-01-08",
        ),
        ({"triggers": [DAILY], "end_at": "2026-01-01T00:00:00Z"}, "the next would be 2026-01-01T09:00:00Z"),
    ],
)
def test_a_preview_without_a_time_to_come_says_why(draft, cause):
    answer = drafted(**draft)
    assert answer.occurrences == []
    assert answer.warnings[0].startswith("no occurrence is left: ")
    assert cause in answer.warnings[0]


def test_a_preview_names_a_day_that_the_rule_skips():
    skip = LONDON | {"dst_gap": "skip"}
    answer = shown([skip], start="2026-03-27T12:00:00Z")
    assert [one.local_time[:10] for one in answer.occurrences] == ["2026-03-28", "2026-03-30", "2026-03-31"]
    assert answer.warnings == ["01:30 on 2026-03-29 does not exist, and is skipped"]


def test_a_preview_tells_exclusions_in_words():
    exclusions = [
        {"kind": "date", "date": "2026-01-02"},
        {"kind": "range", "from": "2026-01-03", "to": "2026-01-04T12:00:00", "timezone": "Europe/London"},
        {"kind": "cron", "expression": "* * 25 12 *"},
        {"kind": "calendar", "calendar": "uk"},
    ]
    document = {"triggers": [DAILY], "exclusions": exclusions, "from": "2026-01-01T00:00:00Z"}
    answer = preview(parse(PreviewRequest, document), T0, {"uk": '["2026-01-01"]'})
    assert answer.description == (
        "at 09:00 (UTC); except 2026-01-02 (UTC), 2026-01-03 to before 2026-01-04T12:00:00 (Europe/London), "
        "every minute on day 25 of the month in December (UTC) and the days of the calendar uk (UTC)"
    )
    # 09:00 on the 4th is before the range's end at noon.
    assert answer.occurrences[0].nominal_time == "2026-01-05T09:00:00Z"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 9 * * *", True),
        ("0 * * * *", True),
        ("@daily", True),
        ("0 H * * *", True),
        ("5 9 * * *", False),
        ("*/30 * * * *", False),
        ("H 9 * * *", False),
        ("H(0-0) 9 * * *", False),
    ],
)
def test_only_a_rule_of_minute_0_alone_is_told_who_else_fires_there(expression, expected):
    request = parse(PreviewRequest, {"triggers": [{"kind": "cron", "expression": expression}], "id": "job"})
    assert (full_hour(request, T0) is not None) is expected


def test_minute_0_is_warned_about_when_many_others_fire_there():
    shown_alone = shown([{"kind": "cron", "expression": "0 9 * * *"}], start="2026-01-01T00:00:00Z")
    assert crowded(shown_alone, MANY - 1).warnings == []
    (warning,) = crowded(shown_alone, MANY).warnings
    assert warning.startswith("10 other schedules fire at minute 0 too")
