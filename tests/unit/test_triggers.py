"""Intervals, single instants, the registry, and triggers in words."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest
from pydantic import TypeAdapter, ValidationError

from backend.errors import FieldError
from backend.model.instants import SECOND, parse_instant
from backend.triggers.cron import CronTrigger, DstOverlap
from backend.triggers.describe import describe, note_at, skipped_times, warnings
from backend.triggers.interval import IntervalTrigger
from backend.triggers.once import OnceTrigger
from backend.triggers.registry import KINDS, AnyTrigger, dump_triggers, next_after, parse_triggers

T = parse_instant
GOOD = {
    "cron": {"kind": "cron", "expression": "0 9 * * mon-fri", "timezone": "Europe/London"},
    "interval": {"kind": "interval", "every": "15m", "anchor": "2024-01-01T00:00:00Z"},
    "once": {"kind": "once", "at": "2026-12-01T09:00:00", "timezone": "Europe/London"},
    "rrule": {
        "kind": "rrule",
        "rule": "FREQ=MONTHLY;BYDAY=1MO",
        "dtstart": "2026-01-05T09:00:00",
        "timezone": "Europe/London",
    },
}


def refusal(document: object) -> FieldError:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(AnyTrigger).validate_python(document)
    error = refused.value.errors()[0]["ctx"]["error"]
    assert isinstance(error, FieldError)
    return error


def test_every_kind_is_registered_and_travels_unchanged():
    assert set(KINDS) == set(GOOD)
    for kind, document in GOOD.items():
        (trigger,) = parse_triggers(json.dumps([document]))
        assert type(trigger) is KINDS[kind]
        assert parse_triggers(dump_triggers([trigger])) == (trigger,)
        assert trigger.next_after(T("2024-01-01T00:00:00Z")) is not None


def test_dumps_are_canonical():
    text = dump_triggers(parse_triggers('[ {"every": 900, "kind": "interval"} ]'))
    assert text == '[{"anchor":null,"every":"15m","kind":"interval"}]'


def test_the_union_is_discriminated_by_kind_in_the_schema():
    schema = TypeAdapter(AnyTrigger).json_schema()
    assert schema["discriminator"]["propertyName"] == "kind"
    for document in ({"kind": "rrule"}, {"expression": "* * * * *"}, {}, 5, None):
        with pytest.raises(ValidationError):
            TypeAdapter(AnyTrigger).validate_python(document)


def test_the_next_of_several_triggers_is_the_earliest_and_equal_instants_merge():
    triggers = parse_triggers(
        '[{"kind":"cron","expression":"0 9 * * *"},{"kind":"cron","expression":"0 */3 * * *"},'
        '{"kind":"once","at":"2024-01-01T10:00:00Z"}]'
    )
    found, instant = [], T("2024-01-01T08:00:00Z")
    for _ in range(3):
        instant = next_after(triggers, instant) or 0
        found.append(instant)
    assert found == [T("2024-01-01T09:00:00Z"), T("2024-01-01T10:00:00Z"), T("2024-01-01T12:00:00Z")]
    assert next_after((), 0) is None
    assert next_after(triggers[2:], T("2025-01-01T00:00:00Z")) is None


def test_only_a_single_instant_does_not_recur():
    assert [kind for kind, trigger in KINDS.items() if not trigger.recurring] == ["once"]


def test_an_interval_counts_from_its_anchor():
    trigger = IntervalTrigger.model_validate({"every": "7s", "anchor": "2024-01-01T00:00:00.25Z"})
    anchor = T("2024-01-01T00:00:00.25Z")
    assert trigger.next_after(anchor - 5 * 365 * 86400 * SECOND) == anchor
    assert trigger.next_after(anchor - 1) == anchor
    assert trigger.next_after(anchor) == anchor + 7 * SECOND
    assert trigger.next_after(anchor + 7 * SECOND - 1) == anchor + 7 * SECOND
    assert trigger.next_after(anchor + 10**15) == anchor + (10**15 // (7 * SECOND) + 1) * 7 * SECOND
    assert trigger.next_after(T("9999-12-31T23:59:59Z")) is None


def test_an_interval_follows_real_time_through_a_clock_change():
    trigger = IntervalTrigger(every=timedelta(hours=1)).with_anchor(T("2024-03-10T06:30:00Z"))
    assert trigger.next_after(T("2024-03-10T06:30:00Z")) == T("2024-03-10T07:30:00Z")


def test_an_interval_without_anchor_asks_for_one():
    with pytest.raises(FieldError, match="no anchor"):
        IntervalTrigger(every=timedelta(hours=1)).next_after(0)


@pytest.mark.parametrize("every", [0, "0s", "0.5s", "999ms", "3651d", "1.0000005s", "1.5ms", "soon", True, None, "-5s"])
def test_an_interval_of_no_sense_is_refused(every):
    assert refusal({"kind": "interval", "every": every}).fix


@pytest.mark.parametrize("anchor", [0, 1_700_000_000, "yesterday", "2024-01-01T00:00:00", True])
def test_an_anchor_is_an_instant_with_an_offset(anchor):
    assert refusal({"kind": "interval", "every": 60, "anchor": anchor}).fix


@pytest.mark.parametrize(
    ("at", "timezone", "instant"),
    [
        ("2026-12-01T09:00:00", "UTC", "2026-12-01T09:00:00Z"),
        ("2026-12-01T09:00", "America/New_York", "2026-12-01T14:00:00Z"),
        ("2026-12-01 09:00:00.5", "America/New_York", "2026-12-01T14:00:00.5Z"),
        ("2026-12-01T09:00:00Z", "America/New_York", "2026-12-01T09:00:00Z"),
        ("2026-12-01t09:00:00+05:30", "America/New_York", "2026-12-01T03:30:00Z"),
        ("2024-03-10T02:30:00", "America/New_York", "2024-03-10T07:00:00Z"),
        ("2024-11-03T01:30:00", "America/New_York", "2024-11-03T05:30:00Z"),
        ("2011-12-30T12:00:00", "Pacific/Apia", "2011-12-30T10:00:00Z"),
    ],
)
def test_a_single_instant_is_local_or_has_an_offset(at, timezone, instant):
    trigger = OnceTrigger(at=at, timezone=timezone)
    assert trigger.instant == T(instant)
    assert trigger.next_after(T(instant) - 1) == T(instant)
    assert trigger.next_after(T(instant)) is None


def test_a_time_that_yaml_has_read_is_taken():
    document = {"kind": "once", "at": datetime.fromisoformat("2026-12-01T09:00:00"), "timezone": "Europe/London"}
    assert OnceTrigger.model_validate(document).at == "2026-12-01T09:00:00"


@pytest.mark.parametrize(
    "at",
    [
        "",
        "tomorrow",
        "2026-12-01",
        "20261201T090000",
        "2026-13-01T00:00:00",
        "2026-02-30T00:00:00",
        "2026-12-01T24:00:00",
        "2026-12-01T09:00:60Z",
        "1969-12-31T23:00:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-05:00",
        "٢٠٢٦-12-01T09:00:00",
        "2026-12-01T09:00:00\0",
        "2" * 100_000,
    ],
)
def test_a_single_instant_of_no_sense_is_refused(at):
    error = refusal({"kind": "once", "at": at})
    assert (error.field, bool(error.fix)) == ("at", True)
    assert len(str(error)) < 400


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("* * * * *", "every minute"),
        ("*/15 * * * *", "every 15 minutes"),
        ("*/45 * * * *", "at minutes 0 and 45 of every hour"),
        ("5 * * * *", "at minute 5 of every hour"),
        ("*/10 9-17 * * mon-fri", "every 10 minutes of hours 9 to 17 on Monday to Friday"),
        ("0 9,17 * * *", "at 09:00 and 17:00"),
        ("30 4 1,15 * 5", "at 04:30 on days 1 and 15 of the month or on Friday"),
        ("0 0 */2 * 1", None),
        ("0 0 L 2 *", "at 00:00 on the last day of the month in February"),
        ("0 0 15W jan-mar,dec *", None),
        ("0 0 * * fri#2,sun", "at 00:00 on Sunday and the second Friday of the month"),
        ("*/10 * * * * *", "every 10 seconds"),
        ("15 30 8 * * *", "at 08:30:15"),
        ("5 * 1 * * *", "at second 5 of every minute of hour 1"),
        ("*/5 * 1 * * *", "every 5 seconds of hour 1"),
        ("0 0 ? * sun#5,0#5,7#5", "at 00:00 on the fifth Sunday of the month"),
        ("*/7 * * * * *", None),
        ("0 0 * * fri-mon", "at 00:00 on Monday and Friday to Sunday"),
    ],
)
def test_a_cron_rule_is_described_exactly(expression, text):
    said = {
        "0 0 */2 * 1": "at 00:00 on days 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29 and 31 of the month"
        " if that is Monday",
        "0 0 15W jan-mar,dec *": "at 00:00 on the working day nearest to day 15 of the month"
        " in January to March and December",
        "*/7 * * * * *": "at seconds 0, 7, 14, 21, 28, 35, 42, 49 and 56 of every minute",
    }
    assert describe(CronTrigger(expression=expression)) == f"{text or said[expression]} (UTC)"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"dst_gap": "skip"}, ", not on days when the clock jumps over it"),
        ({"dst_overlap": "second"}, ", the second time only when the clock reads it twice"),
        ({"dst_overlap": "both"}, ", both times when the clock reads it twice"),
        ({"dst_gap": "shift", "dst_overlap": "first"}, ""),
        ({"dst_gap": "skip", "timezone": "UTC"}, ""),
        ({"dst_gap": "skip", "expression": "*/30 2 * * *"}, ""),
    ],
)
def test_what_clock_changes_do_is_described_where_it_is_not_the_default(fields, words):
    trigger = CronTrigger.model_validate({"expression": "30 2 * * *", "timezone": "America/New_York"} | fields)
    assert describe(trigger).removesuffix(f" ({trigger.timezone})").partition("02:30")[2].endswith(words)
    assert (", " in describe(trigger)) is bool(words)


def test_a_policy_for_clock_changes_without_effect_is_warned_about():
    both = {"expression": "*/30 * * * *", "dst_gap": "skip", "dst_overlap": "both"}
    (warning,) = warnings(CronTrigger.model_validate(both))
    assert warning.startswith("dst_gap and dst_overlap have no effect")
    (warning,) = warnings(CronTrigger.model_validate(both | {"dst_gap": "shift"}))
    assert warning.startswith("dst_overlap has no effect")
    assert warnings(CronTrigger.model_validate(both | {"expression": "30 2 * * *"})) == []


def test_times_that_are_skipped_are_named():
    skip = {"expression": "30 2 * * *", "timezone": "America/New_York", "dst_gap": "skip"}
    year = (T("2026-01-01T00:00:00Z"), T("2027-01-01T00:00:00Z"))
    named = ["02:30 on 2026-03-08 does not exist, and is skipped"]
    assert skipped_times(CronTrigger.model_validate(skip), *year) == named
    assert skipped_times(CronTrigger.model_validate(skip), T("2026-03-08T07:00:00Z"), year[1]) == []
    assert len(skipped_times(CronTrigger.model_validate(skip), 0, T("9999-01-01T00:00:00Z"))) == 3
    for other in ({"dst_gap": "shift"}, {"expression": "30 3 * * *"}, {"expression": "*/30 * * * *"}):
        assert skipped_times(CronTrigger.model_validate(skip | other), *year) == []


def test_intervals_and_single_instants_are_described():
    interval = IntervalTrigger(every=timedelta(minutes=90))
    assert describe(interval) == "every 90m, counted from its creation"
    assert describe(interval.with_anchor(0)) == "every 90m, counted from 1970-01-01T00:00:00Z"
    once = OnceTrigger(at="2026-12-01T09:00:00", timezone="America/New_York")
    assert describe(once) == "once, at 2026-12-01T14:00:00Z (America/New_York)"


@pytest.mark.parametrize(
    ("expression", "part"),
    [
        ("0 0 13 * fri", "either day-of-month 13 or day-of-week fri"),
        ("0 0 */2 * 1", "must both match"),
        ("*/45 * * * *", "the last step of each round is 15 minutes, not 45"),
        ("0 */5 * * *", "the last step of each round is 4 hours, not 5"),
        ("*/45,3 * * * *", "the last step of each round is 15 minutes, not 45"),
        ("*/59 * * * *", "the last step of each round is 1 minute, not 59"),
        ("0 0 31 * *", "day 31 does not exist in February, April, June, September and November"),
        ("0 0 30 * *", "day 30 does not exist in February"),
        ("0 0 29 * *", "only in leap years"),
    ],
)
def test_a_surprising_rule_is_warned_about(expression, part):
    (warning,) = warnings(CronTrigger(expression=expression))
    assert part in warning


@pytest.mark.parametrize(
    "expression", ["* * * * *", "*/15 9 * * mon-fri", "0 0 L * *", "0 0 31 1 *", "0 0 1,31 * *", "0 0 */1 * 1"]
)
def test_a_plain_rule_is_not_warned_about(expression):
    assert warnings(CronTrigger(expression=expression)) == []


def test_clock_changes_are_noted():
    gap = CronTrigger(expression="30 2 * * *", timezone="America/New_York")
    assert note_at(gap, T("2024-03-10T07:00:00Z")) == "02:30 does not exist that day; fires at 03:00"
    assert note_at(gap, T("2024-03-11T06:30:00Z")) is None
    overlap = CronTrigger(expression="30 1 * * *", timezone="America/New_York", dst_overlap=DstOverlap.BOTH)
    assert note_at(overlap, T("2024-11-03T05:30:00Z")) == "01:30 occurs twice on 2024-11-03; this is the first"
    assert note_at(overlap, T("2024-11-03T06:30:00Z")) == "01:30 occurs twice on 2024-11-03; this is the second"
    once = OnceTrigger(at="2024-03-10T02:15:00", timezone="America/New_York")
    assert note_at(once, once.instant) == "02:15 does not exist that day; fires at 03:00"
    assert note_at(IntervalTrigger(every=timedelta(hours=1)), 0) is None
