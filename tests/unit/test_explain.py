"""Which field of a rule says no, what the clocks do, and what came before: pure."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.engine.due import next_nominal
from backend.engine.explain import Verdict, previous_nominal
from backend.engine.mismatch import clock_note, mismatches
from backend.engine.timing import Timing, dump_timing
from backend.model.instants import SECOND, parse_instant
from backend.model.policies import Reason
from backend.service.explain_words import SENTENCES
from backend.triggers.cron import CronTrigger, DstGap, DstOverlap
from backend.triggers.interval import IntervalTrigger


def cron(expression: str, timezone: str = "UTC", **policies: str) -> CronTrigger:
    return CronTrigger.model_validate({"expression": expression, "timezone": timezone, **policies})


def no(expression: str, at: str, timezone: str = "UTC") -> list[tuple[str, str, str]]:
    return [
        (found.field, found.value, found.rule) for found in mismatches(cron(expression, timezone), parse_instant(at))
    ]


# 2026-03-04 is a Wednesday.
FIELDS = [
    ("0 9 * * *", "2026-03-04T09:30:00Z", [("minute", "30", "0")]),
    ("0 9 * * *", "2026-03-04T10:00:00Z", [("hour", "10", "9")]),
    ("0 9 15 * *", "2026-03-04T09:00:00Z", [("day of month", "4", "15")]),
    ("0 9 * 12 *", "2026-03-04T09:00:00Z", [("month", "3", "12")]),
    ("0 9 * * mon,tue", "2026-03-04T09:00:00Z", [("weekday", "Wednesday", "mon,tue")]),
    ("30 0 9 * * *", "2026-03-04T09:00:00Z", [("second", "0", "30")]),
    ("0 9 * * *", "2026-03-04T09:00:07Z", [("second", "7", "0")]),
    ("0 9 * * *", "2026-03-04T09:00:00.25Z", [("fraction", "250000 µs", "0")]),
    ("0 9 1 1 *", "2026-03-04T10:05:00Z", None),
    ("0 9 15 * fri", "2026-03-04T09:00:00Z", [("day of month", "4", "15"), ("weekday", "Wednesday", "fri")]),
    ("0 9 15 * wed", "2026-03-04T09:00:00Z", []),
    ("0 9 */2 * wed", "2026-03-04T09:00:00Z", [("day of month", "4", "*/2")]),
    ("0 9 L * *", "2026-03-04T09:00:00Z", [("day of month", "4", "l")]),
    ("0 9 * * wed#2", "2026-03-04T09:00:00Z", [("weekday", "Wednesday", "wed#2")]),
    ("0 9 * * wed#1", "2026-03-04T09:00:00Z", []),
]


@pytest.mark.parametrize(("expression", "at", "expected"), FIELDS)
def test_the_field_that_does_not_match_is_named_with_what_the_clock_showed(expression, at, expected):
    found = no(expression, at)
    if expected is None:
        assert [name for name, _, _ in found] == ["minute", "hour", "month", "day of month"]
    else:
        assert found == expected


def test_the_clock_is_that_of_the_rules_own_zone():
    assert no("0 9 * * *", "2026-07-01T13:00:00Z", "America/New_York") == []
    assert no("0 9 * * *", "2026-07-01T09:00:00Z", "America/New_York") == [("hour", "5", "9")]


@given(
    st.sampled_from(
        ["* * * * *", "0 9 * * mon-fri", "*/7 */5 13 * 5", "5 4 L * *", "0 0 * 2 mon#1", "0 12 1,15 * sun"]
    ),
    st.sampled_from(["UTC", "Europe/London", "Asia/Kathmandu"]),
    st.integers(1_700_000_000 // 60, 1_800_000_000 // 60).map(lambda minute: minute * 60 * SECOND),
)
def test_no_field_is_named_exactly_where_the_rule_fires_or_a_clock_change_decides(expression, timezone, instant):
    trigger = cron(expression, timezone)
    fires = trigger.next_after(instant - 1) == instant
    assert fires == (not mismatches(trigger, instant)) or clock_note(trigger, instant) is not None


DAY_OF_GAP = parse_instant("2024-03-10T15:00:00Z")


@pytest.mark.parametrize(
    ("policy", "words"),
    [("shift", "fires at the end of the gap, 2024-03-10T07:00:00Z"), ("skip", "dst_gap is skip, so nothing fires")],
)
def test_on_the_day_of_a_gap_the_note_says_what_becomes_of_what_it_swallowed(policy, words):
    note = clock_note(cron("30 2 * * *", "America/New_York", dst_gap=policy), DAY_OF_GAP)
    assert note is not None
    assert note.startswith("02:30 does not exist on 2024-03-10: the clock jumps from 02:00 to 03:00; ")
    assert words in note


def test_a_wildcard_rule_skips_what_a_gap_removes():
    note = clock_note(cron("*/30 2 * * *", "America/New_York"), DAY_OF_GAP)
    assert note is not None
    assert "skips what a gap removes" in note


def test_other_days_and_other_times_have_no_note():
    daily = cron("30 2 * * *", "America/New_York")
    assert clock_note(daily, parse_instant("2024-03-12T15:00:00Z")) is None
    assert clock_note(cron("0 9 * * *", "America/New_York"), DAY_OF_GAP) is None
    assert clock_note(cron("30 2 * * *"), DAY_OF_GAP) is None


@pytest.mark.parametrize(("policy", "at", "which"), [("first", "06:30", "second"), ("second", "05:30", "first")])
def test_in_a_repeated_hour_the_other_pass_is_named(policy, at, which):
    trigger = cron("30 1 * * *", "America/New_York", dst_overlap=policy)
    note = clock_note(trigger, parse_instant(f"2024-11-03T{at}:00Z"))
    assert note == f"01:30 occurs twice on 2024-11-03; this is the {which}, and dst_overlap is {policy}"


TIMINGS = [
    [cron("* * * * *")],
    [cron("0 9 29 2 *", "Europe/London")],
    [cron("30 1 * * *", "America/New_York", dst_overlap=DstOverlap.BOTH, dst_gap=DstGap.SKIP)],
    [IntervalTrigger.model_validate({"every": "90s", "anchor": "2026-01-01T00:00:00Z"}), cron("0 0 1 1 *")],
    [cron("* * * 1 *")],
]


@pytest.mark.parametrize("triggers", TIMINGS)
@pytest.mark.parametrize("start", ["2026-06-01T00:00:00Z", "2024-11-02T12:00:00Z", "2026-01-31T23:58:30Z"])
def test_the_previous_occurrence_is_the_one_whose_next_is_this(triggers, start):
    timing = dump_timing(Timing(tuple(triggers)))
    instants: list[int] = []
    instant = next_nominal(timing, parse_instant(start), 0)
    while instant is not None and len(instants) < 5:
        instants.append(instant)
        instant = next_nominal(timing, instant, 0)
    for earlier, later in pairwise(instants):
        assert previous_nominal(timing, later, 0) == earlier
        assert previous_nominal(timing, later - 1, 0) == earlier


def test_nothing_comes_before_the_first():
    timing = dump_timing(Timing((IntervalTrigger.model_validate({"every": "1m", "anchor": "2026-01-01T00:00:00Z"}),)))
    anchor = parse_instant("2026-01-01T00:00:00Z")
    assert previous_nominal(timing, anchor, 0) is None
    assert previous_nominal(timing, anchor + 1, 0) == anchor
    assert previous_nominal(timing, anchor + 60 * SECOND, anchor) is None


def test_every_reason_of_the_ledger_is_a_verdict_and_every_verdict_has_a_sentence():
    # A lost attempt ends a run that has fired.
    assert {reason.value for reason in Reason} - {"lost"} <= {verdict.value for verdict in Verdict}
    assert set(SENTENCES) == set(Verdict)
