"""Cron rules: the next match of a wall clock, carried to UTC across the gaps and overlaps of a zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from backend.errors import FieldError
from backend.model.instants import LATEST, SECOND
from backend.triggers.base import Trigger
from backend.triggers.cron_fields import DATE, LONGEST, WEEKDAY, CronFields, parse_fields, resolve_hash
from backend.triggers.zones import CYCLE, DAY, EPOCH_ORDINAL, HORIZON, Timeline, timeline

STEP_DAYS = 3653  # ten years, the farthest that one occurrence may follow another
STEP_MONTHS = 122
REFERENCE = 1_767_225_600 * SECOND  # 2026-01-01, from where a rule must fire to be accepted
COMMON_DAYS = (1 << 29) - 2  # the days that every month has
LENGTHS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class DstGap(StrEnum):
    """What becomes of a fixed time that the clock jumps over."""

    SHIFT = "shift"
    SKIP = "skip"


class DstOverlap(StrEnum):
    """In which pass of a repeated hour a fixed time fires."""

    FIRST = "first"
    SECOND = "second"
    BOTH = "both"


def next_local(fields: CronFields, second: int) -> int | None:
    """Find the first match of the wall clock at or after a local second; None beyond ten years."""
    day, time = divmod(second, DAY)
    found = next_day(fields, day)
    if found == day:
        match = _time_at_or_after(fields, time)
        if match is not None:
            return day * DAY + match
        found = next_day(fields, day + 1)
    return None if found is None else found * DAY + _first_time(fields)


def next_day(fields: CronFields, day: int) -> int | None:
    """Find the first matching day at or after `day`, counted from the epoch; None beyond ten years."""
    if fields.every_day:
        return day
    today = date.fromordinal(day + EPOCH_ORDINAL)
    year, month, passed = today.year, today.month, today.day - 1
    start = day - passed
    for _ in range(STEP_MONTHS):
        length = month_length(year, month)
        if fields.months >> month & 1:
            days = fields.days_of_month((start + 4) % 7, length) >> passed + 1
            if days:
                return start + passed + _lowest(days)
        start, passed = start + length, 0
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
    return None


def month_length(year: int, month: int) -> int:
    """Count the days of a month."""
    if month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0):
        return 29
    return LENGTHS[month]


def _time_at_or_after(fields: CronFields, time: int) -> int | None:
    """Find the first match of hour, minute and second in what is left of a day."""
    minutes, second = divmod(time, 60)
    hour, minute = divmod(minutes, 60)
    if fields.hours >> hour & 1:
        if fields.minutes >> minute & 1 and (rest := fields.seconds >> second):
            return time + _lowest(rest)
        if rest := fields.minutes >> minute + 1:
            return hour * 3600 + (minute + 1 + _lowest(rest)) * 60 + _lowest(fields.seconds)
    if rest := fields.hours >> hour + 1:
        return (hour + 1 + _lowest(rest)) * 3600 + _lowest(fields.minutes) * 60 + _lowest(fields.seconds)
    return None


def _first_time(fields: CronFields) -> int:
    return _lowest(fields.hours) * 3600 + _lowest(fields.minutes) * 60 + _lowest(fields.seconds)


def _lowest(bits: int) -> int:
    return (bits & -bits).bit_length() - 1


@dataclass(frozen=True, slots=True)
class CronRule:
    """A compiled rule. A wildcard rule is one that skips gaps and takes both passes of an overlap."""

    fields: CronFields
    timeline: Timeline
    shifts: bool
    first_pass: bool
    second_pass: bool

    def next_after(self, instant: int) -> int | None:
        """Find the first occurrence strictly after `instant` and within ten years, both in microseconds."""
        second = instant // SECOND + 1
        # Beyond the horizon the answer is that of the same day some whole cycles of the calendar earlier.
        moved = 0 if second < HORIZON else ((second - HORIZON) // CYCLE + 1) * CYCLE
        found = self._walk(second - moved)
        if found is None or (found + moved) * SECOND > LATEST:
            return None
        return (found + moved) * SECOND

    def _walk(self, second: int) -> int | None:
        """Go from one period of the zone to the next, asking in each for a match of its own wall clock."""
        starts, offsets = self.timeline.starts, self.timeline.offsets
        period = self.timeline.period_at(second)
        limit = second + STEP_DAYS * DAY
        searched, match = 1, 0  # nothing searched yet
        while second <= limit:
            if self.shifts and second == starts[period] and self.match_in_gap(period) is not None:
                return second
            first, last = self._window(period)
            local = max(first, second + offsets[period])
            if not searched <= local <= match:
                found = next_local(self.fields, local)
                if found is None:
                    return None
                searched, match = local, found
            if match < last:
                return match - offsets[period] if match - offsets[period] <= limit else None
            period += 1
            second = starts[period]
        return None

    def _window(self, period: int) -> tuple[int, int]:
        """Bound the local seconds of a period whose occurrences belong to it and not to another pass."""
        starts, offsets = self.timeline.starts, self.timeline.offsets
        offset = offsets[period]
        first = starts[period] + (offset if self.second_pass else max(offset, offsets[period - 1]))
        last = starts[period + 1] + (offset if self.first_pass else min(offset, offsets[period + 1]))
        return first, last

    def match_in_gap(self, period: int) -> int | None:
        """Find the first match among the local seconds jumped over when a period began, whole dates left out."""
        start = self.timeline.starts[period]
        for first, last in _partial_days(
            start + self.timeline.offsets[period - 1], start + self.timeline.offsets[period]
        ):
            match = next_local(self.fields, first)
            if match is not None and match < last:
                return match
        return None


def _partial_days(first: int, last: int) -> tuple[tuple[int, int], ...]:
    """Take the dates that a gap swallows whole out of it: there, a zone skips a date and nothing is due."""
    morning, evening = -(-first // DAY) * DAY, last // DAY * DAY
    return ((first, last),) if morning >= evening else ((first, morning), (evening, last))


@lru_cache(maxsize=10_000)
def compile_rule(expression: str, timezone: str, dst_gap: DstGap, dst_overlap: DstOverlap) -> CronRule:
    """Compile and check a rule; FieldError names `expression` or `timezone` and what is wrong with it."""
    offsets = timeline(timezone)
    fields = parse_fields(expression)
    _check_calendar(fields)
    rule = CronRule(
        fields,
        offsets,
        shifts=dst_gap == DstGap.SHIFT and not fields.wildcard,
        first_pass=dst_overlap != DstOverlap.SECOND or fields.wildcard,
        second_pass=dst_overlap != DstOverlap.FIRST or fields.wildcard,
    )
    if not rule.shifts and len(offsets.starts) > 2 and rule.next_after(REFERENCE) is None:
        raise FieldError(
            f"every time of the rule falls into an hour that {timezone} skips", 'use dst_gap "shift"', "expression"
        )
    return rule


def _check_calendar(fields: CronFields) -> None:
    """Refuse a rule that can stay silent for more than ten years."""
    if _fires_every_month(fields) or _fires_every_year(fields):
        return
    days = _first_and_last_days(fields)
    if not days or max(later - earlier for earlier, later in pairwise(days)) > STEP_DAYS:
        raise FieldError(
            _why_never(fields, silent=not days), "choose days that come at least every 10 years", "expression"
        )


def _fires_every_month(fields: CronFields) -> bool:
    """Tell at once that each month of the rule has a match, since all have 28 days and every weekday."""
    dates = fields.dates & COMMON_DAYS
    if fields.both_days:
        return bool((dates and fields.weekdays == WEEKDAY.full) or (fields.weekdays and fields.dates == DATE.full))
    return bool(dates or fields.weekdays)


def _fires_every_year(fields: CronFields) -> bool:
    """Tell cheaply that some month has a match on whatever weekday it begins."""
    return any(
        all(
            fields.days_of_month(first, length)
            for length in {LENGTHS[month], month_length(2000, month)}
            for first in range(7)
        )
        for month in range(1, 13)
        if fields.months >> month & 1
    )


def _first_and_last_days(fields: CronFields) -> list[int]:
    """List the first and last match of each year, over the 400 years of the calendar and until they repeat."""
    spans: dict[tuple[int, int], tuple[int, int] | None] = {}  # a year is one of 14: its first weekday, its February
    days: list[int] = []
    for year in range(2000, 2401 + STEP_DAYS // 365):
        start = date(year, 1, 1).toordinal() - EPOCH_ORDINAL
        kind = ((start + 4) % 7, month_length(year, 2))
        if kind not in spans:
            spans[kind] = _span_of_year(fields, year, start)
        if (span := spans[kind]) is not None:
            days += (start + span[0], start + span[1])
    return days


def _span_of_year(fields: CronFields, year: int, start: int) -> tuple[int, int] | None:
    """Find the first and last match of a year, counted from its first day; None if there is none."""
    found: list[int] = []
    passed = 0
    for month in range(1, 13):
        length = month_length(year, month)
        days = fields.days_of_month((start + passed + 4) % 7, length) if fields.months >> month & 1 else 0
        if days:
            found += (passed + _lowest(days), passed + days.bit_length() - 1)
        passed += length
    return (found[0], found[-1]) if found else None


def _why_never(fields: CronFields, *, silent: bool) -> str:
    if not silent:
        return "the rule leaves more than 10 years between two occurrences"
    if fields.weekdays == WEEKDAY.full:
        return f"day {fields.texts[3]} never occurs in month {fields.texts[4]}"
    return f"no date ever matches both day {fields.texts[3]} and weekday {fields.texts[5]} in month {fields.texts[4]}"


@lru_cache(maxsize=1024)
def _check_fields(expression: str) -> None:
    parse_fields(resolve_hash(expression, ""))


class CronTrigger(Trigger):
    """A cron expression in a time zone."""

    kind: Literal["cron"] = "cron"
    expression: str = Field(
        description=f"Five fields, six with seconds first, or an alias; at most {LONGEST} characters.",
        examples=["0 9 * * mon-fri"],
    )
    timezone: str = Field(default="UTC", description="IANA name.", examples=["Europe/London"])
    dst_gap: DstGap = Field(default=DstGap.SHIFT, description="Fixed times that a clock change jumps over.")
    dst_overlap: DstOverlap = Field(default=DstOverlap.FIRST, description="Fixed times in an hour that comes twice.")

    @field_validator("expression", "timezone")
    @classmethod
    def _is_known(cls, text: str, info: ValidationInfo) -> str:
        # Each by itself, so that a document with both wrong hears of both.
        if info.field_name == "expression":
            _check_fields(text)
        else:
            timeline(text)
        return text

    @model_validator(mode="after")
    def _compiles(self) -> CronTrigger:
        self.with_seed("").rule()
        return self

    def with_seed(self, seed: str) -> CronTrigger:
        """Copy the trigger with every `H` replaced by a number that follows from `seed`, the schedule's id."""
        resolved = resolve_hash(self.expression, seed)
        return self if resolved == self.expression else self.model_copy(update={"expression": resolved})

    def rule(self) -> CronRule:
        """Compile the rule, or find it compiled."""
        return compile_rule(self.expression, self.timezone, self.dst_gap, self.dst_overlap)

    def next_after(self, instant: int) -> int | None:
        return self.rule().next_after(instant)

    @property
    def display_timezone(self) -> str:
        return self.timezone
