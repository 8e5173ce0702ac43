"""Time zones from the pinned `tzdata` wheel, never from the system, and without global effects."""

from __future__ import annotations

import re
import struct
from bisect import bisect_left, bisect_right
from calendar import isleap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from functools import lru_cache
from importlib import import_module, resources
from io import BytesIO
from zoneinfo import ZoneInfo

from backend.errors import FieldError

FOREVER = 1 << 62
DAY = 86400
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
# The Gregorian calendar, weekdays included, repeats every 400 years, and so do the rules that zones end in.
CYCLE = 146097 * DAY
HORIZON = (date(2500, 1, 1).toordinal() - EPOCH_ORDINAL) * DAY
LAST_TABLED_YEAR = 2512  # the horizon and one step of ten years beyond it
WIDEST_SHIFT = 2 * DAY

# What people mean by the names that the database keeps only for old programs.
_MEANT = {
    "CET": "Europe/Brussels",
    "CST": "America/Chicago",
    "CST6CDT": "America/Chicago",
    "EET": "Europe/Athens",
    "EST": "America/New_York (or America/Panama, which has no daylight saving)",
    "EST5EDT": "America/New_York",
    "GMT": "UTC",
    "HST": "Pacific/Honolulu",
    "MET": "Europe/Brussels",
    "MST": "America/Denver (or America/Phoenix, which has no daylight saving)",
    "MST7MDT": "America/Denver",
    "PST": "America/Los_Angeles",
    "PST8PDT": "America/Los_Angeles",
    "WET": "Europe/Lisbon",
    "Z": "UTC",
}


@dataclass(frozen=True, slots=True)
class Timeline:
    """The offsets of a zone since 1970, in seconds.

    Period `i` begins at `starts[i]` (UTC) and has `offsets[i]`. The first begins, and a last empty one
    lies, beyond all instants, so that every period in use has neighbours.
    """

    starts: tuple[int, ...]
    offsets: tuple[int, ...]

    def period_at(self, second: int) -> int:
        """Find the period in which a UTC second lies."""
        return bisect_right(self.starts, second) - 1

    def local(self, second: int) -> int:
        """Read the wall clock of the zone at a UTC second."""
        return second + self.offsets[self.period_at(_folded(second))]

    def seconds_at(self, local: int) -> tuple[int, ...]:
        """List the UTC seconds at which the wall clock reads `local`: none in a gap, two in an overlap."""
        folded = _folded(local)
        return tuple(
            local - self.offsets[period]
            for period in self._periods_near(folded)
            if self.starts[period] <= folded - self.offsets[period] < self.starts[period + 1]
        )

    def end_of_gap(self, local: int) -> int:
        """Find the first UTC second after the gap that swallowed `local`."""
        folded = _folded(local)
        ends = (
            self.starts[period]
            for period in self._periods_near(folded)
            if folded < self.starts[period] + self.offsets[period]
        )
        return next(ends) + local - folded

    def _periods_near(self, local: int) -> range:
        first = self.period_at(local - WIDEST_SHIFT)
        return range(first, bisect_left(self.starts, local + WIDEST_SHIFT, hi=len(self.starts) - 1))


