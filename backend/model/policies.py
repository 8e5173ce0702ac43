"""What a schedule may ask for when things do not go to plan."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from backend.duration import Duration
from backend.errors import FieldError
from backend.model.numbers import WHOLE


class MisfirePolicy(StrEnum):
    """What becomes of occurrences that are later than the misfire threshold."""

    FIRE_ONCE = "fire_once"
    SKIP = "skip"
    FIRE_ALL = "fire_all"


class OverlapPolicy(StrEnum):
    """What becomes of an occurrence while an earlier run of the schedule is open."""

    SKIP = "skip"
    BUFFER_ONE = "buffer_one"
    BUFFER_ALL = "buffer_all"
    CANCEL_OTHER = "cancel_other"
    TERMINATE_OTHER = "terminate_other"
    ALLOW_ALL = "allow_all"


class Delivery(StrEnum):
    """Whether a lost attempt is dispatched again."""

    AT_LEAST_ONCE = "at_least_once"
    AT_MOST_ONCE = "at_most_once"


class Completion(StrEnum):
    """What ends a run for which its target has answered with success."""

    RESPONSE = "response"
    CALLBACK = "callback"


class Reason(StrEnum):
    """Why an occurrence did not run, or a run ended without a result of its own. A closed set."""

    MISSED = "missed"
    OVERLAP = "overlap"
    PAUSED = "paused"
    CATCHUP_WINDOW = "catchup_window"
    CAP = "cap"
    QUOTA = "quota"
    ERROR = "error"
    DELETED = "deleted"
    LOST = "lost"


class RetryPolicy(BaseModel):
    """Attempts of one run: exponential back-off with full jitter between `initial` and `maximum`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_attempts: Annotated[int, WHOLE] = Field(
        default=3, ge=1, le=100, strict=True, description="Attempts in all, the first included."
    )
    initial: Duration = Field(default=timedelta(seconds=10), description="Upper bound of the first back-off.")
    maximum: Duration = Field(default=timedelta(minutes=10), description="Upper bound of every back-off.")
    multiplier: float = Field(default=2.0, ge=1, le=100, strict=True, description="Growth of the bound per attempt.")

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> RetryPolicy:
        if self.maximum < self.initial:
            raise FieldError("maximum is below initial", "give a maximum of at least initial", "maximum")
        return self
