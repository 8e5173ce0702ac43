"""When a schedule does not fire although a trigger says so: rules that take instants away, without clock or I/O.

An instant is excluded by what the wall clock of the exclusion's zone reads then, in both passes of a repeated hour.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from backend.duration import shown
from backend.errors import FieldError
from backend.model.instants import SECOND, from_datetime
from backend.triggers.cron import CronRule, DstGap, DstOverlap, compile_rule, month_length
from backend.triggers.cron_fields import HOUR as HOURS
from backend.triggers.cron_fields import LONGEST, CronFields
from backend.triggers.cron_fields import MINUTE as MINUTES
from backend.triggers.cron_fields import SECOND as SECONDS
from backend.triggers.zones import CYCLE, DAY, EPOCH_ORDINAL, HORIZON, timeline

MOST_DAYS = 20_000
LONGEST_RUN = 400  # days in a row that one answer covers
DATE_FIX = 'give a date such as "2026-12-25"'
BOUND_FIX = 'give a local date or time without an offset, such as "2026-12-24" or "2026-12-24T18:00:00"'


class Exclusion(BaseModel):
    """One rule that takes instants away, both as it travels and as it is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    timezone: str = Field(default="UTC", description="IANA name.", examples=["Europe/London"])

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            timeline(name)
        except FieldError as error:
            raise FieldError(error.rule, error.fix) from None
        return name

    def excludes(self, instant: int) -> bool:
        """Tell whether an instant, in microseconds, is excluded."""
        return self.excluded_until(instant) is not None

    def excluded_until(self, instant: int) -> int | None:
        """Find an instant before which, from `instant` on, all is excluded; None when `instant` is not.

        It is as far as is cheaply known: what follows may be excluded as well.
        """
        second = instant // SECOND
        moved = 0 if second < HORIZON else ((second - HORIZON) // CYCLE + 1) * CYCLE
        offsets = timeline(self.timezone)
        period = offsets.period_at(second - moved)
        end = self.local_end(second + offsets.offsets[period])
        if end is None:
            return None
        # The wall clock is only sure up to its next change.
        return min(end - offsets.offsets[period], offsets.starts[period + 1] + moved) * SECOND

    @abstractmethod
    def local_end(self, local: int) -> int | None:
        """Find a local second before which, from `local` on, all is excluded; None when `local` is not."""


def _as_text(value: object) -> object:
    # YAML reads unquoted dates and times as what they are.
    return value.isoformat() if isinstance(value, date) else value


Text = Annotated[str, BeforeValidator(_as_text)]


def _as_date(value: object) -> object:
    # Left to itself, pydantic takes a number, or a text of one, for the seconds since 1970.
    if isinstance(value, str):
        return date.fromordinal(_day(value) + EPOCH_ORDINAL)
    if isinstance(value, date):
        return value
    raise FieldError(f"{shown(value)} is not a date", DATE_FIX)


WrittenDate = Annotated[date, BeforeValidator(_as_date)]
"""A date as documents have it: `2026-12-25`."""


def _as_dates(value: object) -> object:
    # As a rule the server itself has written them, up to 20,000, and reads them again and again: no call for each.
    for day in value if isinstance(value, list) else ():
        if not (isinstance(day, str) and len(day) == 10 and day[4] == day[7] == "-") and not isinstance(day, date):
            raise FieldError(f"{shown(day)} is not a date", DATE_FIX)
    return value


class CronExclusion(Exclusion):
    """What a cron expression matches: with five fields the whole minute, with six the second."""

    kind: Literal["cron"] = "cron"
    expression: str = Field(
        description=f"Five fields, six with seconds first, or an alias; at most {LONGEST} characters.",
        examples=["* * 25 12 *"],
    )

    @model_validator(mode="after")
    def _compiles(self) -> CronExclusion:
        self._rule()
        return self

    def _rule(self) -> CronRule:
        return compile_rule(self.expression, self.timezone, DstGap.SHIFT, DstOverlap.BOTH)

    def local_end(self, local: int) -> int | None:
        fields = self._rule().fields
        day, time = divmod(local, DAY)
        days = _days_from(fields, day)
        whole_minutes = len(self.expression.split()) < 6
        end = _end_of_times(fields, time, whole_minutes=whole_minutes) if days else None
        if end is None:
            return None
        # What matches up to midnight need not begin at midnight: only days that match whole are jumped over together.
        every_time = fields.hours == HOURS.full and fields.minutes == MINUTES.full
        every_time = every_time and (whole_minutes or fields.seconds == SECONDS.full)
        return (day + days if every_time else day + 1) * DAY if end == DAY else day * DAY + end


def _end_of_times(fields: CronFields, time: int, *, whole_minutes: bool) -> int | None:
    """Find the end, in seconds of the day, of the neighbouring times that match from `time` on."""
    minutes, second = divmod(time, 60)
    hour, minute = divmod(minutes, 60)
    if not (fields.hours >> hour & 1 and fields.minutes >> minute & 1):
        return None
    if not whole_minutes and fields.seconds != SECONDS.full:
        end = second + _run(fields.seconds, second)
        return minutes * 60 + end if fields.seconds >> second & 1 else None
    if fields.minutes != MINUTES.full:
        return hour * 3600 + (minute + _run(fields.minutes, minute)) * 60
    return DAY if fields.hours == HOURS.full else (hour + _run(fields.hours, hour)) * 3600


def _run(bits: int, first: int) -> int:
    """Count the neighbours that are set from `first` on."""
    rest = ~(bits >> first)
    return (rest & -rest).bit_length() - 1


def _days_from(fields: CronFields, day: int) -> int:
    """Count the days that match without a break from `day` on, to the end of its month; 0 if `day` does not."""
    if fields.every_day:
        return LONGEST_RUN
    # The calendar repeats, weekdays included; so no day is beyond what `date` knows.
    today = date.fromordinal(day % (CYCLE // DAY) + EPOCH_ORDINAL)
    if not fields.months >> today.month & 1:
        return 0
    first = (day - today.day + 5) % 7
    return _run(fields.days_of_month(first, month_length(today.year, today.month)), today.day)


class DateExclusion(Exclusion):
    """One date."""

    kind: Literal["date"] = "date"
    date: Text = Field(description="A date of the zone's calendar.", examples=["2026-12-25"])

    @field_validator("date")
    @classmethod
    def _is_a_date(cls, text: str) -> str:
        _day(text)
        return text

    def local_end(self, local: int) -> int | None:
        day = _day(self.date)
        return (day + 1) * DAY if local // DAY == day else None


class RangeExclusion(Exclusion):
    """From one local date or time to another: a last date is excluded whole, a last time is not."""

    kind: Literal["range"] = "range"
    from_: Text = Field(alias="from", description="The first local date or time excluded.", examples=["2026-12-24"])
    to: Text = Field(
        description="The last date excluded, or the first time that no longer is.", examples=["2027-01-01"]
    )

    @field_validator("from_", "to")
    @classmethod
    def _is_a_bound(cls, text: str) -> str:
        _bound(text)
        return text

    @model_validator(mode="after")
    def _is_a_range(self) -> RangeExclusion:
        if _end_bound(self.to) <= _bound(self.from_):
            raise FieldError("the range ends before it begins", "give a later end, or exchange the two", "to")
        return self

    def local_end(self, local: int) -> int | None:
        end = _end_bound(self.to)
        return end if _bound(self.from_) <= local < end else None


class CalendarExclusion(Exclusion):
    """The days of a named calendar, such as holidays, kept once and shared. It must be resolved before it is asked."""

    kind: Literal["calendar"] = "calendar"
    calendar: str = Field(min_length=1, max_length=200, description="Id of a calendar of the namespace.")
    days: Annotated[tuple[date, ...], Field(max_length=MOST_DAYS), BeforeValidator(_as_dates)] | None = Field(
        default=None, description="Filled in by the server: the calendar's days."
    )

    @field_validator("days")
    @classmethod
    def _in_order(cls, days: tuple[date, ...] | None) -> tuple[date, ...] | None:
        return None if days is None else tuple(sorted(set(days)))

    def resolved(self, days: Sequence[date]) -> CalendarExclusion:
        """Copy the exclusion with the days of its calendar."""
        return self.model_copy(update={"days": tuple(sorted(set(days)))})

    def local_end(self, local: int) -> int | None:
        if self.days is None:
            raise FieldError(f"the calendar {self.calendar!r} has not been looked up", "resolve it first", "calendar")
        today = end = local // DAY + EPOCH_ORDINAL
        place = bisect_left(self.days, today, key=date.toordinal)
        while end < today + LONGEST_RUN and place < len(self.days) and self.days[place].toordinal() == end:
            place, end = place + 1, end + 1
        return None if end == today else (end - EPOCH_ORDINAL) * DAY


AnyExclusion = Annotated[
    CronExclusion | DateExclusion | RangeExclusion | CalendarExclusion, Field(discriminator="kind")
]

KINDS: Mapping[str, type[Exclusion]] = MappingProxyType(
    {"cron": CronExclusion, "date": DateExclusion, "range": RangeExclusion, "calendar": CalendarExclusion}
)


def skip_excluded(exclusions: Sequence[Exclusion], instant: int) -> int | None:
    """Find the first instant, from an excluded one on, that might not be excluded; None when `instant` is not.

    Each exclusion is asked once, about where those before it lead: the answer is to be asked about again.
    """
    reached = instant
    for exclusion in exclusions:
        end = exclusion.excluded_until(reached)
        reached = reached if end is None else end
    return None if reached == instant else reached


@lru_cache(maxsize=10_000)
def _day(text: str) -> int:
    """Read a date as days since 1970."""
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text) is None:
        raise FieldError(f"{text[:80]!r} is not a date", DATE_FIX)
    try:
        return date.fromisoformat(text).toordinal() - EPOCH_ORDINAL
    except ValueError as error:
        raise FieldError(f"{text!r} is not a date: {error}", DATE_FIX) from error


@lru_cache(maxsize=10_000)
def _bound(text: str) -> int:
    """Read a local date or time as local seconds since 1970."""
    if re.fullmatch(r"[0-9-]{10}", text):
        return _day(text) * DAY
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2})?", text) is None:
        raise FieldError(f"{text[:80]!r} is not a local date or time in whole seconds", BOUND_FIX)
    try:
        return from_datetime(datetime.fromisoformat(text).replace(tzinfo=UTC)) // SECOND
    except ValueError as error:
        raise FieldError(f"{text!r} is not a time: {error}", BOUND_FIX) from error


def _end_bound(text: str) -> int:
    return _bound(text) + (DAY if len(text) == 10 else 0)
