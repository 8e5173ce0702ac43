"""Days from iCalendar files: events, what recurs, what is taken out, folding, and honest errors."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from backend.errors import FieldError
from backend.triggers.ical import LARGEST, MOST_DAYS, MOST_EVENTS, MOST_RULES, days_of_calendar

AROUND = date(2026, 7, 1)


def calendar(*lines: str) -> str:
    return "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", *lines, "END:VCALENDAR", ""])


def event(*lines: str) -> list[str]:
    return ["BEGIN:VEVENT", *lines, "END:VEVENT"]


def days(*lines: str) -> list[str]:
    return [str(day) for day in days_of_calendar(calendar(*event(*lines)), around=AROUND)]


def refusal(text: str) -> FieldError:
    with pytest.raises(FieldError) as refused:
        days_of_calendar(text, around=AROUND)
    assert refused.value.fix
    return refused.value


def test_a_file_as_calendars_export_it():
    text = calendar(
        "PRODID:-//Example//Holidays//EN",
        "X-WR-CALNAME:Holidays\\, and more",
        "BEGIN:VTIMEZONE",
        "TZID:Europe/London",
        "BEGIN:STANDARD",
        "DTSTART:19700101T000000",
        "RRULE:FREQ=SECONDLY",
        "END:STANDARD",
        "END:VTIMEZONE",
        *event(
            "UID:1@example.org",
            "SUMMARY;LANGUAGE=en:Christmas: the day",
            "DESCRIPTION:A long text that is folded",
            "  DTSTART:20200101",
            "DTSTART;VALUE=DATE:20261225",
            "DTEND;VALUE=DATE:20261227",
            "BEGIN:VALARM",
            "TRIGGER:-PT15M",
            "DURATION:P30D",
            "END:VALARM",
            "TRANSP:TRANSPARENT",
        ),
        *event('DTSTART;X-NOTE="a:b;c";TZID="Europe/London":20261231T220000', "DURATION:PT4H"),
    )
    found = [str(day) for day in days_of_calendar("\ufeff" + text, around=AROUND)]
    assert found == ["2026-12-25", "2026-12-26", "2026-12-31", "2027-01-01"]


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["DTSTART:20261225"], ["2026-12-25"]),
        (["DTSTART:20261225T090000Z"], ["2026-12-25"]),
        (["DTSTART:20261225T090000", "DTEND:20261225T100000"], ["2026-12-25"]),
        (["DTSTART:20261225T220000", "DTEND:20261226T000000"], ["2026-12-25"]),
        (["DTSTART:20261225T220000", "DTEND:20261226T000001"], ["2026-12-25", "2026-12-26"]),
        (["DTSTART:20261225", "DTEND:20261225"], ["2026-12-25"]),
        (["DTSTART:20261225", "DURATION:P2D"], ["2026-12-25", "2026-12-26"]),
        (["DTSTART:20261225", "RDATE;VALUE=DATE:20270101,20270106"], ["2026-12-25", "2027-01-01", "2027-01-06"]),
        (["DTSTART:20261225", "RDATE;VALUE=PERIOD:20270101T000000/PT1H"], ["2026-12-25", "2027-01-01"]),
        (["DTSTART:20261225", "STATUS:CANCELLED"], []),
        (["DTSTART:19500101"], ["1950-01-01"]),
        (["dtstart:20261225", "rrule:freq=yearly;count=2"], ["2026-12-25", "2027-12-25"]),
        (["DTSTART:20251225", "RRULE:FREQ=YEARLY;UNTIL=20271225"], ["2025-12-25", "2026-12-25", "2027-12-25"]),
        (["DTSTART:20251225", "RRULE:FREQ=YEARLY;COUNT=3", "EXDATE:20261225"], ["2025-12-25", "2027-12-25"]),
        # The first occurrence counts also where it does not match its rule.
        (["DTSTART:20260704", "RRULE:FREQ=YEARLY;BYMONTH=7;BYDAY=1MO;COUNT=1"], ["2026-07-04", "2026-07-06"]),
        (["DTSTART:99991231", "DURATION:P3D"], ["9999-12-31"]),
    ],
)
def test_the_days_of_one_event(lines: list[str], found: list[str]):
    assert days(*lines) == found


def test_a_yearly_event_is_followed_ten_years_back_and_ahead():
    found = days("DTSTART;VALUE=DATE:19700101", "RRULE:FREQ=YEARLY")
    assert found == ["1970-01-01", *(f"{year}-01-01" for year in range(2017, 2037))]
    easter_monday = days("DTSTART:19500410", "RRULE:FREQ=YEARLY;COUNT=80;BYMONTH=4;BYMONTHDAY=10")
    assert easter_monday[-1] == "2029-04-10"


def test_one_occurrence_may_be_moved_or_cancelled():
    text = calendar(
        *event("UID:a", "DTSTART:20251225", "RRULE:FREQ=YEARLY;COUNT=3"),
        *event("UID:a", "RECURRENCE-ID:20261225", "DTSTART:20261228"),
        *event("UID:a", "RECURRENCE-ID:20271225", "DTSTART:20271225", "STATUS:CANCELLED"),
        *event("UID:b", "DTSTART:20271225"),
    )
    found = [str(day) for day in days_of_calendar(text, around=AROUND)]
    assert found == ["2025-12-25", "2026-12-28", "2027-12-25"]


def test_lines_may_be_folded_anywhere_and_end_with_a_bare_line_feed():
    text = calendar(*event("DTSTART;VALUE=DATE:20261225")).replace("\r\n", "\n")
    assert days_of_calendar(text.replace("DTSTART", "DTS\n TART").replace("1225", "12\n\t25"), around=AROUND) == (
        date(2026, 12, 25),
    )


def test_a_calendar_without_events_has_no_days():
    assert days_of_calendar(calendar(), around=AROUND) == ()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("<html><body>Not found</body></html>", "line 1: it is not a property with a value"),
        (" \n", "the calendar is empty"),
        ("a,b:c", "line 1: it is not a property with a value"),
        ("SUMMARY:x", "line 1: a calendar begins with BEGIN:VCALENDAR"),
        ("BEGIN:VCARD\nEND:VCARD", "line 1: a calendar begins with BEGIN:VCALENDAR"),
        ("BEGIN:VCALENDAR\nBEGIN:VEVENT", "the file ends within VEVENT"),
        ("BEGIN:VCALENDAR\nEND:VEVENT", "line 2: END:VEVENT closes what is not open"),
        (calendar("", "noise"), "line 4: it is not a property with a value"),
        (calendar(*event("SUMMARY:x")), "the event on line 3: it has no DTSTART"),
        (calendar(*event("DTSTART:2026-12-25")), "the event on line 3: '2026-12-25' is not a date or time"),
        (calendar(*event("DTSTART:20260230")), "the event on line 3: '20260230' is not a date or time"),
        (calendar(*event("DTSTART:15001225")), "of the years 1600 to 9999"),
        (calendar(*event("DTSTART:20261225", "DTEND:20261224")), "the event on line 3: it ends before it begins"),
        (calendar(*event("DTSTART:20261225", "DURATION:P1Y")), "DURATION 'P1Y' is not a length"),
        (calendar(*event("DTSTART:20261225", "DURATION:P")), "DURATION 'P' is not a length"),
        (calendar(*event("DTSTART:20261225", "DURATION:PT")), "DURATION 'PT' is not a length"),
        (calendar(*event("DTSTART:20261225", "RRULE:FREQ=SECONDLY")), "FREQ=SECONDLY is not for calendars"),
        (calendar(*event("DTSTART:20261225", "RECURRENCE-ID:x")), "the event on line 3: 'x' is not a date or time"),
        (
            calendar(*event("DTSTART:20261225", "RECURRENCE-ID;RANGE=THISANDFUTURE:20261225")),
            "line 5: a change to this and all later events is not supported",
        ),
        (calendar(*event("DTSTART:19000101", "DURATION:P99999D")), f"more than {MOST_DAYS} days"),
        (calendar(*event("DTSTART:20160101", "RRULE:FREQ=HOURLY")), f"it recurs more than {MOST_DAYS} times"),
        (calendar(*event("DTSTART:20260101") * (MOST_EVENTS + 1)), f"more than {MOST_EVENTS} events"),
        (calendar(*event("DTSTART:20260101", "RRULE:FREQ=YEARLY") * (MOST_RULES + 1)), f"or {MOST_RULES} rules"),
        (calendar(*event("DTSTART:20160101", "RRULE:FREQ=DAILY") * 4), f"more than {MOST_DAYS} "),
        ("X" * (LARGEST + 1), "larger than 1 MiB"),
        ("ü" * (LARGEST // 2 + 1), "larger than 1 MiB"),
    ],
)
def test_a_refusal_names_the_line_and_what_is_wrong(text: str, rule: str):
    assert rule in refusal(text).rule


def test_as_many_days_as_allowed_are_read():
    text = calendar(*event("DTSTART:19800101", f"DURATION:P{MOST_DAYS}D"))
    found = days_of_calendar(text, around=AROUND)
    assert len(found) == MOST_DAYS
    assert found[-1] == date(1980, 1, 1) + timedelta(days=MOST_DAYS - 1)
