"""Instants and lengths as a person reads them. Instants come as RFC 3339 text or None, `now` is aware, in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from backend.clock import SystemClock

NONE = "–"
DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
S = TypeVar("S", str, str | None)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    """Read this machine's clock; only words such as "in 4 min" depend on it."""
    return EPOCH + timedelta(microseconds=SystemClock().now())


def moment(text: str) -> datetime:
    """Read an RFC 3339 instant."""
    return datetime.fromisoformat(text)


def instant(text: S) -> S:
    """Let a date stand for its beginning in UTC; what else is an instant, the server judges.

    >>> instant("2026-12-01"), instant("2026-12-01T09:00:00Z")
    ('2026-12-01T00:00:00Z', '2026-12-01T09:00:00Z')
    """
    return f"{text}T00:00:00Z" if text and DATE.fullmatch(text) else text


def between(start: str | None, end: str | None) -> timedelta | None:
    """Measure from one instant to another, if both are there."""
    return moment(end) - moment(start) if start and end else None


def length(span: timedelta | None) -> str:
    """Write a length with two units at most.

    >>> length(timedelta(milliseconds=12)), length(timedelta(seconds=62)), length(timedelta(hours=49))
    ('12 ms', '1 min 2 s', '2 d 1 h')
    """
    if span is None:
        return NONE
    seconds = span.total_seconds()
    sign, seconds = ("-" if seconds < 0 else ""), abs(seconds)
    if seconds < 1:
        return f"{sign}{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{sign}{seconds:.1f} s"
    return sign + " ".join(_units(round(seconds))[:2])


def _units(seconds: int) -> list[str]:
    words: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count or words:
            words.append(f"{count} {unit}" if count else "")
    return [word for word in words[:2] if word] or ["0 s"]


def relative(text: str | None, now: datetime) -> str:
    """Say how far away an instant is.

    >>> relative("2026-01-01T00:04:00Z", datetime(2026, 1, 1, tzinfo=UTC))
    'in 4 min'
    """
    if text is None:
        return NONE
    distance = moment(text) - now
    seconds = round(distance.total_seconds())
    if seconds == 0:
        return "now"
    size = abs(seconds)
    # To the minute: half a second after `--every 1h` the next time is in 1 h, not in 59 min.
    largest = _units(size if size < 60 else round(size / 60) * 60)[0]
    return f"in {largest}" if seconds > 0 else f"{largest} ago"


def clock_text(when: datetime, *, seconds: bool = False) -> str:
    """Write date and time in its own zone, seconds only where there are some, or where they are asked for."""
    return when.strftime("%Y-%m-%d %H:%M:%S" if seconds or when.second else "%Y-%m-%d %H:%M")


def local(text: str | None) -> str:
    """Write an instant in this machine's zone, with the zone.

    The zone's own name follows, such as CET; UTC is written UTC.
    """
    if text is None:
        return NONE
    when = moment(text).astimezone()
    return f"{clock_text(when)} {when.tzname()}"


def utc_after(text: str, before: str) -> str:
    """Write an instant in UTC to the second, beside an earlier one, whose date it leaves out.

    >>> utc_after("2026-12-01T09:11:18.6Z", "2026-12-01T09:00:00Z")
    '09:11:18Z'
    """
    when, day = moment(text).astimezone(UTC), moment(before).astimezone(UTC).date()
    return f"{when:%H:%M:%SZ}" if when.date() == day else f"{when:%Y-%m-%dT%H:%M:%SZ}"


def plain(text: str) -> str:
    """Write an instant in UTC as short as it is: whole seconds, decimals only where there are some.

    >>> plain("2026-12-01T09:11:18.500000Z"), plain("2026-12-01T09:11:18Z")
    ('2026-12-01T09:11:18.5Z', '2026-12-01T09:11:18Z')
    """
    whole, point, decimals = text.removesuffix("Z").partition(".")
    return f"{whole}{(point + decimals).rstrip('0').rstrip('.')}Z"


def whole(text: str) -> str:
    """Write an instant in UTC to the second.

    >>> whole("2026-12-01T09:11:18.600001Z")
    '2026-12-01T09:11:18Z'
    """
    return f"{text.removesuffix('Z').partition('.')[0]}Z"


def both(text: str | None, now: datetime) -> str:
    """Write an instant in this machine's zone and, where that differs, in UTC; today's without the date."""
    if text is None:
        return NONE
    when, utc = moment(text).astimezone(), moment(text).astimezone(UTC)
    day = "" if when.date() == now.astimezone().date() else f"{when:%Y-%m-%d} "
    shown = f"{day}{when:%H:%M:%S} {when.tzname()}"
    if when.utcoffset() == timedelta(0):
        return shown
    utc_day = "" if utc.date() == when.date() else f"{utc:%m-%d} "
    return f"{shown} ({utc_day}{utc:%H:%M:%S}Z)"
