"""Equal steps of real time from an anchor."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, field_validator

from backend.duration import Duration, read_length, shown
from backend.errors import FieldError
from backend.model.instants import LATEST, micros
from backend.triggers.base import Instant, Trigger

SHORTEST = timedelta(seconds=1)
LONGEST = timedelta(days=3650)


class IntervalTrigger(Trigger):
    """The instants anchor + k·every for every whole k from 0."""

    kind: Literal["interval"] = "interval"
    every: Duration = Field(description="1 second to 3650 days, in whole milliseconds.", examples=["15m"])
    anchor: Instant | None = Field(default=None, description="The instant counted from; the creation time if null.")

    @field_validator("every", mode="before")
    @classmethod
    def _is_in_range(cls, every: object) -> object:
        length = read_length(every)
        if length is not None and not SHORTEST <= length <= LONGEST:
            rule = f"{shown(every)} is outside 1 second to 3650 days"
            raise FieldError(rule, 'use a length such as "15m"')
        return every

    @field_validator("every")
    @classmethod
    def _is_in_whole_milliseconds(cls, every: timedelta) -> timedelta:
        # The notation for durations ends at milliseconds: anything finer would change when written and read again.
        if every % timedelta(milliseconds=1):
            raise FieldError("an interval is a whole number of milliseconds", "round it to milliseconds")
        return every

    def next_after(self, instant: int) -> int | None:
        if self.anchor is None:
            raise FieldError("the interval has no anchor yet", "give an anchor, or ask after with_anchor", "anchor")
        step = micros(self.every)
        found = self.anchor + max(0, (instant - self.anchor) // step + 1) * step
        return found if found <= LATEST else None

    def with_anchor(self, instant: int) -> IntervalTrigger:
        """Copy the trigger with an anchor in microseconds."""
        return self.model_copy(update={"anchor": instant})
