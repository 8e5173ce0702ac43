"""Named cases of the cron dialect and of its behaviour at clock changes."""

from __future__ import annotations

from datetime import datetime

import pytest
from cronsim import CronSim
from pydantic import ValidationError

from backend.errors import FieldError
from backend.model.instants import from_datetime, parse_instant, to_datetime
from backend.triggers.cron import CronTrigger
from backend.triggers.cron_fields import parse_fields, resolve_hash
from backend.triggers.zones import zone


def fires(expression: str, timezone: str, start: str, count: int = 3, **policies: str) -> list[str]:
    """List local times, with offsets, after a local time."""
    document = {"kind": "cron", "expression": expression, "timezone": timezone, **policies}
    trigger = CronTrigger.model_validate(document)
    instant: int | None = from_datetime(datetime.fromisoformat(start).replace(tzinfo=zone(timezone)))
    found = []
    for _ in range(count):
        assert instant is not None
        instant = trigger.next_after(instant)
        assert instant is not None
        found.append(to_datetime(instant).astimezone(zone(timezone)).strftime("%Y-%m-%d %H:%M%z"))
    return found


def values(bits: int) -> list[int]:
    return [value for value in range(60) if bits >> value & 1]


def refusal(expression: str, timezone: str = "UTC", **policies: str) -> FieldError:
    with pytest.raises(ValidationError) as refused:
        CronTrigger.model_validate({"expression": expression, "timezone": timezone, **policies})
    error = refused.value.errors()[0]["ctx"]["error"]
    assert isinstance(error, FieldError)
    return error


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*/2", [0, 2, 4, 6]),
        ("0-7", [0, 1, 2, 3, 4, 5, 6]),
        ("0-6/2", [0, 2, 4, 6]),
        ("mon-fri/2", [1, 3, 5]),
        ("sun-thu", [0, 1, 2, 3, 4]),
        ("fri-mon", [0, 1, 5, 6]),
        ("5-7", [0, 5, 6]),
        ("6-0", [0, 6]),
        ("7", [0]),
        ("7-2", [0, 1, 2]),
        ("7-7", [0]),
        ("1-7/3", [0, 1, 4]),
        ("1/2", [1, 3, 5]),
        ("Sat,SUN", [0, 6]),
        ("?", [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_weekdays_are_numbered_as_in_unix(text, expected):
    assert values(parse_fields(f"0 0 * * {text}").weekdays) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("22-2", [0, 1, 2, 22, 23]), ("22-4/2", [0, 2, 4, 22]), ("20/2", [20, 22]), ("5,1-2,*/12", [0, 1, 2, 5, 12])],
)
def test_hours_wrap_around_and_step(text, expected):
    assert values(parse_fields(f"0 {text} * * *").hours) == expected


def test_a_daily_job_in_new_york_runs_daily_when_its_hour_is_skipped():
    expected = ["2024-03-09 02:30-0500", "2024-03-10 03:00-0400", "2024-03-11 02:30-0400"]
    assert fires("30 2 * * *", "America/New_York", "2024-03-09") == expected


def test_a_skipped_hour_can_be_left_out():
    expected = ["2024-03-09 02:30-0500", "2024-03-11 02:30-0400"]
    assert fires("30 2 * * *", "America/New_York", "2024-03-09", 2, dst_gap="skip") == expected


@pytest.mark.parametrize(
    ("policy", "offsets"), [("first", ["-0400"]), ("second", ["-0500"]), ("both", ["-0400", "-0500"])]
)
def test_a_repeated_hour_fires_in_the_passes_asked_for(policy, offsets):
    expected = [f"2024-11-03 01:30{offset}" for offset in offsets] + ["2024-11-04 01:30-0500"]
    assert fires("30 1 * * *", "America/New_York", "2024-11-03", len(expected), dst_overlap=policy) == expected


def test_a_first_pass_is_not_repeated_when_asked_within_the_second():
    trigger = CronTrigger(expression="30 1 * * *", timezone="America/New_York")
    assert trigger.next_after(parse_instant("2024-11-03T06:05:00Z")) == parse_instant("2024-11-04T06:30:00Z")


def test_a_wildcard_rule_follows_real_time():
    assert fires("*/30 * * * *", "America/New_York", "2024-11-03T00:45", 5) == [
        "2024-11-03 01:00-0400",
        "2024-11-03 01:30-0400",
        "2024-11-03 01:00-0500",
        "2024-11-03 01:30-0500",
        "2024-11-03 02:00-0500",
    ]


