"""What a namespace may use at most; None is no limit."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from backend.duration import Duration
from backend.model.numbers import WHOLE

Count = Annotated[int, Field(ge=0, le=10**9, strict=True), WHOLE]


class NamespaceLimits(BaseModel):
    """What a namespace may use at most; null is no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schedules: Count | None = Field(default=None, description="Schedules that are not deleted.")
    schedules_per_owner: Count | None = Field(default=None, description="Schedules with the same `owner`.")
    starts_per_minute: Count | None = Field(default=None, description="Runs that are started within a minute.")
    concurrent_runs: Count | None = Field(default=None, description="Runs at work at the same time.")
    minimum_interval: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(days=366))] | None = Field(
        default=None, description="Shortest time between two occurrences of a schedule.", examples=["1m"]
    )
    requests_per_second: Annotated[int, Field(ge=1, le=10**6, strict=True), WHOLE] | None = Field(
        default=None, description="Requests by all keys of the namespace together."
    )


NO_LIMITS = NamespaceLimits()


def loosened(before: NamespaceLimits, after: NamespaceLimits) -> list[str]:
    """Name the limits that `after` sets higher than `before`, or lifts.

    >>> loosened(NamespaceLimits(schedules=10), NamespaceLimits(schedules=5, concurrent_runs=3))
    []
    >>> loosened(NamespaceLimits(schedules=10, concurrent_runs=3), NamespaceLimits(schedules=11))
    ['schedules', 'concurrent_runs']
    """
    return [
        name for name in NamespaceLimits.model_fields if _is_looser(name, getattr(before, name), getattr(after, name))
    ]


def _is_looser(name: str, before: int | timedelta | None, after: int | timedelta | None) -> bool:
    if before is None or before == after:
        return False
    if after is None:
        return True
    # The only limit from below: a shorter interval is more to do.
    return after < before if name == "minimum_interval" else after > before  # type: ignore[operator]
