"""A single instant, given with an offset or as local time in a zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, StrictBool, model_validator

from backend.errors import FieldError
from backend.model.instants import LATEST, SECOND, from_datetime
from backend.triggers.base import Trigger
from backend.triggers.zones import timeline

FIX = 'give "2026-12-01T09:00:00" with a timezone, or an instant such as "2026-12-01T09:00:00Z"'
_SHAPE = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d)?", re.ASCII | re.IGNORECASE
)


def _as_text(value: object) -> object:
    # YAML reads an unquoted time as a datetime.
    return value.isoformat() if isinstance(value, datetime) else value


class OnceTrigger(Trigger):
    """One instant. `allow_past` accepts one that is already over."""

    recurring: ClassVar[bool] = False

    kind: Literal["once"] = "once"
    at: Annotated[str, BeforeValidator(_as_text)] = Field(
        description="Local time in the zone, or an instant with an offset.", examples=["2026-12-01T09:00:00"]
    )
    timezone: str = Field(default="UTC", description="IANA name.", examples=["Europe/London"])
    allow_past: StrictBool = Field(default=False, description="Accept an instant more than 60 s in the past.")

    @model_validator(mode="after")
    def _is_an_instant(self) -> OnceTrigger:
        instant_of(self.at, self.timezone)
        return self

    @property
    def instant(self) -> int:
        """The instant, in microseconds."""
        return instant_of(self.at, self.timezone)

    def next_after(self, instant: int) -> int | None:
        return self.instant if self.instant > instant else None

    @property
    def display_timezone(self) -> str:
        return self.timezone


@lru_cache(maxsize=10_000)
def instant_of(at: str, timezone: str) -> int:
    """Read `at`; a local time in a gap is the first instant after it, in an overlap the first of the two."""
    offsets = timeline(timezone)
    moment = parse_moment(at)
    if moment.tzinfo is not None:
        instant = from_datetime(moment)
    else:
        local, fraction = divmod(from_datetime(moment.replace(tzinfo=UTC)), SECOND)
        seconds = offsets.seconds_at(local)
        instant = seconds[0] * SECOND + fraction if seconds else offsets.end_of_gap(local) * SECOND
    if not 0 <= instant <= LATEST:
        raise FieldError(f"{at!r} is outside the years 1970 to 9999", FIX, "at")
    return instant


def parse_moment(at: str) -> datetime:
    """Read a local time or an instant; FieldError for other notations."""
    if _SHAPE.fullmatch(at) is None:
        raise FieldError(f"{at[:80]!r} is not a time", FIX, "at")
    try:
        return datetime.fromisoformat(at.upper())
    except ValueError as error:
        raise FieldError(f"{at!r} is not a time: {error}", FIX, "at") from error
