"""What is excluded, until when, and how far one may jump."""

from __future__ import annotations

from datetime import date

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from backend.errors import FieldError
from backend.model.instants import LATEST, SECOND, parse_instant, rfc3339
from backend.triggers.exclusions import KINDS, AnyExclusion, CalendarExclusion, Exclusion, skip_excluded

T = parse_instant
MINUTE = 60 * SECOND
GOOD = {
    "cron": {"kind": "cron", "expression": "* * 25 12 *", "timezone": "Europe/London"},
    "date": {"kind": "date", "date": "2026-12-25", "timezone": "Europe/London"},
    "range": {"kind": "range", "from": "2026-12-24", "to": "2027-01-01T06:00:00", "timezone": "Europe/London"},
    "calendar": {"kind": "calendar", "calendar": "holidays", "timezone": "Europe/London", "days": None},
}
ADAPTER: TypeAdapter[Exclusion] = TypeAdapter(AnyExclusion)


def read(document: object) -> Exclusion:
    return ADAPTER.validate_python(document)


def cron(expression: str, timezone: str = "UTC") -> Exclusion:
    return read({"kind": "cron", "expression": expression, "timezone": timezone})


def day(text: str, timezone: str = "UTC") -> Exclusion:
    return read({"kind": "date", "date": text, "timezone": timezone})


def span(first: str, last: str, timezone: str = "UTC") -> Exclusion:
    return read({"kind": "range", "from": first, "to": last, "timezone": timezone})


def until(exclusion: Exclusion, instant: str) -> str | None:
    found = exclusion.excluded_until(T(instant))
    assert exclusion.excludes(T(instant)) == (found is not None)
    assert found is None or found > T(instant)
    return None if found is None else rfc3339(found)


def refusal(document: object) -> tuple[FieldError, tuple[int | str, ...]]:
    with pytest.raises(ValidationError) as refused:
        read(document)
    detail = refused.value.errors()[0]
    error = detail["ctx"]["error"]
    assert isinstance(error, FieldError)
    return error, detail["loc"]


def test_every_kind_is_registered_and_travels_unchanged():
    assert set(KINDS) == set(GOOD)
    for kind, document in GOOD.items():
        exclusion = read(document)
        assert type(exclusion) is KINDS[kind]
        assert exclusion.model_dump(mode="json") == document
        assert ADAPTER.validate_json(ADAPTER.dump_json(exclusion)) == exclusion
        assert hash(exclusion) == hash(read(document))


def test_five_fields_exclude_the_whole_minute_and_six_the_second():
    assert until(cron("30 9 * * *"), "2026-01-01T09:30:59.999999Z") == "2026-01-01T09:31:00Z"
    assert until(cron("30 9 * * *"), "2026-01-01T09:31:00Z") is None
    assert until(cron("0 30 9 * * *"), "2026-01-01T09:30:00.5Z") == "2026-01-01T09:30:01Z"
    assert until(cron("0 30 9 * * *"), "2026-01-01T09:30:01Z") is None
    assert until(cron("@daily"), "2026-01-01T00:00:59Z") == "2026-01-01T00:01:00Z"


@pytest.mark.parametrize(
    ("expression", "instant", "end"),
    [
        ("10-19 * * * *", "2026-01-01T09:12:00Z", "2026-01-01T09:20:00Z"),
        ("* 9-16 * * *", "2026-01-01T09:12:00Z", "2026-01-01T17:00:00Z"),
        ("* * 25 12 *", "2026-12-25T09:12:00Z", "2026-12-26T00:00:00Z"),
        ("* * * * sat,sun", "2026-01-03T09:12:00Z", "2026-01-05T00:00:00Z"),
        ("* * * 12 *", "2026-12-03T09:12:00Z", "2027-01-01T00:00:00Z"),
        ("* * * * * *", "2026-12-03T09:12:00Z", "2028-01-07T00:00:00Z"),
        ("10-19 * * * * *", "2026-01-01T09:12:12Z", "2026-01-01T09:12:20Z"),
        ("* 30 9 * * *", "2026-01-01T09:30:12Z", "2026-01-01T09:31:00Z"),
        ("* 22-5 * * *", "2026-06-01T22:00:00Z", "2026-06-02T00:00:00Z"),
        ("* 22-5 * * *", "2026-06-02T00:00:00Z", "2026-06-02T06:00:00Z"),
        ("* * L * *", "2026-02-28T09:30:12Z", "2026-03-01T00:00:00Z"),
        ("* * L * *", "2026-02-27T09:30:12Z", None),
        ("* * * * 1#1", "2026-01-05T09:30:12Z", "2026-01-06T00:00:00Z"),
        ("* * * * 1#1", "2026-01-12T09:30:12Z", None),
    ],
)
def test_a_cron_exclusion_reaches_to_the_end_of_its_neighbours(expression: str, instant: str, end: str | None):
    assert until(cron(expression), instant) == end


