"""The days on which the events of an iCalendar file (RFC 5545) fall.

Only what decides days is read. An event falls on the dates that are written in the file, whatever zone they are
meant in; so VTIMEZONE parts, whose rules could ask for any amount of work, are passed over.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime

from backend.errors import FieldError
from backend.model.instants import SECOND, from_datetime
from backend.triggers.rrule_kernel import LAST_DAY, recurrence
from backend.triggers.rrule_parts import parse_rule
from backend.triggers.zones import DAY, EPOCH_ORDINAL

LARGEST = 1 << 20
MOST_EVENTS = 5000
MOST_RULES = 1000
MOST_DAYS = 20_000
SPAN = 3653  # days before and after, in which recurring events are followed
FIX = "export the calendar again as an .ics file (iCalendar, RFC 5545)"
FEWER = "import fewer events"
READ = frozenset({"UID", "DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID", "STATUS"})

_NAME = re.compile(r"[A-Za-z0-9-]+(?=[:;])")
_PARAMETERS = re.compile(r'(?:;(?:"[^"]*"|[^":])*)?')
_MOMENT = re.compile(r"([0-9]{8})(?:T([0-9]{6})Z?)?")
_DURATION = re.compile(
    r"\+?P(?:([0-9]{1,5})W|(?:([0-9]{1,5})D)?(?:T(?=.)(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,6})S)?)?)"
)


@dataclass(slots=True)
class Event:
    """What decides the days of one VEVENT, as text, and the line on which it begins."""

    line: int
    values: dict[str, list[str]] = field(default_factory=dict)

    def first(self, name: str) -> str | None:
        """Give the value of a property that stands there once."""
        found = self.values.get(name)
        return found[0] if found else None


def days_of_calendar(text: str, *, around: date) -> tuple[date, ...]:
    """List the days of all events in order; of recurring ones, those of ten years before and after `around`.

    FieldError names the line and what is wrong with it. At most 1 MiB, 5,000 events, 1,000 rules and 20,000 days.
    A file near these limits can take a second or more: not in an event loop.

    >>> lines = ("BEGIN:VCALENDAR", "BEGIN:VEVENT", "DTSTART:20261225", "END:VEVENT", "END:VCALENDAR")
    >>> days_of_calendar(chr(10).join(lines), around=date(2026, 1, 1))
    (datetime.date(2026, 12, 25),)
    """
    if len(text) > LARGEST or len(text.encode(errors="surrogatepass")) > LARGEST:
        raise FieldError("the calendar is larger than 1 MiB", FEWER)
    if not text.strip():
        raise FieldError("the calendar is empty", FIX)
    events = _events(text)
    replaced: defaultdict[str, set[int]] = defaultdict(set)
    for event in events:
        with _on_line_of(event):
            replaced[event.first("UID") or ""] |= _replaced(event)
    days: set[int] = set()
    budget = MOST_DAYS
    for event in events:
        with _on_line_of(event):
            found, cost = _days_of(event, replaced, around.toordinal() - EPOCH_ORDINAL, budget)
            budget -= cost
            days |= found
    return tuple(date.fromordinal(day + EPOCH_ORDINAL) for day in sorted(days) if day <= LAST_DAY)


def _events(text: str) -> list[Event]:
    """Collect the events of a file, whose parts must be nested rightly."""
    events: list[Event] = []
    inside: list[str] = []
    rules = 0
    for number, line in _lines(text):
        name, value = _property(number, line, inside)
        if name == "BEGIN":
            inside.append(value.upper())
            if inside[1:] == ["VEVENT"]:
                events.append(Event(number))
        elif name == "END":
            if not inside or inside.pop() != value.upper():
                raise _wrong(number, f"END:{value[:40]} closes what is not open", FIX)
        elif inside[1:] == ["VEVENT"] and name in READ:
            events[-1].values.setdefault(name, []).append(value)
            rules += name == "RRULE"
        if len(events) > MOST_EVENTS or rules > MOST_RULES:
            raise _wrong(number, f"there are more than {MOST_EVENTS} events or {MOST_RULES} rules", FEWER)
    if inside:
        raise FieldError(f"the file ends within {inside[-1][:40]}", FIX)
    return events


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Join what is folded: a line that begins with a blank continues the one before."""
    begun, parts = 1, list[str]()
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text.removeprefix("\ufeff")), 1):
        if line[:1] in {" ", "\t"} and parts:
            parts.append(line[1:])
            continue
        if joined := "".join(parts):
            yield begun, joined
        begun, parts = number, [line]
    if joined := "".join(parts):
        yield begun, joined


