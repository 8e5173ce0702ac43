"""The cron dialect: from text to bit sets, and from bit sets to the days of a month.

A set of numbers is an int whose bit `v` stands for the value `v`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import NamedTuple, TypeVar

from backend.errors import FieldError

LONGEST = 512
FIX = "use five fields (minute hour day-of-month month day-of-week), six with seconds first, or @daily and the like"
ALIASES = {
    "@YEARLY": "0 0 1 1 *",
    "@ANNUALLY": "0 0 1 1 *",
    "@MONTHLY": "0 0 1 * *",
    "@WEEKLY": "0 0 * * 0",
    "@DAILY": "0 0 * * *",
    "@MIDNIGHT": "0 0 * * *",
    "@HOURLY": "0 * * * *",
}
SATURDAY = 6
Special = TypeVar("Special")
_MARKS = frozenset("LW#")  # one of them is in every item that depends on the month
# A week's bits repeated over six weeks, to be shifted to the weekday on which a month begins.
WEEKS = sum(1 << 7 * week for week in range(6))


@dataclass(frozen=True)
class Unit:
    """One field's name, range and words. `last` may be written, `top` is the last that counts."""

    name: str
    first: int
    last: int
    words: Mapping[str, int] = field(default_factory=dict)
    special: re.Pattern[str] | None = None

    @cached_property
    def top(self) -> int:
        return SATURDAY if self.last == 7 else self.last

    @cached_property
    def full(self) -> int:
        return (1 << self.top + 1) - (1 << self.first)


MONTH_WORDS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAY_WORDS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

SECOND = Unit("second", 0, 59)
MINUTE = Unit("minute", 0, 59)
HOUR = Unit("hour", 0, 23)
DATE = Unit("day of month", 1, 31, special=re.compile(r"L|LW|([0-9]{1,4})W"))
MONTH = Unit("month", 1, 12, {word: number for number, word in enumerate(MONTH_WORDS, 1)})
WEEKDAY = Unit(
    "day of week",
    0,
    7,
    {word: number for number, word in enumerate(DAY_WORDS)},
    re.compile(r"([A-Z]{3}|[0-9]{1,4})(?:#([0-9]{1,4})|L)"),
)
UNITS = (SECOND, MINUTE, HOUR, DATE, MONTH, WEEKDAY)


class CronFields(NamedTuple):
    """A cron expression as sets; `texts` are its six fields in capitals.

    `wildcard`: the rule follows real time, because minute or hour begins with a star. `both_days`: both day fields
    must match, because one of them begins with a star; else either may (both are Debian's rules). `every_day`: no
    day is left out. A special weekday is (weekday, nth), where nth 0 is the last.
    """

    texts: tuple[str, ...]
    seconds: int
    minutes: int
    hours: int
    dates: int
    months: int
    weekdays: int
    special_dates: tuple[str, ...]
    special_weekdays: tuple[tuple[int, int], ...]
    wildcard: bool
    both_days: bool
    every_day: bool

    def days_of_month(self, first: int, length: int) -> int:
        """Collect the days that match in a month of `length` days that begins on weekday `first` (Sunday is 0)."""
        full = (2 << length) - 2
        dates = self.dates & full
        weekdays = (self.weekdays * WEEKS >> first) << 1 & full
        for text in self.special_dates:
            dates |= _special_date(text, first, length)
        for weekday, nth in self.special_weekdays:
            weekdays |= _nth_weekday(weekday, nth, first, length)
        return dates & weekdays if self.both_days else dates | weekdays


def _special_date(text: str, first: int, length: int) -> int:
    if text == "L":
        return 1 << length
    day = length if text == "LW" else int(text[:-1])
    if day > length:
        return 0
    weekday = (first + day - 1) % 7
    if weekday == SATURDAY:
        day += -1 if day > 1 else 2
    elif weekday == 0:
        day += 1 if day < length else -2
    return 1 << day


def _nth_weekday(weekday: int, nth: int, first: int, length: int) -> int:
    if nth == 0:
        return 1 << length - (first + length - 1 - weekday) % 7
    day = 1 + (weekday - first) % 7 + 7 * (nth - 1)
    return 1 << day if day <= length else 0