def _folded(second: int) -> int:
    """Move a second beyond the horizon back by whole cycles of the calendar."""
    return second if second < HORIZON else second - ((second - HORIZON) // CYCLE + 1) * CYCLE


def tzdata_version() -> str:
    """Name the release of the time zone database in use."""
    return str(import_module("tzdata").IANA_VERSION)


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """List every name in the pinned database, those refused here included."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text(encoding="ascii").split())


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """Open a zone by its IANA name; FieldError for unknown names and for abbreviations.

    >>> zone("Europe/London").key
    'Europe/London'
    """
    return ZoneInfo.from_file(BytesIO(_zone_file(name)), key=name)


@lru_cache(maxsize=1024)
def timeline(name: str) -> Timeline:
    """Tabulate the offsets of a zone, exactly, for every instant since 1970; FieldError like `zone`."""
    first, transitions, footer = _read_tzif(_zone_file(name))
    transitions += _after(transitions[-1][0] if transitions else -FOREVER, footer)
    opening = [(-FOREVER, first)]
    for start, offset in transitions:
        if start < 0:
            opening = [(-FOREVER, offset)]
        elif offset != opening[-1][1]:
            opening.append((start, offset))
    starts, offsets = zip(*opening, (FOREVER, opening[-1][1]), strict=True)
    return Timeline(starts, offsets)


def _zone_file(name: str) -> bytes:
    # Only names from the database's own list ever reach the file system.
    if name not in zone_names() or ("/" not in name and name != "UTC"):
        raise _refusal(name)
    return resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()


def _refusal(name: str) -> FieldError:
    meant = _MEANT.get(name.upper())
    if "/" not in name and (meant or name in zone_names()):
        fix = f"name a region and city, such as {meant or 'Europe/London'}"
        return FieldError(f"{name[:80]!r} is an abbreviation or alias, not a time zone", fix, "timezone")
    near = _nearest(name[:80].casefold())
    fix = f"use {' or '.join(near)}" if near else "use an IANA name such as Europe/London"
    return FieldError(f"{name[:80]!r} is not a known time zone", fix, "timezone")


def _nearest(wanted: str) -> list[str]:
    """Name up to three zones that may be meant. Cities alone are compared: with their regions it takes 8 ms."""
    region, _, city = wanted.rpartition("/")
    cities = _cities()
    found = [city] if city in cities else get_close_matches(city[:30], cities, n=3, cutoff=0.6)
    best = [min(cities[one], key=lambda name: not name.casefold().startswith(region)) for one in found]
    exact = [name for name in best if name.casefold() == wanted]
    return exact or best


@lru_cache(maxsize=1)
def _cities() -> Mapping[str, Sequence[str]]:
    """Collect the zones that may be used by the last part of their names, in small letters."""
    cities: dict[str, list[str]] = {}
    for name in sorted(zone_names()):
        if "/" in name or name == "UTC":
            cities.setdefault(name.rpartition("/")[2].casefold(), []).append(name)
    return cities


def _read_tzif(raw: bytes) -> tuple[int, list[tuple[int, int]], str]:
    """Read the 64-bit part of a TZif file (RFC 8536): first offset, (start, offset) pairs, footer."""
    header = struct.Struct(">4sc15x6l")
    _, _, isut, isstd, leaps, times, types, letters = header.unpack_from(raw)
    at = header.size + times * 5 + types * 6 + letters + leaps * 8 + isstd + isut
    _, _, isut, isstd, leaps, times, types, letters = header.unpack_from(raw, at)
    at += header.size
    starts = struct.unpack_from(f">{times}q", raw, at)
    indices = raw[at + times * 8 : at + times * 9]
    at += times * 9
    offsets = [struct.unpack_from(">l", raw, at + 6 * kind)[0] for kind in range(types)]
    at += types * 6 + letters + leaps * 12 + isstd + isut
    return offsets[0], [(s, offsets[k]) for s, k in zip(starts, indices, strict=True)], raw[at:].decode().strip()


_NAME = r"(?:[A-Za-z]{3,}|<[^>]+>)"
_TIME = r"[+-]?\d{1,3}(?::\d\d){0,2}"
_DATE = r"(?:M\d+\.\d+\.\d+|J?\d+)"
_FOOTER = re.compile(
    rf"{_NAME}({_TIME})(?:{_NAME}({_TIME})?,({_DATE})(?:/({_TIME}))?,({_DATE})(?:/({_TIME}))?)?", re.ASCII
)


def _after(last: int, footer: str) -> list[tuple[int, int]]:
    """Continue the transitions by the rule in the footer (POSIX TZ), to the end of the table."""
    rule = _FOOTER.fullmatch(footer)
    if rule is None or rule[3] is None:
        return []
    standard = -_clock(rule[1])
    summer = -_clock(rule[2]) if rule[2] else standard + 3600
    begins, ends = (rule[3], _clock(rule[4] or "2")), (rule[5], _clock(rule[6] or "2"))
    return [pair for pair in _yearly(begins, ends, standard, summer) if pair[0] > last]


def _yearly(begins: tuple[str, int], ends: tuple[str, int], standard: int, summer: int) -> Iterator[tuple[int, int]]:
    for first, last in zip(_days(begins[0]), _days(ends[0]), strict=True):
        to_summer = (first * DAY + begins[1] - standard, summer)
        to_standard = (last * DAY + ends[1] - summer, standard)
        yield from (to_summer, to_standard) if to_summer < to_standard else (to_standard, to_summer)


def _days(rule: str) -> Iterator[int]:
    """List the days of a POSIX rule, one a year, counted from the epoch."""
    passed: dict[tuple[int, bool], int] = {}  # a year is one of 14: its first weekday, its February
    new_year = 0
    for year in range(1970, LAST_TABLED_YEAR + 1):
        leap = isleap(year)
        kind = (new_year % 7, leap)
        if kind not in passed:
            passed[kind] = _day(rule, year) - new_year
        yield new_year + passed[kind]
        new_year += 366 if leap else 365


def _clock(text: str) -> int:
    """Read `[-]h[:mm[:ss]]` as seconds."""
    hours, minutes, seconds = map(int, (text.lstrip("+-") + ":0:0").split(":")[:3])
    total = (hours * 60 + minutes) * 60 + seconds
    return -total if text.startswith("-") else total


def _day(rule: str, year: int) -> int:
    """Find the day of a POSIX rule in a year, counted from the epoch."""
    new_year = date(year, 1, 1).toordinal() - EPOCH_ORDINAL
    if not rule.startswith("M"):
        number = int(rule.removeprefix("J"))
        leap = date(year, 3, 1).toordinal() - EPOCH_ORDINAL - new_year == 60
        return new_year + number - (rule.startswith("J") and not (leap and number >= 60))
    month, week, weekday = map(int, rule[1:].split("."))
    first = date(year, month, 1).toordinal() - EPOCH_ORDINAL
    day = first + (weekday - (first + 4)) % 7 + 7 * (week - 1)
    after = date(year + month // 12, month % 12 + 1, 1).toordinal() - EPOCH_ORDINAL
    return day if day < after else day - 7