def test_a_range_is_a_fixed_rule_and_a_star_a_wildcard_rule_in_a_gap():
    start = "2024-03-10T01:00"
    fixed = ["2024-03-10 03:00-0400", "2024-03-11 02:00-0400", "2024-03-11 02:10-0400"]
    wildcard = ["2024-03-11 02:00-0400", "2024-03-11 02:10-0400", "2024-03-11 02:20-0400"]
    assert fires("0-59/10 2 * * *", "America/New_York", start) == fixed
    assert fires("*/10 2 * * *", "America/New_York", start) == wildcard


def test_a_shifted_time_merges_with_a_regular_one():
    assert fires("0,30 2,3 * * *", "America/New_York", "2024-03-10", 3) == [
        "2024-03-10 03:00-0400",
        "2024-03-10 03:30-0400",
        "2024-03-11 02:00-0400",
    ]


def test_a_daily_job_runs_daily_in_cairo_at_midnight():
    expected = ["2024-04-25 00:00+0200", "2024-04-26 01:00+0300", "2024-04-27 00:00+0300"]
    assert fires("0 0 * * *", "Africa/Cairo", "2024-04-24T12:00") == expected


def test_a_daily_job_runs_daily_in_sao_paulo_at_midnight():
    expected = ["2017-10-14 00:00-0300", "2017-10-15 01:00-0200", "2017-10-16 00:00-0200"]
    assert fires("0 0 * * *", "America/Sao_Paulo", "2017-10-13T12:00") == expected


def test_a_gap_of_half_an_hour_shifts_by_what_it_takes():
    expected = ["2024-10-05 02:15+1030", "2024-10-06 02:30+1100", "2024-10-07 02:15+1100"]
    assert fires("15 2 * * *", "Australia/Lord_Howe", "2024-10-05") == expected


def test_an_overlap_of_half_an_hour_fires_once():
    expected = ["2024-04-06 01:45+1100", "2024-04-07 01:45+1100", "2024-04-08 01:45+1030"]
    assert fires("45 1 * * *", "Australia/Lord_Howe", "2024-04-06") == expected


def test_a_date_that_a_zone_skips_whole_has_no_occurrence():
    expected = ["2011-12-29 09:00-1000", "2011-12-31 09:00+1400"]
    assert fires("0 9 * * *", "Pacific/Apia", "2011-12-29", 2) == expected
    assert fires("0 0 30 12 *", "Pacific/Apia", "2011-01-01", 1) == ["2012-12-30 00:00+1400"]


def test_a_double_shift_and_ramadan_keep_a_daily_job_daily():
    assert fires("30 1 * * *", "Antarctica/Troll", "2024-03-30", 3) == [
        "2024-03-30 01:30+0000",
        "2024-03-31 03:00+0200",
        "2024-04-01 01:30+0200",
    ]
    assert fires("30 2 * * *", "Africa/Casablanca", "2024-03-09", 3)[1] == "2024-03-10 02:30+0100"  # the first pass
    assert fires("30 2 * * *", "Africa/Casablanca", "2024-04-13", 3)[1] == "2024-04-14 03:00+0100"


def test_the_29th_of_february_comes_in_leap_years_also_across_2100():
    assert fires("0 0 29 2 *", "UTC", "2024-03-01", 1) == ["2028-02-29 00:00+0000"]
    assert fires("0 0 29 2 *", "UTC", "2096-03-01", 1) == ["2104-02-29 00:00+0000"]