def parse_fields(expression: str) -> CronFields:
    """Read a cron expression of five or six fields or an alias; FieldError (field `expression`) if it breaks a rule.

    >>> bin(parse_fields("0 22-2 * * *").hours)
    '0b110000000000000000000111'
    """
    texts = split_fields(expression)
    special_dates, plain_dates = _specials(texts[3], DATE, _checked_date)
    special_weekdays, plain_weekdays = _specials(texts[5], WEEKDAY, _checked_weekday)
    dates, months, weekdays = _numbers(plain_dates, DATE), _numbers(texts[4], MONTH), _numbers(plain_weekdays, WEEKDAY)
    return CronFields(
        texts=texts,
        seconds=_numbers(texts[0], SECOND),
        minutes=_numbers(texts[1], MINUTE),
        hours=_numbers(texts[2], HOUR),
        dates=dates,
        months=months,
        weekdays=weekdays,
        special_dates=special_dates,
        special_weekdays=special_weekdays,
        wildcard=texts[1][0] == "*" or texts[2][0] == "*",
        both_days=texts[3][0] in "*?" or texts[5][0] in "*?",
        every_day=dates == DATE.full and weekdays == WEEKDAY.full and months == MONTH.full,
    )


def split_fields(expression: str) -> tuple[str, ...]:
    """Split an expression into six fields in capitals, aliases replaced and the second 0 added."""
    if len(expression) > LONGEST:
        raise _error(f"the expression is longer than {LONGEST} characters", FIX)
    if re.fullmatch(r"[\t -~]*", expression) is None:
        raise _error("the expression has characters that cron does not know", "use ASCII letters, digits, , - * / # ?")
    text = expression.upper().strip(" \t")
    if text.startswith("@"):
        text = _alias(text)
    texts = tuple(text.split())
    if len(texts) == 7:
        rule = "7 fields instead of 5 or 6, and none of them is for years"
        raise _error(rule, "leave the year out, and bound the schedule by start_at and end_at")
    if len(texts) not in {5, 6}:
        raise _error(f"{len(texts)} {'field' if len(texts) == 1 else 'fields'} instead of 5 or 6", FIX)
    return texts if len(texts) == 6 else ("0", *texts)


def _alias(text: str) -> str:
    if text in ALIASES:
        return ALIASES[text]
    if text == "@REBOOT":
        raise _error("@reboot is not a time", "start it from your service manager")
    fixes = {"@EVERY": 'use a trigger of kind "interval"'}
    known = "use " + ", ".join(name.lower() for name in ALIASES)
    raise _error(f"{text[:40].lower()!r} is not a known alias", fixes.get(text.partition(" ")[0], known))


def _specials(text: str, unit: Unit, read: Callable[[re.Match[str]], Special]) -> tuple[tuple[Special, ...], str]:
    """Separate the items that depend on the month (`L`, `15W`, `5#3`), each once, from plain numbers."""
    assert unit.special is not None
    if text in {"*", "?"}:
        return (), "*"
    if not _MARKS & set(text):
        return (), text
    items = {item: unit.special.fullmatch(item) for item in text.split(",")}
    found = dict.fromkeys(read(match) for match in items.values() if match)
    return tuple(found), ",".join(item for item, match in items.items() if not match)


def _checked_date(item: re.Match[str]) -> str:
    return f"{_number(item[1], DATE)}W" if item[1] else item[0]


def _checked_weekday(item: re.Match[str]) -> tuple[int, int]:
    nth = int(item[2] or 0)
    if item[2] and not 1 <= nth <= 5:
        raise _error(f"day of week {item[0]}: {nth} is outside 1–5", "use #1 to #5, or L for the last")
    return _number(item[1], WEEKDAY) % 7, nth


def _numbers(text: str, unit: Unit) -> int:
    """Collect the numbers of a field. Empty text means that the field has special items only."""
    if text == "*":
        return unit.full
    numbers = 0
    # Each item once: a long list of equal ones costs no more than one.
    for item in dict.fromkeys(text.split(",")) if text else ():
        numbers |= _item(item, unit)
    return numbers


def _item(item: str, unit: Unit) -> int:
    base, slash, step = item.partition("/")
    if not slash and "-" not in base and base != "*":
        value = _number(base, unit)
        return 1 << (0 if value > unit.top else value)
    first, last = _bounds(base, unit)
    size = unit.top - unit.first + 1
    length = last - first + 1 if last >= first else size + last - first + 1
    stride = _step(step, length, unit) if slash else 1
    numbers = 0
    for value in range(first - unit.first, first - unit.first + length, stride):
        numbers |= 1 << unit.first + value % size
    return numbers


