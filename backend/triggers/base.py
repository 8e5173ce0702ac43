"""What every kind of trigger is: a frozen value with one question."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema

from backend.duration import shown
from backend.errors import FieldError
from backend.model.instants import FIX, parse_instant, rfc3339


class Trigger(BaseModel):
    """One timing rule, both as it travels and as it is asked. It stores no progress."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recurring: ClassVar[bool] = True

    @abstractmethod
    def next_after(self, instant: int) -> int | None:
        """Find the first instant strictly after `instant`, both in microseconds; None when there is none."""

    @property
    def display_timezone(self) -> str:
        """Name the zone in which a person reads this trigger's times."""
        return "UTC"


def _read_instant(value: object) -> int:
    if isinstance(value, str):
        return parse_instant(value)
    # A bare number would leave open whether it means seconds, milliseconds or microseconds.
    raise FieldError(f"{shown(value)} is not an instant", FIX)


_SCHEMA: dict[str, Any] = {"type": "string", "format": "date-time", "examples": ["2026-12-01T09:00:00Z"]}

Instant = Annotated[
    int,
    BeforeValidator(_read_instant),
    PlainSerializer(rfc3339, return_type=str),
    WithJsonSchema(_SCHEMA),
]
