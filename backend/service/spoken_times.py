"""Lengths and instants as a sentence says them to a person. Microseconds."""

from __future__ import annotations

from backend.model.instants import SECOND, to_datetime

MILLISECOND = 1000


def length_text(length: int) -> str:
    """Write a length in whole seconds, of which the two largest units are enough.

    >>> length_text(62 * SECOND), length_text(180_000 * SECOND), length_text(5)
    ('1m2s', '2d2h', 'less than a second')
    """
    rest, words = max(length, 0) // SECOND, list[str]()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if words or count:
            words.append(f"{count}{unit}" if count else "")
    return "".join(words[:2]) or "less than a second"


def moment_text(instant: int) -> str:
    """Write an instant to the millisecond.

    >>> moment_text(1_500_042), moment_text(0)
    ('1970-01-01T00:00:01.500Z', '1970-01-01T00:00:00Z')
    """
    moment = to_datetime(instant // MILLISECOND * MILLISECOND)
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds").replace("+00:00", "Z")
