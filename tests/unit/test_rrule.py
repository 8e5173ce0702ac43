"""Calendar rules: what they mean, what is refused, clock changes, and their words."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from backend.errors import FieldError
from backend.model.instants import LATEST, SECOND, parse_instant, rfc3339, to_datetime
from backend.triggers.describe import describe, note_at, warnings
from backend.triggers.registry import AnyTrigger
from backend.triggers.rrule import RecurrenceTrigger
from backend.triggers.zones import zone

T = parse_instant
START = "1997-09-02T09:00:00"
NEW_YORK = "America/New_York"


def rrule(rule: str, dtstart: str = START, timezone: str = NEW_YORK) -> RecurrenceTrigger:
    return RecurrenceTrigger(rule=rule, dtstart=dtstart, timezone=timezone)


def utc(trigger: RecurrenceTrigger, after: str, count: int = 4) -> list[str]:
    found, instant = [], T(after)
    for _ in range(count):
        following = trigger.next_after(instant)
        if following is None:
            break
        assert following > instant
        instant = following
        found.append(rfc3339(instant))
    return found


def local(trigger: RecurrenceTrigger, count: int, after: str = "1997-01-01T00:00:00Z") -> list[str]:
    there = zone(trigger.timezone)
    return [f"{to_datetime(T(text)).astimezone(there):%Y-%m-%d %H:%M}" for text in utc(trigger, after, count)]


def refusal(**fields: Any) -> FieldError:
    document = {"kind": "rrule", "rule": "FREQ=DAILY", "dtstart": START, "timezone": NEW_YORK} | fields
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(AnyTrigger).validate_python(document)
    error = refused.value.errors()[0]["ctx"]["error"]
    assert isinstance(error, FieldError)
    assert error.fix
    return error


# Examples of RFC 5545, section 3.8.5.3, all of which begin on Tuesday, 2 September 1997, at 9 in New York.
@pytest.mark.parametrize(
    ("rule", "dates"),
    [
        ("FREQ=DAILY;INTERVAL=10;COUNT=5", "1997 09-02 09-12 09-22 10-02 10-12"),
        ("FREQ=WEEKLY;UNTIL=19971007T000000Z;WKST=SU;BYDAY=TU,TH", "1997 09-02 09-04 09-09 09-11 09-16 09-18"),
        ("FREQ=WEEKLY;INTERVAL=2;COUNT=8;WKST=SU;BYDAY=TU,TH", "1997 09-02 09-04 09-16 09-18 09-30 10-02 10-14 10-16"),
        ("FREQ=MONTHLY;INTERVAL=2;COUNT=10;BYDAY=1SU,-1SU", "1997 09-07 09-28 11-02 11-30"),
        ("FREQ=MONTHLY;COUNT=6;BYDAY=-2MO", "1997 09-22 10-20 11-17 12-22"),
        ("FREQ=MONTHLY;BYMONTHDAY=-3", "1997 09-28 10-29 11-28 12-29"),
        ("FREQ=MONTHLY;COUNT=10;BYMONTHDAY=1,-1", "1997 09-30 10-01 10-31 11-01 11-30 12-01 12-31"),
        ("FREQ=MONTHLY;BYDAY=WE,1MO", "1997 09-03 09-10 09-17 09-24 10-01 10-06 10-08"),
        ("FREQ=YEARLY;BYDAY=20MO", "1998 05-18"),
        ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "1998 05-11"),
        ("FREQ=YEARLY;BYWEEKNO=20", "1998 05-12"),
        ("FREQ=YEARLY;BYMONTH=3;BYDAY=TH", "1998 03-05 03-12 03-19 03-26"),
        ("FREQ=YEARLY;INTERVAL=3;COUNT=10;BYYEARDAY=1,100,200", "2000 01-01 04-09 07-18"),
        ("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "1998 02-13 03-13 11-13"),
        ("FREQ=MONTHLY;BYDAY=SA;BYMONTHDAY=7,8,9,10,11,12,13", "1997 09-13 10-11 11-08 12-13"),
        ("FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3", "1997 09-04 10-07 11-06"),
        ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2", "1997 09-29 10-30 11-27 12-30"),
        ("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO", "1997 09-02 09-07 09-16 09-21"),
        ("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU", "1997 09-02 09-14 09-16 09-28"),
        ("FREQ=DAILY;BYMONTH=1;UNTIL=20000131T140000Z", "1998 01-01 01-02 01-03"),
        ("RRULE:freq=monthly;bymonthday=2;", "1997 09-02 10-02"),
    ],
)
def test_the_examples_of_the_rfc(rule: str, dates: str):
    year, *days = dates.split()
    assert local(rrule(rule), len(days)) == [f"{year}-{day} 09:00" for day in days]


def test_every_thursday_in_three_summers_and_election_day():
    assert local(rrule("FREQ=YEARLY;BYDAY=TH;BYMONTH=6,7,8"), 14)[-2:] == ["1998-08-27 09:00", "1999-06-03 09:00"]
    election = rrule("FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8", "1996-11-05T09:00:00")
    assert local(election, 3, "1996-01-01T00:00:00Z") == ["1996-11-05 09:00", "2000-11-07 09:00", "2004-11-02 09:00"]


def test_hours_count_on_the_wall_clock_within_the_day():
    assert local(rrule("FREQ=HOURLY;INTERVAL=3;UNTIL=19970902T170000"), 9) == [
        "1997-09-02 09:00",
        "1997-09-02 12:00",
        "1997-09-02 15:00",
    ]
    assert local(rrule("FREQ=HOURLY;INTERVAL=25;BYMINUTE=0,30;BYSETPOS=-1"), 3) == [
        "1997-09-02 09:30",
        "1997-09-03 10:30",
        "1997-09-04 11:30",
    ]


def test_times_of_the_day_are_all_combinations_and_positions_choose_among_them():
    assert local(rrule("FREQ=DAILY;BYHOUR=9,17;BYMINUTE=0,30"), 5)[1:] == [
        "1997-09-02 09:30",
        "1997-09-02 17:00",
        "1997-09-02 17:30",
        "1997-09-03 09:00",
    ]
    last_of_the_week = rrule("FREQ=WEEKLY;BYDAY=MO,FR;BYHOUR=9,17;BYSETPOS=-1,1")
    assert local(last_of_the_week, 3) == ["1997-09-05 17:00", "1997-09-08 09:00", "1997-09-12 17:00"]


def test_the_answer_does_not_depend_on_how_long_ago_the_rule_began():
    old = rrule("FREQ=WEEKLY;INTERVAL=3;BYDAY=MO,WE", "1971-01-04T09:00:00")
    assert utc(old, "2400-01-01T00:00:00Z", 2) == utc(rrule(old.rule, "2399-12-27T09:00:00"), "2400-01-01T00:00:00Z", 2)


def test_a_count_counts_from_dtstart_and_an_until_includes_its_end():
    assert utc(rrule("FREQ=DAILY;COUNT=3", timezone="UTC"), "1997-09-03T10:00:00Z") == ["1997-09-04T09:00:00Z"]
    assert utc(rrule("FREQ=DAILY;COUNT=3", timezone="UTC"), "1997-09-04T09:00:00Z") == []
    assert utc(rrule("FREQ=DAILY;COUNT=1"), "1997-01-01T00:00:00Z") == ["1997-09-02T13:00:00Z"]
    for until in ("19970903", "19970903T090000", "19970903T130000Z"):
        assert len(utc(rrule(f"FREQ=DAILY;UNTIL={until}"), "1997-01-01T00:00:00Z")) == 2
    for until in ("19970902", "19970903T085959", "19970903T125959Z"):
        assert len(utc(rrule(f"FREQ=DAILY;UNTIL={until}"), "1997-01-01T00:00:00Z")) == 1


def test_ten_thousand_days_are_counted_to_the_last():
    trigger = rrule("FREQ=DAILY;COUNT=10000", "2000-01-01T00:00:00", "UTC")
    assert utc(trigger, "2027-05-17T12:00:00Z") == ["2027-05-18T00:00:00Z"]


def test_dtstart_fires_only_if_it_matches_and_nothing_fires_before():
    trigger = rrule("FREQ=WEEKLY;BYDAY=WE")
    assert local(trigger, 1, "1990-01-01T00:00:00Z") == ["1997-09-03 09:00"]
    assert warnings(trigger) == ["dtstart 1997-09-02 09:00 does not match the rule, so nothing fires then"]
    assert warnings(rrule("FREQ=WEEKLY;BYDAY=TU")) == []


def test_a_29_february_waits_eight_years_over_2100():
    trigger = rrule("FREQ=YEARLY", "2024-02-29T09:00:00", "UTC")
    assert utc(trigger, "2096-01-01T00:00:00Z", 2) == ["2096-02-29T09:00:00Z", "2104-02-29T09:00:00Z"]
    assert "day 29 exists in February only in leap years" in warnings(trigger)[0]


def test_a_time_in_a_gap_fires_at_its_end_once():
    daily = rrule("FREQ=DAILY", "2024-03-01T02:30:00")
    assert utc(daily, "2024-03-09T12:00:00Z", 2) == ["2024-03-10T07:00:00Z", "2024-03-11T06:30:00Z"]
    assert note_at(daily, T("2024-03-10T07:00:00Z")) == "02:30 does not exist that day; fires at 03:00"
    assert note_at(daily, T("2024-03-11T06:30:00Z")) is None
    often = rrule("FREQ=HOURLY;BYMINUTE=0,20,40", "2024-03-01T00:00:00")
    found = ["2024-03-10T06:40:00Z", "2024-03-10T07:00:00Z", "2024-03-10T07:20:00Z"]
    assert utc(often, "2024-03-10T06:20:00Z", 3) == found


def test_a_time_in_an_overlap_fires_in_the_first_pass_wherever_one_asks():
    daily = rrule("FREQ=DAILY", "2024-03-01T01:30:00")
    first, following = "2024-11-03T05:30:00Z", "2024-11-04T06:30:00Z"
    assert utc(daily, "2024-11-03T05:00:00Z", 2) == [first, following]
    assert note_at(daily, T(first)) == "01:30 occurs twice on 2024-11-03; this is the first"
    for after in (first, "2024-11-03T06:00:00Z", "2024-11-03T06:10:00Z", "2024-11-03T06:30:00Z"):
        assert utc(daily, after, 1) == [following]


def test_a_daily_rule_runs_daily_in_cairo_at_midnight_and_skips_the_date_that_apia_skipped():
    cairo = rrule("FREQ=DAILY", "2024-04-01T00:00:00", "Africa/Cairo")
    assert utc(cairo, "2024-04-24T22:00:00Z", 2) == ["2024-04-25T22:00:00Z", "2024-04-26T21:00:00Z"]
    apia = rrule("FREQ=DAILY", "2011-12-01T09:00:00", "Pacific/Apia")
    assert local(apia, 3, "2011-12-28T20:00:00Z") == ["2011-12-29 09:00", "2011-12-31 09:00", "2012-01-01 09:00"]


def test_until_a_date_that_the_zone_skipped_ends_before_it():
    apia = rrule("FREQ=DAILY;UNTIL=20111230", "2011-12-28T09:00:00", "Pacific/Apia")
    assert local(apia, 5, "2011-01-01T00:00:00Z") == ["2011-12-28 09:00", "2011-12-29 09:00"]


def test_lord_howe_shifts_by_half_an_hour():
    trigger = rrule("FREQ=DAILY;BYHOUR=2;BYMINUTE=0,15,30", "2024-10-01T02:00:00", "Australia/Lord_Howe")
    assert utc(trigger, "2024-10-05T15:20:00Z", 2) == ["2024-10-05T15:30:00Z", "2024-10-06T15:00:00Z"]


def test_far_and_last_instants_of_the_calendar_can_be_asked_about():
    yearly = rrule("FREQ=YEARLY", "2026-07-01T09:00:00", "Europe/London")
    assert utc(yearly, "2998-01-01T00:00:00Z", 1) == ["2998-07-01T08:00:00Z"]
    assert yearly.next_after(LATEST) is None
    assert yearly.next_after(T("9999-12-31T23:59:58Z")) is None
    assert utc(rrule("FREQ=DAILY", timezone="Pacific/Kiritimati"), "9999-12-30T00:00:00Z", 9)
    weekly = rrule("FREQ=WEEKLY;BYDAY=SU,SA;BYMONTH=12,1", timezone="Pacific/Kiritimati")
    assert weekly.next_after(T("9999-12-31T20:00:00Z")) is None


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("FREQ=SECONDLY", "FREQ=SECONDLY is not for calendars"),
        ("FREQ=MINUTELY;INTERVAL=5", "FREQ=MINUTELY is not for calendars"),
        ("FREQ=FORTNIGHTLY", "FREQ 'FORTNIGHTLY' is not a period"),
        ("BYDAY=MO", "the rule has no FREQ"),
        ("", "one line of ASCII"),
        ("FREQ=DAILY BYHOUR=9", "one line of ASCII"),
        ("DTSTART:19970902T090000\nRRULE:FREQ=DAILY", "one line of ASCII"),
        ("FREQ=DAILY;BYEASTER=1", "'BYEASTER' is not a part of a rule"),
        ("FREQ=DAILY;BYHOUR", "BYHOUR has no value"),
        ("FREQ=DAILY;BYHOUR=", "BYHOUR has no value"),
        ("FREQ=DAILY;BYHOUR=9;BYHOUR=10", "BYHOUR stands there twice"),
        ("FREQ=DAILY;BYHOUR=24", "BYHOUR 24 is outside 0–23"),
        ("FREQ=DAILY;BYHOUR=9,,10", "BYHOUR '' is not a number"),
        ("FREQ=DAILY;BYSECOND=60", "BYSECOND 60 is outside 0–59"),
        ("FREQ=DAILY;BYMINUTE=-1", "BYMINUTE -1 is outside 0–59"),
        ("FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY 0 is outside 1–31 or -1–-31"),
        ("FREQ=WEEKLY;BYDAY=XX", "BYDAY 'XX' is not a weekday"),
        ("FREQ=WEEKLY;BYDAY=1MO", "a numbered weekday goes with FREQ=MONTHLY"),
        ("FREQ=YEARLY;BYWEEKNO=1;BYDAY=1MO", "a numbered weekday goes with FREQ=MONTHLY"),
        ("FREQ=MONTHLY;BYDAY=6MO", "a month has no weekday more than 5 times"),
        ("FREQ=YEARLY;BYDAY=54MO", "BYDAY 54MO: 54 is outside 1–53"),
        ("FREQ=WEEKLY;WKST=1", "WKST '1' is not a weekday"),
        ("FREQ=WEEKLY;BYMONTHDAY=1", "BYMONTHDAY does not go with FREQ=WEEKLY"),
        ("FREQ=MONTHLY;BYWEEKNO=1", "BYWEEKNO does not go with FREQ=MONTHLY"),
        ("FREQ=DAILY;BYYEARDAY=1", "BYYEARDAY does not go with FREQ=DAILY"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL 0 is outside 1–3652"),
        ("FREQ=YEARLY;INTERVAL=11", "INTERVAL 11 is outside 1–10"),
        ("FREQ=DAILY;INTERVAL=99999999999999999999", "is outside 1–3652"),
        ("FREQ=DAILY;COUNT=10001", "COUNT 10001 is outside 1–10000"),
        ("FREQ=YEARLY;COUNT=40", "COUNT=40 is not reached within 30 years"),
        ("FREQ=HOURLY;INTERVAL=24;COUNT=3000", "COUNT=3000 is not reached within 5 years"),
        ("FREQ=DAILY;COUNT=3;UNTIL=19991231", "a rule ends by COUNT or by UNTIL, not by both"),
        ("FREQ=DAILY;UNTIL=1999-12-31", "UNTIL '1999-12-31' is not a time"),
        ("FREQ=DAILY;UNTIL=19990230", "UNTIL 19990230 is not a time of the calendar"),
        ("FREQ=DAILY;UNTIL=19970901", "the rule ends before its first occurrence"),
        ("FREQ=DAILY;BYSETPOS=1", "BYSETPOS chooses among what another BY part lists"),
        ("FREQ=DAILY;BYHOUR=1,2;BYSETPOS=3", "BYSETPOS chooses none of the 2 times"),
        ("FREQ=MONTHLY;BYDAY=1MO;BYSETPOS=2", "the rule has no occurrence within 10 years"),
        ("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=31", "the rule has no occurrence within 10 years"),
        ("FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30", "the rule has no occurrence within 10 years"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO", "the rule has no occurrence within 10 years"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=TU", "the rule leaves more than 10 years"),
        ("FREQ=DAILY;INTERVAL=7;BYDAY=MO", "the rule has no occurrence within 10 years"),
        (
            f"FREQ=DAILY;BYMINUTE={','.join(map(str, range(60)))};BYSECOND={','.join(map(str, range(30)))}",
            "more than 1440 times a day",
        ),
        ("FREQ=DAILY;BYHOUR=" + ",".join(["1"] * 300), "longer than 512 characters"),
    ],
)
def test_what_the_rfc_or_a_limit_rules_out_is_refused_with_the_rule(rule: str, says: str):
    error = refusal(rule=rule)
    assert says in error.rule
    assert error.field == "rule"


@pytest.mark.parametrize(
    ("fields", "says", "field"),
    [
        ({"dtstart": "1997-09-02T09:00:00Z"}, "is not a local time in whole seconds", "dtstart"),
        ({"dtstart": "1997-09-02T09:00:00.5"}, "is not a local time in whole seconds", "dtstart"),
        ({"dtstart": "1997-09-02"}, "is not a local time in whole seconds", "dtstart"),
        ({"dtstart": "1997-02-29T09:00"}, "is not a time", "dtstart"),
        ({"dtstart": "1969-12-31T09:00"}, "is before 1970", "dtstart"),
        ({"timezone": "EST"}, "'EST' is an abbreviation or alias", "timezone"),
    ],
)
def test_a_wrong_beginning_or_zone_is_refused_by_its_name(fields: dict[str, str], says: str, field: str):
    error = refusal(**fields)
    assert says in error.rule
    assert error.field == field


def test_a_rule_that_ends_in_time_may_be_as_rare_as_it_likes():
    once = rrule("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=TU;COUNT=1")
    assert utc(once, "1997-01-01T00:00:00Z") == ["2000-02-29T14:00:00Z"]
    ended = rrule("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=TU;UNTIL=20090101")
    assert utc(ended, "1997-01-01T00:00:00Z") == ["2000-02-29T14:00:00Z"]


def test_what_yaml_reads_as_a_time_is_taken():
    document = yaml.safe_load("{kind: rrule, rule: FREQ=DAILY, dtstart: 1997-09-02T09:00:00}")
    assert RecurrenceTrigger.model_validate(document) == rrule("FREQ=DAILY", timezone="UTC")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("FREQ=DAILY", "every day at 09:00, from 1997-09-02 09:00"),
        ("FREQ=DAILY;COUNT=5", "every day at 09:00, from 1997-09-02 09:00, 5 times"),
        ("FREQ=DAILY;COUNT=1", "every day at 09:00, from 1997-09-02 09:00, once"),
        ("FREQ=DAILY;UNTIL=19971231", "every day at 09:00, from 1997-09-02 09:00, until 1997-12-31 23:59:59"),
        (
            "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TU,WE,FR;BYHOUR=9,17",
            (
                "every 2 weeks (weeks begin on Monday) on Monday to Wednesday and Friday at 09:00 and 17:00, "
                "from 1997-09-02 09:00"
            ),
        ),
        (
            "FREQ=MONTHLY;BYDAY=1MO,-1FR,-2SU",
            (
                "every month on the second-last Sunday of the month, the first Monday of the month and the last Friday "
                "of the month at 09:00, from 1997-09-02 09:00"
            ),
        ),
        (
            "FREQ=MONTHLY;BYMONTHDAY=13,-1;BYDAY=FR;BYMONTH=1,2,3",
            (
                "every month on day 13 and the last day of the month if that is Friday in January to March at 09:00, "
                "from 1997-09-02 09:00"
            ),
        ),
        (
            "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
            "every month on Monday to Friday at 09:00, of these only the last in each month, from 1997-09-02 09:00",
        ),
        ("FREQ=YEARLY", "every year on day 2 of the month in September at 09:00, from 1997-09-02 09:00"),
        ("FREQ=YEARLY;BYDAY=22TU", "every year on the 22nd Tuesday of the year at 09:00, from 1997-09-02 09:00"),
        (
            "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO",
            "every year in week 20 of the year (weeks begin on Monday) on Monday at 09:00, from 1997-09-02 09:00",
        ),
        ("FREQ=YEARLY;BYYEARDAY=100", "every year on day 100 of the year at 09:00, from 1997-09-02 09:00"),
        (
            "FREQ=HOURLY;INTERVAL=3;BYMINUTE=0,30",
            "every 3 hours at minutes 0 and 30, from 1997-09-02 09:00",
        ),
        (
            "FREQ=DAILY;BYHOUR=9,10,11,12;BYMINUTE=0,30;BYSECOND=5",
            "every day at second 5 of minutes 0 and 30 of hours 9 to 12, from 1997-09-02 09:00",
        ),
    ],
)
def test_a_rule_in_words(rule: str, words: str):
    assert describe(rrule(rule)) == f"{words} ({NEW_YORK})"


def test_surprises_are_told():
    assert warnings(rrule("FREQ=MONTHLY;BYMONTHDAY=31", "1997-10-31T09:00:00")) == [
        "day 31 does not exist in February, April, June, September and November; BYMONTHDAY=-1 means the last day"
    ]
    assert warnings(rrule("FREQ=MONTHLY;BYMONTHDAY=-1", "1997-10-31T09:00:00")) == []
    assert "an hour that comes twice fires in its first pass only" in warnings(rrule("FREQ=HOURLY"))[0]


def test_occurrences_carry_whole_seconds():
    trigger = rrule("FREQ=DAILY", "2026-01-01T00:00:01", "UTC")
    assert trigger.next_after(T("2026-01-01T00:00:00.999999Z")) == T("2026-01-01T00:00:01Z")
    assert trigger.next_after(T("2026-01-01T00:00:01Z") - 1) == T("2026-01-01T00:00:01Z")
    assert trigger.next_after(T("2026-01-01T00:00:01Z")) == T("2026-01-02T00:00:01Z")
    assert (trigger.next_after(T("2026-01-01T00:00:01.5Z")) or 0) % SECOND == 0
