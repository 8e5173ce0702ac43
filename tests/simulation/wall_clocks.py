"""Wall clocks of zones, read by hand from the files of the tzdata package: nothing of the product's own is used."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from typing import NamedTuple
from zoneinfo import ZoneInfo

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/Santiago")
"""Clocks that change at night, by half an hour, at midnight, and in the other half of the year."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = 1_000_000
DAY = 86_400 * SECOND
SHORTEST = timedelta(microseconds=1)


class Turn(NamedTuple):
    """When the clocks of a zone change, and the hours that they show before it, in between or not at all, and after."""

    zone: str
    at: int
    hours: tuple[int, ...]


@cache
def zone_of(name: str) -> ZoneInfo:
    """Read a zone."""
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def local(zone: ZoneInfo, at: int) -> datetime:
    """Read the wall clock at an instant in microseconds; with `fold` set in the second pass of what comes twice."""
    return (EPOCH + timedelta(microseconds=at)).astimezone(zone)


def instants(zone: ZoneInfo, wall: datetime) -> tuple[int, ...]:
    """Give the instants at which the wall clock shows this time, in microseconds: none, one or two."""
    found = {_instant(wall.replace(tzinfo=zone, fold=fold)) for fold in (0, 1)}
    return tuple(sorted(at for at in found if local(zone, at).replace(tzinfo=None, fold=0) == wall))


def end_of_gap(zone: ZoneInfo, wall: datetime) -> int:
    """Give the first instant after the gap in which a time that does not exist lies."""
    # Read by the offset after the gap, it is too early, and by the one before, it is too late.
    low, high = sorted(_instant(wall.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
    return _change(zone, low, high)


@cache
def turns(begin: int, end: int) -> tuple[Turn, ...]:
    """List the changes of all zones between two instants, in microseconds."""
    return tuple(turn for name in ZONES for turn in _turns(name, begin, end))


def _turns(name: str, begin: int, end: int) -> Iterator[Turn]:
    zone = zone_of(name)
    for at in range(begin, end, DAY):
        if _offset(zone, at) != _offset(zone, at + DAY):
            change = _change(zone, at, at + DAY)
            before, after = local(zone, change - SECOND).hour, local(zone, change).hour
            yield Turn(name, change, tuple(dict.fromkeys((before, (before + 1) % 24, after))))


def _change(zone: ZoneInfo, low: int, high: int) -> int:
    while high - low > SECOND:
        middle = (low + high) // 2 // SECOND * SECOND
        low, high = (middle, high) if _offset(zone, middle) == _offset(zone, low) else (low, middle)
    return high


def _offset(zone: ZoneInfo, at: int) -> timedelta | None:
    return local(zone, at).utcoffset()


def _instant(moment: datetime) -> int:
    return (moment.astimezone(UTC) - EPOCH) // SHORTEST