def _property(number: int, line: str, inside: Sequence[str]) -> tuple[str, str]:
    """Split `NAME;PARAMETERS:value`; parameters may hold colons in quotes."""
    name = _NAME.match(line)
    parameters = _PARAMETERS.match(line, name.end()) if name else None
    if name is None or parameters is None or line[parameters.end() : parameters.end() + 1] != ":":
        raise _wrong(number, "it is not a property with a value", FIX)
    if not inside and line.strip().upper() != "BEGIN:VCALENDAR":
        raise _wrong(number, "a calendar begins with BEGIN:VCALENDAR", FIX)
    if name[0].upper() == "RECURRENCE-ID" and "RANGE=" in parameters[0].upper():
        raise _wrong(
            number, "a change to this and all later events is not supported", "give the later ones a new event"
        )
    return name[0].upper(), line[parameters.end() + 1 :].strip()


@contextmanager
def _on_line_of(event: Event) -> Iterator[None]:
    """Say where the event stands that is wrong."""
    try:
        yield
    except FieldError as error:
        raise FieldError(f"the event on line {event.line}: {error.rule}", error.fix) from None


def _replaced(event: Event) -> set[int]:
    """Find the day of the single occurrence of a recurring event that this one stands in for."""
    instead = event.first("RECURRENCE-ID")
    return set() if instead is None else {_second(instead) // DAY}


def _days_of(event: Event, replaced: Mapping[str, set[int]], around: int, budget: int) -> tuple[set[int], int]:
    """Collect the days of one event, and tell what of the budget of days it took."""
    start = event.first("DTSTART")
    if start is None:
        raise FieldError("it has no DTSTART", "give it one")
    if (event.first("STATUS") or "").upper() == "CANCELLED":
        return set(), 0
    begin = _second(start)
    length = _length(event, begin, whole="T" not in start)
    begins = {begin // DAY, *_recurring(event, begin, around, budget)}
    begins |= {_second(item) // DAY for item in _several(event, "RDATE")}
    begins -= {_second(item) // DAY for item in _several(event, "EXDATE")}
    if event.first("RECURRENCE-ID") is None:
        begins -= replaced.get(event.first("UID") or "", set())
    if len(begins) * length > budget:
        raise FieldError(f"the calendar has more than {MOST_DAYS} days", FEWER)
    return {day + passed for day in begins for passed in range(length)}, max(len(begins) * length, 1)


def _length(event: Event, begin: int, *, whole: bool) -> int:
    """Count the days that an event touches. Its end is not part of it; without one, it is a moment or a day."""
    end, duration = event.first("DTEND"), event.first("DURATION")
    seconds = DAY if whole else 0
    if end is not None:
        seconds = _second(end) - begin
    elif duration is not None:
        seconds = _seconds_of(duration)
    if seconds < 0:
        raise FieldError("it ends before it begins", "exchange DTSTART and DTEND")
    return (begin % DAY + max(seconds, 1) - 1) // DAY + 1


def _seconds_of(duration: str) -> int:
    match = _DURATION.fullmatch(duration)
    if match is None or not any(match.groups()):
        raise FieldError(f"DURATION {duration[:40]!r} is not a length", 'use one such as "P1D"')
    weeks, days, hours, minutes, seconds = (int(group or 0) for group in match.groups())
    return (weeks * 7 + days) * DAY + hours * 3600 + minutes * 60 + seconds


def _recurring(event: Event, begin: int, around: int, budget: int) -> set[int]:
    """Follow the event's rule through the years around; a rule with COUNT from its beginning."""
    days: set[int] = set()
    for text in event.values.get("RRULE", ()):
        parts = parse_rule(text)
        rule = recurrence(parts, begin)
        last = (around + SPAN + 1) * DAY - 1
        if parts.until is not None:
            last = min(last, parts.until.second)
        wanted = budget + 1 if parts.count is None else parts.count
        found = rule.next_local(begin if parts.count else (around - SPAN) * DAY)
        walked = 0
        while found is not None and found <= last and walked < wanted:
            days.add(found // DAY)
            found, walked = rule.next_local(found + 1), walked + 1
        if walked > budget:
            raise FieldError(f"it recurs more than {MOST_DAYS} times", "use a rule with fewer occurrences")
    return days


def _several(event: Event, name: str) -> Iterator[str]:
    for text in event.values.get(name, ()):
        # Of a period, its beginning.
        yield from (item.partition("/")[0] for item in text.split(","))


def _second(text: str) -> int:
    """Read a date or time as it is written, in seconds since 1970."""
    match = _MOMENT.fullmatch(text.upper())
    try:
        moment = datetime.strptime(f"{match[1]}{match[2] or '000000'}Z", "%Y%m%d%H%M%S%z") if match else None
    except ValueError:
        moment = None
    if moment is None or moment.year < 1600:
        raise FieldError(f"{text[:40]!r} is not a date or time of the years 1600 to 9999", "write it like 20261225")
    return from_datetime(moment) // SECOND


def _wrong(number: int, rule: str, fix: str) -> FieldError:
    return FieldError(f"line {number}: {rule}", fix)
