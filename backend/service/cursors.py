"""Opaque cursors for lists."""

from __future__ import annotations

import base64
import binascii
import json

from backend.errors import FieldProblem, Refused

LONGEST = 500


def write_cursor(*place: int | str) -> str:
    """Pack a place in a list into an opaque text."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def read_cursor(cursor: str | None, *kinds: type) -> list[int | str] | None:
    """Unpack a place; Refused unless it is one that a list of this kind has given out."""
    if cursor is None:
        return None
    place = _unpack(cursor)
    if place is None or [type(step) for step in place] != list(kinds) or not all(map(_can_be_asked_for, place)):
        raise Refused([FieldProblem("cursor", "it is not one that this list gave out", "repeat next_cursor as it was")])
    return place


def _unpack(cursor: str) -> list[int | str] | None:
    if len(cursor) > LONGEST:
        return None
    try:
        place = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
    except (binascii.Error, ValueError):
        return None
    return place if isinstance(place, list) else None


def _can_be_asked_for(step: int | str) -> bool:
    """Tell what a database takes as a parameter: 62 bits, and plain text as in ids."""
    return -(2**62) <= step < 2**62 if isinstance(step, int) else step.isascii() and step.isprintable()
