"""The RRULE notation of RFC 5545 (section 3.3.10): from text to checked parts.

Weekdays are numbered as in cron: Sunday is 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from backend.errors import FieldError
from backend.model.instants import SECOND, from_datetime

LONGEST = 512
MOST_OCCURRENCES = 10_000
FIX = 'give parts such as "FREQ=WEEKLY;BYDAY=MO,FR"'
WEEKDAYS = ("SU", "MO", "TU", "WE", "TH", "FR", "SA")


class Frequency(StrEnum):
    """The period that a rule repeats."""

    YEARLY = "YEARLY"
    MONTHLY = "MONTHLY"
    WEEKLY = "WEEKLY"
    DAILY = "DAILY"
    HOURLY = "HOURLY"


LONGEST_INTERVALS = {
    Frequency.YEARLY: 10,
    Frequency.MONTHLY: 120,
    Frequency.WEEKLY: 521,
    Frequency.DAILY: 3652,
    Frequency.HOURLY: 87_648,
}
"""Ten years each, the farthest that one occurrence may follow another."""


class Until(NamedTuple):
    """The last second in which a rule may fire, read on the wall clock or in UTC."""

    second: int
    utc: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A rule as written, its numbers sorted. A weekday is (weekday, nth), nth 0 being every one, -1 the last."""

    frequency: Frequency
    interval: int = 1
    count: int | None = None
    until: Until | None = None
    months: tuple[int, ...] = ()
    weeks: tuple[int, ...] = ()
    year_days: tuple[int, ...] = ()
    month_days: tuple[int, ...] = ()
    weekdays: tuple[tuple[int, int], ...] = ()
    hours: tuple[int, ...] = ()
    minutes: tuple[int, ...] = ()
    seconds: tuple[int, ...] = ()
    positions: tuple[int, ...] = ()
    week_start: int = 1


class Span(NamedTuple):
    """The numbers that a part takes; `signed` ones also count from the end."""

    low: int
    high: int
    signed: bool = False


SPANS: Mapping[str, Span] = {
    "BYMONTH": Span(1, 12),
    "BYWEEKNO": Span(1, 53, signed=True),
    "BYYEARDAY": Span(1, 366, signed=True),
    "BYMONTHDAY": Span(1, 31, signed=True),
    "BYHOUR": Span(0, 23),
    "BYMINUTE": Span(0, 59),
    "BYSECOND": Span(0, 59),
    "BYSETPOS": Span(1, 366, signed=True),
}
KNOWN = ("FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYDAY", *SPANS)

# Which periods the RFC lets a part go with; the others go with all.
_ONLY_WITH: Mapping[str, frozenset[Frequency]] = {
    "BYWEEKNO": frozenset({Frequency.YEARLY}),
    "BYYEARDAY": frozenset({Frequency.YEARLY, Frequency.HOURLY}),
    "BYMONTHDAY": frozenset(Frequency) - {Frequency.WEEKLY},
}


def parse_rule(text: str) -> Parts:
    """Read a rule; FieldError (field `rule`) if it breaks the RFC or a limit.

    >>> parse_rule("FREQ=MONTHLY;BYDAY=1MO").weekdays
    ((1, 1),)
    """
    given = _split(text)
    frequency = _frequency(given.get("FREQ", ""))
    parts = Parts(
        frequency=frequency,
        interval=_whole("INTERVAL", given.get("INTERVAL", "1"), LONGEST_INTERVALS[frequency]),
        count=_whole("COUNT", given["COUNT"], MOST_OCCURRENCES) if "COUNT" in given else None,
        until=_until(given["UNTIL"]) if "UNTIL" in given else None,
        months=_numbers(given, "BYMONTH"),
        weeks=_numbers(given, "BYWEEKNO"),
        year_days=_numbers(given, "BYYEARDAY"),
        month_days=_numbers(given, "BYMONTHDAY"),
        weekdays=tuple(sorted({_weekday(item) for item in given["BYDAY"].split(",")})) if "BYDAY" in given else (),
        hours=_numbers(given, "BYHOUR"),
        minutes=_numbers(given, "BYMINUTE"),
        seconds=_numbers(given, "BYSECOND"),
        positions=_numbers(given, "BYSETPOS"),
        week_start=_week_start(given.get("WKST", "MO")),
    )
    _check_together(parts, given)
    return parts


def _split(text: str) -> dict[str, str]:
    if len(text) > LONGEST:
        raise refused(f"the rule is longer than {LONGEST} characters", FIX)
    if re.fullmatch(r"[!-~]+", text) is None:
        raise refused("a rule is one line of ASCII without spaces", f"{FIX}; what begins is dtstart's to say")
    given: dict[str, str] = {}
    for part in text.upper().removeprefix("RRULE:").removesuffix(";").split(";"):
        name, equals, value = part.partition("=")
        if name not in KNOWN:
            raise refused(f"{name[:40]!r} is not a part of a rule", f"use {', '.join(KNOWN)}")
        if not equals or not value:
            raise refused(f"{name} has no value", f"give {name}=… or leave it out")
        if name in given:
            raise refused(f"{name} stands there twice", f"join both into one {name}")
        given[name] = value
    return given