def test_a_local_day_is_excluded_in_its_own_zone():
    assert until(day("2026-12-25", "America/New_York"), "2026-12-25T04:59:59Z") is None
    assert until(day("2026-12-25", "America/New_York"), "2026-12-25T05:00:00Z") == "2026-12-26T05:00:00Z"
    assert until(day("2026-12-25", "America/New_York"), "2026-12-26T05:00:00Z") is None
    assert until(day("2026-12-25"), "2026-12-25T04:59:59Z") == "2026-12-26T00:00:00Z"


def test_a_day_with_a_clock_change_is_excluded_whole_in_two_answers():
    london = day("2026-10-25", "Europe/London")
    assert until(london, "2026-10-24T23:00:00Z") == "2026-10-25T01:00:00Z"
    assert until(london, "2026-10-25T01:00:00Z") == "2026-10-26T00:00:00Z"
    assert skip_excluded([london], T("2026-10-24T23:00:00Z")) == T("2026-10-25T01:00:00Z")


def test_both_passes_of_a_repeated_hour_are_excluded():
    london = cron("30 1 * * *", "Europe/London")
    assert until(london, "2026-10-25T00:30:00Z") == "2026-10-25T00:31:00Z"
    assert until(london, "2026-10-25T01:30:00Z") == "2026-10-25T01:31:00Z"
    assert until(london, "2026-03-29T01:30:00Z") is None


def test_a_date_that_a_zone_skips_excludes_nothing():
    apia = day("2011-12-30", "Pacific/Apia")
    assert until(apia, "2011-12-30T09:59:59Z") is None
    assert until(apia, "2011-12-30T10:00:00Z") is None


def test_a_last_date_is_excluded_whole_and_a_last_time_is_not():
    dates = span("2026-12-24", "2026-12-26", "Europe/London")
    assert until(dates, "2026-12-23T23:59:59Z") is None
    assert until(dates, "2026-12-24T00:00:00Z") == "2026-12-27T00:00:00Z"
    assert until(dates, "2026-12-27T00:00:00Z") is None
    times = span("2026-12-24T18:00:00", "2026-12-26T06:00", "Europe/London")
    assert until(times, "2026-12-24T17:59:59Z") is None
    assert until(times, "2026-12-26T05:59:59.999999Z") == "2026-12-26T06:00:00Z"
    assert until(times, "2026-12-26T06:00:00Z") is None
    assert until(span("2026-12-24", "2026-12-24"), "2026-12-24T12:00:00Z") == "2026-12-25T00:00:00Z"


def test_the_days_of_a_calendar_are_excluded_in_runs():
    found = read(GOOD["calendar"])
    assert isinstance(found, CalendarExclusion)
    resolved = found.resolved([date(2026, 12, 26), date(2026, 12, 25), date(2026, 12, 25), date(2026, 12, 31)])
    assert until(resolved, "2026-12-25T12:00:00Z") == "2026-12-27T00:00:00Z"
    assert until(resolved, "2026-12-27T12:00:00Z") is None
    assert until(resolved, "2026-12-31T12:00:00Z") == "2027-01-01T00:00:00Z"
    assert until(found.resolved([]), "2026-12-25T12:00:00Z") is None
    again = ADAPTER.validate_json(ADAPTER.dump_json(resolved))
    assert again == resolved
    assert found.days is None