def test_either_day_field_matches_unless_one_begins_with_a_star():
    assert fires("0 0 13 * fri", "UTC", "2024-09-01", 4) == [f"2024-09-{day:02} 00:00+0000" for day in (6, 13, 20, 27)]
    assert fires("0 0 */2 * 1", "UTC", "2024-09-01", 3) == [f"2024-09-{day:02} 00:00+0000" for day in (9, 23)] + [
        "2024-10-07 00:00+0000"
    ]
    assert fires("0 0 ? * mon", "UTC", "2024-09-01", 2) == ["2024-09-02 00:00+0000", "2024-09-09 00:00+0000"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 0 L * *", ["2024-02-29", "2024-03-31"]),
        ("0 0 LW * *", ["2024-02-29", "2024-03-29"]),
        ("0 0 1W * *", ["2024-02-01", "2024-03-01"]),
        ("0 0 1w 6 *", ["2024-06-03", "2025-06-02"]),  # Saturday the 1st, Sunday the 1st
        ("0 0 31W 3,8 *", ["2024-03-29", "2024-08-30"]),  # Sunday, Saturday
        ("0 0 * * 5#3", ["2024-02-16", "2024-03-15"]),
        ("0 0 * * fri#5", ["2024-03-29", "2024-05-31"]),
        ("0 0 * * 5L", ["2024-02-23", "2024-03-29"]),
        ("0 0 * * SUNl", ["2024-02-25", "2024-03-31"]),
        ("0 0 1,L * *", ["2024-02-01", "2024-02-29"]),
        ("@monthly", ["2024-02-01", "2024-03-01"]),
        ("@Weekly", ["2024-02-04", "2024-02-11"]),
        ("@yearly", ["2025-01-01", "2026-01-01"]),
    ],
)
def test_special_days_and_aliases(expression, expected):
    assert [moment[:10] for moment in fires(expression, "UTC", "2024-01-31T12:00", 2)] == expected


def test_six_fields_begin_with_seconds_and_a_fraction_is_no_occurrence():
    trigger = CronTrigger(expression="*/20 0 9 * * *")
    asked = parse_instant("2024-01-01T09:00:20.5Z")
    assert trigger.next_after(asked) == parse_instant("2024-01-01T09:00:40Z")
    assert trigger.next_after(parse_instant("2024-01-01T09:00:40Z")) == parse_instant("2024-01-02T09:00:00Z")


@pytest.mark.parametrize(
    ("expression", "rule"),
    [
        ("61 * * * *", "minute 61 is outside 0–59"),
        ("* 24 * * *", "hour 24 is outside 0–23"),
        ("* * 0 * *", "day of month 0 is outside 1–31"),
        ("* * * foo *", "month 'FOO' is not a number or name"),
        ("* * * * 8", "day of week 8 is outside 0–7"),
        ("*/0 * * * *", "minute: '0' is not a step"),
        ("*/61 * * * *", "minute: step 61 is larger than its range of 60"),
        ("1-5/9 * * * *", "minute: step 9 is larger than its range of 5"),
        ("1,,2 * * * *", "minute '' is not a number"),
        ("1- * * * *", "minute '' is not a number"),
        ("1-2-3 * * * *", "minute '2-3' is not a number"),
        ("-1 * * * *", "minute '' is not a number"),
        ("1/2/3 * * * *", "minute: '2/3' is not a step"),
        ("? * * * *", "minute '?' is not a number"),
        ("٣ * * * *", "the expression has characters that cron does not know"),
        ("\0 * * * *", "the expression has characters that cron does not know"),
        ("* * * *\n*", "the expression has characters that cron does not know"),
        ("* * * *", "4 fields instead of 5 or 6"),
        ("", "0 fields instead of 5 or 6"),
        ("* * * * * * *", "7 fields instead of 5 or 6, and none of them is for years"),
        ("0 9 L-3 * *", "day of month L stands alone, not in a range or with a step"),
        ("0 9 1,LW-1 * *", "day of month LW stands alone, not in a range or with a step"),
        ("@reboot", "@reboot is not a time"),
        ("@every 5m", "'@every 5m' is not a known alias"),
        ("0 0 * * mon#6", "day of week MON#6: 6 is outside 1–5"),
        ("0 0 32W * *", "day of month 32 is outside 1–31"),
        ("0 0 * * L", "day of week L has no day"),
        ("0 0 30 2 *", "day 30 never occurs in month 2"),
        ("0 0 31 4,6 *", "day 31 never occurs in month 4,6"),
        ("0 0 30W 2 *", "day 30W never occurs in month 2"),
        ("0 0 29 2 */6", "the rule leaves more than 10 years between two occurrences"),
    ],
)
def test_a_refused_expression_is_told_its_rule_and_a_fix(expression, rule):
    error = refusal(expression)
    assert (error.rule, error.field) == (rule, "expression")
    assert error.fix


def test_a_star_step_in_a_short_month_still_has_its_first_day():
    assert fires("0 0 */30 2 *", "UTC", "2024-01-01", 1) == ["2024-02-01 00:00+0000"]


def test_a_rule_that_lives_in_a_gap_only_is_refused_with_skip():
    expression = "30 2 8-14 3 */7"
    assert "skips" in refusal(expression, "America/New_York", dst_gap="skip").rule
    assert CronTrigger(expression=expression, timezone="America/New_York").next_after(0) is not None