def _frequency(text: str) -> Frequency:
    if text in {"SECONDLY", "MINUTELY"}:
        raise refused(f"FREQ={text} is not for calendars", 'use a trigger of kind "interval" or "cron"')
    if text not in Frequency.__members__:
        problem = f"FREQ {text[:40]!r} is not a period" if text else "the rule has no FREQ"
        raise refused(problem, f"use FREQ={', '.join(Frequency)}")
    return Frequency(text)


def _whole(name: str, text: str, most: int) -> int:
    number = int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0
    if not 1 <= number <= most:
        raise refused(
            f"{name} {text[:20]} is outside 1–{most}", f"use {name}={'1' if number < 1 else most} or the like"
        )
    return number


def _numbers(given: Mapping[str, str], name: str) -> tuple[int, ...]:
    if name not in given:
        return ()
    return tuple(sorted({_number(name, item) for item in given[name].split(",")}))


def _number(name: str, text: str) -> int:
    span = SPANS[name]
    allowed = f"{span.low}–{span.high}" + (f" or -{span.low}–-{span.high}" if span.signed else "")
    if re.fullmatch(r"[+-]?[0-9]{1,4}", text) is None:
        raise refused(f"{name} {text[:20]!r} is not a number", f"use {allowed}")
    number = int(text)
    if not span.low <= (abs(number) if span.signed else number) <= span.high:
        raise refused(f"{name} {number} is outside {allowed}", f"use {allowed}")
    return number


def _weekday(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([+-]?[0-9]{1,2})?([A-Z]{2})", text)
    if match is None or match[2] not in WEEKDAYS:
        raise refused(
            f"BYDAY {text[:20]!r} is not a weekday", f"use {', '.join(WEEKDAYS)}, with a number as in 1MO, -1FR"
        )
    nth = int(match[1] or 0)
    if match[1] and not 1 <= abs(nth) <= 53:
        raise refused(f"BYDAY {text}: {nth} is outside 1–53 or -1–-53", "use 1MO for the first, -1MO for the last")
    return WEEKDAYS.index(match[2]), nth


def _week_start(text: str) -> int:
    if text not in WEEKDAYS:
        raise refused(f"WKST {text[:20]!r} is not a weekday", f"use {', '.join(WEEKDAYS)}")
    return WEEKDAYS.index(text)


def _until(text: str) -> Until:
    fix = "use UNTIL=20261231 (the whole day), 20261231T235959 (local) or 20261231T235959Z (UTC)"
    match = re.fullmatch(r"([0-9]{8})(?:T([0-9]{6})(Z?))?", text)
    if match is None:
        raise refused(f"UNTIL {text[:40]!r} is not a time", fix)
    try:
        moment = datetime.strptime(match[1] + (match[2] or "000000"), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        raise refused(f"UNTIL {text} is not a time of the calendar", fix) from None
    second = from_datetime(moment) // SECOND
    return Until(second if match[2] else second + timedelta(days=1) // timedelta(seconds=1) - 1, utc=bool(match[3]))


def _check_together(parts: Parts, given: Mapping[str, str]) -> None:
    """Refuse what the RFC rules out, so that what is left has one meaning."""
    frequency = parts.frequency
    for name, allowed in _ONLY_WITH.items():
        if name in given and frequency not in allowed:
            fix = f"use FREQ={' or '.join(item for item in Frequency if item in allowed)}, or leave {name} out"
            raise refused(f"{name} does not go with FREQ={frequency}", fix)
    if parts.count and parts.until:
        raise refused("a rule ends by COUNT or by UNTIL, not by both", "leave one of them out")
    if parts.positions and not any(name.startswith("BY") and name != "BYSETPOS" for name in given):
        raise refused("BYSETPOS chooses among what another BY part lists, and there is none", "add one, such as BYDAY")
    if any(nth for _, nth in parts.weekdays):
        _check_nth(parts)


def _check_nth(parts: Parts) -> None:
    if parts.frequency not in {Frequency.YEARLY, Frequency.MONTHLY} or parts.weeks:
        raise refused(
            "a numbered weekday goes with FREQ=MONTHLY, or with FREQ=YEARLY without BYWEEKNO",
            "leave out the number, or choose another FREQ",
        )
    most = 53 if parts.frequency == Frequency.YEARLY and not parts.months else 5
    if any(abs(nth) > most for _, nth in parts.weekdays):
        raise refused(f"a month has no weekday more than {most} times", "use numbers from -5 to 5")


def refused(rule: str, fix: str) -> FieldError:
    """Say what is wrong with the field `rule`."""
    return FieldError(rule, fix, "rule")
