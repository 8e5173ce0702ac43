"""Calendar rules of RFC 5545 on the wall clock: days as bit sets, and no walk from where a rule began.

A search looks at ten years at the most, and at each year, month, week or (hourly rules) day in them once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from backend.triggers.cron import STEP_DAYS, month_length
from backend.triggers.rrule_parts import Frequency, Parts, refused
from backend.triggers.zones import CYCLE, DAY, EPOCH_ORDINAL

HOUR = 3600
LAST_DAY = date.max.toordinal() - EPOCH_ORDINAL
MOST_TIMES = 1440  # times of day: once a minute, all day
COUNT_YEARS = 30  # within which COUNT must be reached
COUNT_YEARS_HOURLY = 5  # fewer, because they are counted day by day


class Period(NamedTuple):
    """One year, month, week or day of a rule: its days from day `start` on, the times of each, and what is chosen."""

    start: int
    days: int
    times: tuple[int, ...]
    positions: tuple[int, ...] = ()

    def size(self) -> int:
        """Count the occurrences."""
        return len(self._chosen()) if self.positions else self._listed()

    def place(self, local: int) -> int:
        """Count the occurrences before a local second."""
        day, time = divmod(local, DAY)
        passed = min(max(day - self.start, 0), self.days.bit_length())
        index = (self.days & (1 << passed) - 1).bit_count() * len(self.times)
        if day >= self.start and self.days >> passed & 1:
            index += bisect_left(self.times, time)
        return bisect_left(self._chosen(), index) if self.positions else index

    def second(self, place: int) -> int:
        """Find the local second of the occurrence at a place, from 0."""
        index = self._chosen()[place] if self.positions else place
        skipped, time = divmod(index, len(self.times))
        days = self.days
        for _ in range(skipped):
            days &= days - 1
        return (self.start + (days & -days).bit_length() - 1) * DAY + self.times[time]

    def _listed(self) -> int:
        return self.days.bit_count() * len(self.times)

    def _chosen(self) -> tuple[int, ...]:
        """List what BYSETPOS leaves, without ever listing what it chooses from."""
        return _resolved(self.positions, self._listed())


@lru_cache(maxsize=4096)
def _resolved(positions: tuple[int, ...], size: int) -> tuple[int, ...]:
    """Read positions from 1, or from -1 at the end, as places from 0; what is outside is left out."""
    places = {position - 1 if position > 0 else size + position for position in positions}
    return tuple(sorted(place for place in places if 0 <= place < size))


class Month(NamedTuple):
    """A month of the calendar; `start` is its first day, counted from the epoch."""

    year: int
    number: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Recurrence:
    """A rule from `start`, a local second on; `times` are seconds of the day, of hourly rules seconds of the hour."""

    parts: Parts
    start: int
    times: tuple[int, ...]

    def next_local(self, local: int) -> int | None:
        """Find the first occurrence at or after a local second; None beyond ten years."""
        local = max(local, self.start)
        limit = local + STEP_DAYS * DAY
        for period in self.periods(local // DAY, limit // DAY):
            place = period.place(local)
            if place < period.size():
                found = period.second(place)
                return found if found <= limit else None
        return None

    def last_of(self, count: int) -> int | None:
        """Find the last of the first `count` occurrences; None if it is too far away to be counted to."""
        first = self.start // DAY
        for period in self.periods(first, first + self.count_years * 366):
            place = period.place(self.start) if period.start <= first else 0
            found = period.size() - place
            if count <= found:
                return period.second(place + count - 1)
            count -= found
        return None

    @property
    def count_years(self) -> int:
        """Say how many years are searched for the end of a COUNT."""
        return COUNT_YEARS_HOURLY if self.parts.frequency == Frequency.HOURLY else COUNT_YEARS

    def periods(self, first: int, last: int) -> Iterator[Period]:
        """Walk over the periods that touch the days from `first` to `last` and have any occurrence."""
        last = min(last, LAST_DAY)
        if first > last:
            return iter(())
        match self.parts.frequency:
            case Frequency.YEARLY:
                return self._years(first, last)
            case Frequency.MONTHLY:
                return self._months(first, last)
            case Frequency.WEEKLY:
                return self._weeks(first, last)
            case Frequency.DAILY:
                return self._days(first, last)
            case Frequency.HOURLY:
                return self._hours(first, last)

    def _years(self, first: int, last: int) -> Iterator[Period]:
        interval, positions = self.parts.interval, self.parts.positions
        year = _date(first).year
        year += (_date(self.start // DAY).year - year) % interval
        for number in range(year, _date(last).year + 1, interval):
            if days := self._days_of_year(number):
                yield Period(_day(number, 1, 1), days, self.times, positions)

    def _months(self, first: int, last: int) -> Iterator[Period]:
        interval, positions = self.parts.interval, self.parts.positions
        origin = _date(self.start // DAY)
        for month in _months(first, last):
            if ((month.year - origin.year) * 12 + month.number - origin.month) % interval:
                continue
            if days := self._days_of_month(month):
                yield Period(month.start, days, self.times, positions)

    def _weeks(self, first: int, last: int) -> Iterator[Period]:
        begin, origin = self._week_of(first), self._week_of(self.start // DAY)
        step = 7 * self.parts.interval
        chosen = _weekday_bits(self.parts.weekdays, self.parts.week_start, 7)
        for start in range(begin + (origin - begin) % step, last + 1, step):
            if days := chosen & _in_months(self.parts.months, start):
                yield Period(start, days, self.times, self.parts.positions)

    def _days(self, first: int, last: int) -> Iterator[Period]:
        interval, origin = self.parts.interval, self.start // DAY
        for month in _months(first, last):
            phase = (origin - month.start) % interval
            if phase < month.length and (days := self._days_of_month(month) & _every(interval, 31) << phase):
                yield Period(month.start, days, self.times)

    def _hours(self, first: int, last: int) -> Iterator[Period]:
        """Walk day by day, because an interval may touch other hours on each."""
        interval, origin, allowed = self.parts.interval, self.start // HOUR, _bits(self.parts.hours)
        pattern = _every(interval, 24)
        for month in _months(first, last):
            days = self._days_of_month(month)
            passed = max(first - month.start, 0)
            while rest := days >> passed:
                passed += (rest & -rest).bit_length() - 1
                phase = (origin - (month.start + passed) * 24) % interval
                if hours := allowed & pattern << phase if phase < 24 else 0:
                    yield Period(month.start + passed, 1, _times_of(hours, self.times))
                passed += max(phase // 24, 1)

    def _week_of(self, day: int) -> int:
        return day - (day + 4 - self.parts.week_start) % 7

    def _days_of_month(self, month: Month) -> int:
        """Collect the days of a month, the first as bit 0, that no part of the rule leaves out."""
        parts = self.parts
        if parts.months and month.number not in parts.months:
            return 0
        days = (1 << month.length) - 1
        if parts.month_days:
            days &= _numbered_bits(parts.month_days, month.length)
        if parts.weekdays:
            days &= _weekday_bits(parts.weekdays, (month.start + 4) % 7, month.length)
        if parts.year_days:
            first = _day(month.year, 1, 1)
            days &= _numbered_bits(parts.year_days, _day(month.year, 12, 31) - first + 1) >> month.start - first
        return days

    def _days_of_year(self, year: int) -> int:
        """Collect the days of a year, the first as bit 0. Numbered weekdays count in the months if months are given."""
        parts, start = self.parts, _day(year, 1, 1)
        length = 337 + month_length(year, 2)
        days = (1 << length) - 1
        if parts.months or parts.month_days:
            days = self._days_by_month(year)
        if parts.weekdays and not parts.months:
            days &= _weekday_bits(parts.weekdays, (start + 4) % 7, length)
        if parts.year_days:
            days &= _numbered_bits(parts.year_days, length)
        if parts.weeks:
            days &= _week_bits(parts.weeks, parts.week_start, year)
        return days

    def _days_by_month(self, year: int) -> int:
        parts, days, passed = self.parts, 0, 0
        first = (_day(year, 1, 1) + 4) % 7
        for number in range(1, 13):
            length = month_length(year, number)
            if not parts.months or number in parts.months:
                chosen = _numbered_bits(parts.month_days, length) if parts.month_days else (1 << length) - 1
                if parts.months and parts.weekdays:
                    chosen &= _weekday_bits(parts.weekdays, (first + passed) % 7, length)
                days |= chosen << passed
            passed += length
        return days


def _date(day: int) -> date:
    return date.fromordinal(day + EPOCH_ORDINAL)


def _day(year: int, month: int, number: int) -> int:
    """Count the days from the epoch, also in the years beside those that `date` knows."""
    cycles, rest = divmod(year - 2000, 400)
    return date(2000 + rest, month, number).toordinal() - EPOCH_ORDINAL + cycles * CYCLE // DAY


def _months(first: int, last: int) -> Iterator[Month]:
    """Walk over the months that touch the days from `first` to `last`."""
    today = _date(first)
    year, number, start = today.year, today.month, first - today.day + 1
    while start <= last:
        length = month_length(year, number)
        yield Month(year, number, start, length)
        year, number, start = (year, number + 1, start + length) if number < 12 else (year + 1, 1, start + length)


def _in_months(months: tuple[int, ...], start: int) -> int:
    """Collect the days of the week from day `start` on that lie in one of the months; all if none is given."""
    if not months:
        return 127
    first = _date(start)
    left = min(month_length(first.year, first.month) - first.day + 1, 7)
    here = (1 << left) - 1
    return (here if first.month in months else 0) | (127 ^ here if first.month % 12 + 1 in months else 0)


def _bits(numbers: tuple[int, ...]) -> int:
    return sum(1 << number for number in numbers)


@lru_cache(maxsize=1024)
def _every(interval: int, length: int) -> int:
    return _bits(tuple(range(0, length, interval)))


@lru_cache(maxsize=4096)
def _numbered_bits(numbers: tuple[int, ...], length: int) -> int:
    """Collect days numbered from 1, or from -1 at the end; the first is bit 0."""
    return _bits(_resolved(numbers, length))


@lru_cache(maxsize=4096)
def _weekday_bits(weekdays: tuple[tuple[int, int], ...], first: int, length: int) -> int:
    """Collect weekdays, every one or the nth, of a span of days that begins on weekday `first`."""
    bits = 0
    for weekday, nth in weekdays:
        days = tuple(range((weekday - first) % 7, length, 7))
        bits |= _bits(days) if nth == 0 else _bits(tuple(days[place] for place in _resolved((nth,), len(days))))
    return bits


@lru_cache(maxsize=4096)
def _week_bits(weeks: tuple[int, ...], week_start: int, year: int) -> int:
    """Collect the days of a calendar year that lie in numbered weeks, those of its neighbours' included.

    Week 1 is the first with four days in its year. What a week number means depends on the year it counts in,
    and the first and last days of a calendar year may lie in weeks of the years beside it.
    """
    bits, start = 0, _day(year, 1, 1)
    for counted in (year - 1, year, year + 1):
        begin = _first_week(counted, week_start)
        total = (_first_week(counted + 1, week_start) - begin) // 7
        for week in _resolved(weeks, total):
            passed = begin + 7 * week - start
            bits |= 127 << passed if passed >= 0 else 127 >> min(-passed, 7)
    return bits & (1 << 337 + month_length(year, 2)) - 1


def _first_week(year: int, week_start: int) -> int:
    day = _day(year, 1, 4)
    return day - (day + 4 - week_start) % 7


@lru_cache(maxsize=4096)
def _times_of(hours: int, times: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(hour * HOUR + time for hour in range(24) if hours >> hour & 1 for time in times)


def recurrence(parts: Parts, start: int) -> Recurrence:
    """Begin a rule at a local second, which also says what the rule leaves open (RFC 5545, 3.3.10)."""
    day, time = divmod(start, DAY)
    known = {"weekdays": (((day + 4) % 7, 0),), "month_days": (_date(day).day,), "months": (_date(day).month,)}
    parts = replace(
        parts,
        hours=parts.hours or (tuple(range(24)) if parts.frequency == Frequency.HOURLY else (time // HOUR,)),
        minutes=parts.minutes or (time // 60 % 60,),
        seconds=parts.seconds or (time % 60,),
        **{name: known[name] for name in _left_open(parts)},  # type: ignore[arg-type]  # each by its own name
    )
    return Recurrence(parts, start, _times(parts))


def _left_open(parts: Parts) -> tuple[str, ...]:
    if parts.weekdays or parts.month_days or parts.year_days:
        return ()
    match parts.frequency:
        case Frequency.YEARLY if parts.weeks:
            return ("weekdays",)
        case Frequency.YEARLY:
            return ("month_days",) if parts.months else ("month_days", "months")
        case Frequency.MONTHLY:
            return ("month_days",)
        case Frequency.WEEKLY:
            return ("weekdays",)
    return ()


def _times(parts: Parts) -> tuple[int, ...]:
    """List the times of a day, or of an hour, with BYSETPOS applied where that is the whole period."""
    hourly = parts.frequency == Frequency.HOURLY
    hours = (0,) if hourly else parts.hours
    if len(parts.hours) * len(parts.minutes) * len(parts.seconds) > MOST_TIMES:
        raise refused(f"the rule has more than {MOST_TIMES} times a day", 'use a trigger of kind "interval" or "cron"')
    times = tuple(h * HOUR + m * 60 + s for h in hours for m in parts.minutes for s in parts.seconds)
    if not parts.positions or not (hourly or parts.frequency == Frequency.DAILY):
        return times
    chosen = tuple(times[place] for place in _resolved(parts.positions, len(times)))
    if not chosen:
        raise refused(f"BYSETPOS chooses none of the {len(times)} times", "choose among them, or leave BYSETPOS out")
    return chosen