def test_long_input_is_refused_before_it_is_read():
    assert refusal("1," * 400_000 + "1 * * * *").rule == "the expression is longer than 512 characters"
    assert CronTrigger(expression=",".join(["0-59/1"] * 70) + " * * * *").next_after(0) == parse_instant(
        "1970-01-01T00:01:00Z"
    )


def test_an_unknown_zone_is_refused_by_its_field():
    assert refusal("* * * * *", "Mars/Olympus").field == "timezone"


def test_a_hash_depends_on_the_seed_and_stays_in_its_range():
    resolved = {resolve_hash("H H(0-7) H * *", f"schedule-{n}") for n in range(200)}
    assert len(resolved) > 150
    for expression in resolved:
        minute, hour, day, *_ = map(int, expression.split()[:3])
        assert minute <= 59
        assert hour <= 7
        assert 1 <= day <= 28
    assert resolve_hash("H H(0-7) * * *", "a") == resolve_hash("H H(0-7) * * *", "a")


def test_a_hashed_step_begins_below_the_step():
    for seed in "abcdefgh":
        minutes = values(parse_fields(resolve_hash("H/15 * * * *", seed)).minutes)
        assert len(minutes) == 4
        assert minutes[0] < 15
        tens = values(parse_fields(resolve_hash("h(0-29)/10 * * * *", seed)).minutes)
        assert len(tens) == 3
        assert tens[2] < 30


def test_an_expression_without_hash_is_left_alone_and_a_bad_hash_refused():
    assert resolve_hash("0 9 * * THU", "x") == "0 9 * * THU"
    for bad in ("H(5 * * * *", "H(30-10) * * * *", "H(0-70) * * * *", "H/99 * * * *"):
        with pytest.raises(FieldError):
            resolve_hash(bad, "x")


def test_nothing_is_due_beyond_the_year_9999():
    trigger = CronTrigger(expression="@yearly")
    assert trigger.next_after(parse_instant("9998-06-01T00:00:00Z")) == parse_instant("9999-01-01T00:00:00Z")
    assert trigger.next_after(parse_instant("9999-06-01T00:00:00Z")) is None


def test_a_trigger_is_frozen_and_refuses_unknown_fields():
    trigger = CronTrigger(expression="* * * * *")
    with pytest.raises(ValidationError):
        setattr(trigger, "expression", "0 * * * *")  # noqa: B010 (the type checker refuses the plain assignment)
    with pytest.raises(ValidationError):
        CronTrigger.model_validate({"expression": "* * * * *", "tz": "UTC"})


def test_an_item_that_stands_there_many_times_counts_once():
    fields = parse_fields("0,0,0 0 15W,015W,L,L * " + ",".join(["0#5", "7#5", "sun#5"] * 30))
    assert fields.special_dates == ("15W", "L")
    assert fields.special_weekdays == ((0, 5),)


@pytest.mark.parametrize(
    ("expression", "timezone", "began", "theirs", "ours"),
    [
        # cronsim writes 01:00 as the midnight that the gap swallowed.
        ("0 */2 */2 * *", "Asia/Tehran", "1996-03-20T20:00", "1996-03-21T01:00+04:30", "1996-03-21T02:00+04:30"),
        ("30 0 * * *", "Africa/Monrovia", "1972-01-06T12:00", "1972-01-07T00:45+00:00", "1972-01-07T00:44:30+00:00"),
        ("0 9 30 12 *", "Pacific/Apia", "2011-12-01", "2011-12-31T00:00+14:00", "2012-12-30T09:00+14:00"),
        ("45 * * * *", "Australia/Lord_Howe", "2024-10-06T01:45", "2024-10-06T03:45+11:00", "2024-10-06T02:45+11:00"),
        ("0 0 * * 1/2", "UTC", "2024-01-05", "2024-01-07T00:00+00:00", "2024-01-08T00:00+00:00"),
    ],
)
def test_differences_from_cronsim_are_as_documented(expression, timezone, began, theirs, ours):
    start = datetime.fromisoformat(began).replace(tzinfo=zone(timezone))
    # By the second: in a gap, times of two zones never compare as equal.
    assert next(CronSim(expression, start)).timestamp() == datetime.fromisoformat(theirs).timestamp()
    found = CronTrigger(expression=expression, timezone=timezone).next_after(from_datetime(start))
    assert found == from_datetime(datetime.fromisoformat(ours))
