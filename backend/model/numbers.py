"""Numbers as documents have them."""

from __future__ import annotations

from pydantic import BeforeValidator


def _without_fraction(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_without_fraction)
"""Beside `strict`: `5.0` is a whole number, as JSON Schema has it, but neither `true` nor `"5"`."""
