"""Instants as text: RFC 3339 in UTC, microseconds since the epoch inside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from backend.errors import FieldError

MICROSECOND = timedelta(microseconds=1)
SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 86400 * SECOND
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = 253402300799 * SECOND  # 9999-12-31T23:59:59Z
FIX = 'give an RFC 3339 instant with an offset, such as "2026-12-01T09:00:00Z"'


def to_datetime(instant: int) -> datetime:
    """Turn microseconds since the epoch into an aware datetime in UTC."""
    return EPOCH + timedelta(microseconds=instant)


def from_datetime(moment: datetime) -> int:
    """Turn an aware datetime into microseconds since the epoch."""
    return (moment - EPOCH) // MICROSECOND


def micros(length: timedelta) -> int:
    """Express a duration in microseconds."""
    return length // MICROSECOND


def rfc3339(instant: int) -> str:
    """Write an instant, with as many decimals as it needs.

    >>> rfc3339(0), rfc3339(1_500_000)
    ('1970-01-01T00:00:00Z', '1970-01-01T00:00:01.500000Z')
    """
    return to_datetime(instant).isoformat().replace("+00:00", "Z")


def rfc3339_or_none(instant: int | None) -> str | None:
    """Write an instant that may be absent."""
    return None if instant is None else rfc3339(instant)


def parse_instant(text: str) -> int:
    """Read an RFC 3339 instant; FieldError unless it has an offset and lies in 1970–9999."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise FieldError(f"{text[:80]!r} is not an instant", FIX) from error
    if moment.tzinfo is None:
        raise FieldError(f"{text[:80]!r} has no offset from UTC", FIX)
    instant = from_datetime(moment)
    if not 0 <= instant <= LATEST:
        raise FieldError(f"{text[:80]!r} is outside the years 1970 to 9999", FIX)
    return instant
