"""Opaque cursors for lists."""

from __future__ import annotations

import base64
import binascii
import json

from backend.errors import FieldProblem, Refused


def write_cursor(*place: int | str) -> str:
    """Pack a place in a list into an opaque text."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def read_cursor(cursor: str | None, *kinds: type) -> list[int | str] | None:
    """Unpack a place; Refused unless it is one that a list of this kind has given out."""
    if cursor is None:
        return None
    try:
        place = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError):
        place = None
    if not isinstance(place, list) or [type(step) for step in place] != list(kinds):
        raise Refused([FieldProblem("cursor", "it is not one that this list gave out", "repeat next_cursor as it was")])
    if any(isinstance(step, int) and not -(2**62) <= step < 2**62 for step in place):
        raise Refused([FieldProblem("cursor", "it is out of range", "repeat next_cursor as it was")])
    return place