def test_a_calendar_must_be_looked_up_before_it_is_asked():
    with pytest.raises(FieldError, match="the calendar 'holidays' has not been looked up"):
        read(GOOD["calendar"]).excludes(0)


def test_exclusions_that_touch_are_jumped_over_at_once():
    chain = [day("2026-12-25"), day("2026-12-26"), cron("* 0-5 27 12 *"), span("2026-12-27T06:00", "2026-12-27T07:30")]
    assert skip_excluded(chain, T("2026-12-25T12:00:00Z")) == T("2026-12-27T07:30:00Z")
    assert skip_excluded(chain, T("2026-12-24T23:59:59Z")) is None
    assert skip_excluded([], 0) is None


def test_a_jump_asks_each_exclusion_once_also_when_nothing_is_left():
    start = T("2026-01-01T00:00:00Z")
    assert skip_excluded([cron("* * * * *")], start) == start + 400 * 24 * 60 * MINUTE
    assert skip_excluded([cron("*/2 * * * *"), cron("1-59/2 * * * *")], start) == start + 2 * MINUTE
    assert skip_excluded([cron("1-59/2 * * * *"), cron("*/2 * * * *")], start) == start + MINUTE


def test_the_last_instants_of_the_calendar_can_be_asked_about():
    for exclusion in (cron("* * * 6 *", "Pacific/Kiritimati"), day("9999-12-31", "Pacific/Kiritimati")):
        assert not exclusion.excludes(LATEST)
    assert cron("* * 1 1 *", "Pacific/Kiritimati").excludes(LATEST)
    assert cron("* * 31 12 *").excludes(LATEST)
    calendar = CalendarExclusion(calendar="x", days=(date(9999, 12, 31),))
    assert calendar.excludes(LATEST)
    assert until(cron("30 1 * * *", "Europe/London"), "2926-07-25T00:30:00Z") == "2926-07-25T00:31:00Z"


@pytest.mark.parametrize(
    ("document", "rule", "place"),
    [
        ({"kind": "cron", "expression": "61 * * * *"}, "minute 61 is outside 0–59", ("cron",)),
        ({"kind": "cron", "expression": "0 0 30 2 *"}, "day 30 never occurs in month 2", ("cron",)),
        ({"kind": "date", "date": "2026-02-30"}, "'2026-02-30' is not a date", ("date", "date")),
        ({"kind": "date", "date": "25.12.2026"}, "'25.12.2026' is not a date", ("date", "date")),
        ({"kind": "date", "date": "2026-12-25", "timezone": "EST"}, "'EST' is an abbreviation", ("date", "timezone")),
        ({"kind": "range", "from": "2026-12-25", "to": "2026-12-24"}, "ends before it begins", ("range",)),
        ({"kind": "range", "from": "2026-12-25T00:00", "to": "2026-12-25T00:00"}, "ends before", ("range",)),
        ({"kind": "range", "from": "2026-12-25T00:00Z", "to": "2026-12-26"}, "is not a local date", ("range", "from")),
        ({"kind": "range", "from": "2026-12-25", "to": "2026-12-25T24:30"}, "is not a time", ("range", "to")),
        ({"kind": "range", "from": "2026-12-25", "to": 5.0}, "", ()),
    ],
)
def test_a_refusal_names_the_rule_and_the_field(document: object, rule: str, place: tuple[str, ...]):
    if not rule:
        with pytest.raises(ValidationError):
            read(document)
        return
    error, location = refusal(document)
    assert rule in error.rule
    assert error.fix
    assert location == place


def test_what_yaml_reads_as_a_date_or_time_is_taken():
    assert read(yaml.safe_load("{kind: date, date: 2026-12-25}")) == day("2026-12-25")
    found = read(yaml.safe_load("{kind: range, from: 2026-12-25, to: 2026-12-26T06:00:00}"))
    assert found == span("2026-12-25", "2026-12-26T06:00:00")
