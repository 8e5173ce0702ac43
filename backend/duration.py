"""One notation for lengths of time, used by settings, API and CLI alike."""

from __future__ import annotations

import json
import math
import re
from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from backend.errors import FieldError

SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
FIX = 'give seconds (90), a number with a unit ("90s", "15m", "2h", "1d"), or ISO 8601 ("PT15M")'
LONGEST = timedelta(days=36500)
LONGEST_TEXT = 64
FAR = 1e10
"""Seconds beyond `LONGEST` that a timedelta still holds; what is longer counts as this."""

_PARTS = re.compile(r"(\d{1,13}(?:\.\d{1,6})?)(ms|[smhdw])", re.ASCII)
_COMPACT = re.compile(rf"(?:{_PARTS.pattern})+", re.ASCII)
_ISO = re.compile(
    r"P(?:(?P<w>\d{1,6})W)?(?:(?P<d>\d{1,6})D)?"
    r"(?:T(?:(?P<h>\d{1,7})H)?(?:(?P<m>\d{1,8})M)?(?:(?P<s>\d{1,9}(?:\.\d{1,6})?)S)?)?",
    re.ASCII,
)


def parse_duration(value: object) -> timedelta:
    """Read seconds, `"90s"`, `"1h30m"` or `"PT15M"`; 0 to 100 years, else FieldError.

    >>> parse_duration("1h30m")
    datetime.timedelta(seconds=5400)
    >>> parse_duration("PT15M") == parse_duration(900) == parse_duration("15m")
    True
    """
    length = read_length(value)
    if length is None:
        raise FieldError(f"{shown(value)} is not a duration", FIX)
    if not timedelta(0) <= length <= LONGEST:
        raise FieldError(f"{shown(value)} is outside 0 to 36500 days", FIX)
    return length


def read_length(value: object) -> timedelta | None:
    """Read the notation alone, for callers with bounds of their own; None if it is no duration."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return None if isinstance(value, float) and math.isnan(value) else _of(value)
    return _read_text(value.strip()) if isinstance(value, str) and len(value) <= LONGEST_TEXT else None


def _of(seconds: float) -> timedelta:
    # A timedelta ends at 10^9 days, and would raise OverflowError; and it rounds, but what is below 0 stays below.
    length = timedelta(seconds=max(-FAR, min(seconds, FAR)))
    return min(length, -timedelta.resolution) if seconds < 0 else length


def shown(value: object) -> str:
    """Show a refused value the way a JSON document has it, a long one cut."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return repr(value[:80] if isinstance(value, str) else value)[:80]


@lru_cache(maxsize=1024)
def _read_text(text: str) -> timedelta | None:
    if re.fullmatch(r"\d{1,10}(\.\d{1,6})?", text, re.ASCII):
        return _of(float(text))
    if _COMPACT.fullmatch(text):
        return _of(sum(float(n) * SECONDS[unit] for n, unit in _PARTS.findall(text)))
    iso = _ISO.fullmatch(text)
    if iso is None or not any(iso.groups()) or text.endswith("T"):
        return None
    return _of(sum(float(n) * SECONDS[unit] for unit, n in iso.groupdict().items() if n))


@lru_cache(maxsize=1024)
def format_duration(length: timedelta) -> str:
    """Write a duration the way a person would: the largest unit that divides it.

    >>> format_duration(timedelta(minutes=90)), format_duration(timedelta(0))
    ('90m', '0s')
    """
    milliseconds = round(length / timedelta(milliseconds=1))
    if milliseconds % 1000:
        return f"{milliseconds}ms"
    seconds = milliseconds // 1000
    for unit in ("d", "h", "m"):
        if seconds and seconds % SECONDS[unit] == 0:
            return f"{int(seconds // SECONDS[unit])}{unit}"
    return f"{seconds}s"


def _schema() -> dict[str, Any]:
    return {
        "anyOf": [{"type": "string", "maxLength": 64}, {"type": "number", "minimum": 0}],
        "description": 'Seconds, or text such as "90s", "15m", "2h", "1d", "PT15M".',
        "examples": ["90s", "15m", 30],
    }


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(_schema()),
]