def _bounds(base: str, unit: Unit) -> tuple[int, int]:
    """Read `*`, `a-b`, or `a` alone, which before a step means from a to the end."""
    if base == "*":
        return unit.first, unit.top
    start, dash, end = base.partition("-")
    first = _number(start, unit)
    last = _number(end, unit) if dash else unit.top
    # Sunday as 7 stays 7 only where it ends a range, so that 5-7 does not wrap around.
    return (first if first <= unit.top or first == last else unit.first), last


def _step(text: str, length: int, unit: Unit) -> int:
    step = int(text) if _is_whole(text) else 0
    if step == 0:
        raise _error(f"{unit.name}: {text[:20]!r} is not a step", "use a number from 1 after the slash")
    if step > length:
        raise _error(
            f"{unit.name}: step {step} is larger than its range of {length}", f"use a step from 1 to {length}, or none"
        )
    return step


def _number(text: str, unit: Unit) -> int:
    if _is_whole(text) and unit.first <= int(text) <= unit.last:
        return int(text)
    if text in unit.words:
        return unit.words[text]
    raise _error(*_misplaced_last(text, unit) or (_why_no_number(text, unit), _fix_for(unit)))


def _misplaced_last(text: str, unit: Unit) -> tuple[str, str] | None:
    """Say what is wrong with an `L` that stands where a number should."""
    if unit is DATE and text in {"L", "LW"}:
        other = "use a trigger of kind rrule, where BYMONTHDAY=-4 is the third day before the last"
        return f"day of month {text} stands alone, not in a range or with a step", other
    if unit is WEEKDAY and text == "L":
        return "day of week L has no day", "use 5L for the last Friday of the month, or 6 for Saturdays"
    return None


def _is_whole(text: str) -> bool:
    # Of ASCII, which `split_fields` sees to, only 0 to 9 are digits.
    return text.isdigit() and len(text) <= 4


def _why_no_number(text: str, unit: Unit) -> str:
    if text.startswith("H"):
        return f"{unit.name} {text[:20]} is a hash not yet resolved"
    if _is_whole(text):
        return f"{unit.name} {int(text)} is outside {unit.first}–{unit.last}"
    return f"{unit.name} {text[:20]!r} is not a {'number or name' if unit.words else 'number'}"


def _fix_for(unit: Unit) -> str:
    words = f" {' '.join(unit.words).lower()}," if unit.words else ""
    return f"use {unit.first}–{unit.last},{words} a list, a range or a step"


def _error(rule: str, fix: str) -> FieldError:
    return FieldError(rule, fix, "expression")


_HASH = re.compile(r"H(?:\(([0-9]{1,4})-([0-9]{1,4})\))?(?:/([0-9]{1,4}))?")


_HASHES = re.compile(r"(?:^|[\s,])[Hh](?:$|[\s,/])")


def resolve_hash(expression: str, seed: str) -> str:
    """Replace each `H` by a number that depends on `seed` and the field alone, so that load spreads.

    `H` is one number of the field's range (days 1–28), `H(0-29)` one of that range, `H/15` every 15 from a
    start below 15, `H(0-29)/10` both. An expression without `H` is returned as it is.
    """
    may_hash = "H" in expression or "h" in expression
    if "(" not in expression and not (may_hash and _HASHES.search(expression[: LONGEST + 1])):
        return expression
    texts = split_fields(expression)
    resolved = [
        ",".join(_resolved(item, unit, seed) if item.startswith("H") else item for item in text.split(","))
        for text, unit in zip(texts, UNITS, strict=True)
    ]
    return " ".join(resolved if len(expression.split()) == 6 else resolved[1:])


def _resolved(item: str, unit: Unit, seed: str) -> str:
    match = _HASH.fullmatch(item)
    if match is None:
        raise _error(f"{unit.name} {item[:20]!r} is not a hash", "use H, H(0-29), H/15 or H(0-29)/10")
    first = _number(match[1], unit) if match[1] else unit.first
    last = _number(match[2], unit) if match[2] else min(unit.top, 28 if unit is DATE else unit.top)
    if last < first:
        raise _error(f"{unit.name} {item[:20]!r} ends before it begins", "give the smaller number first")
    digest = blake2b(f"{unit.name}/{seed}".encode(), digest_size=8).digest()
    number = int.from_bytes(digest, "big")
    if not match[3]:
        return str(first + number % (last - first + 1))
    step = _step(match[3], last - first + 1, unit)
    return f"{first + number % step}-{last}/{step}"
