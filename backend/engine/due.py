"""Which instants of a schedule are due; every walk over time is bounded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from backend.engine.timing import Timing, load_timing
from backend.errors import FieldError
from backend.triggers.exclusions import skip_excluded

WALK = 3000
"""Instants of one schedule that one walk visits at the most."""
RESERVE = 1000
"""Of a walk that does not reach now, the newest instants left to the next walk, which may treat them otherwise."""
MOST_EXCLUDED = 20_000
"""Stretches of exclusions that a search for the next time jumps over at the most."""

Delay = Callable[[int, int | None], int]
"""(nominal time, the following one) → how much later the occurrence is due, in microseconds."""


class Due(NamedTuple):
    """Instants in (after, until], oldest first, and the first one that is not among them."""

    instants: tuple[int, ...]
    following: int | None
    beyond: tuple[int, ...] = ()
    """Instants that are due as well and left to the next walk, `following` first; none: the walk reached now."""
    delays: Mapping[int, int] = {}
    """How much later than their nominal time instants are due, where that is more than 0; `following` included."""


def no_delay(nominal_at: int, following: int | None) -> int:  # noqa: ARG001 - the shape of a Delay
    """Let every occurrence be due at its nominal time."""
    return 0


def next_nominal(timing: str, after: int, effective_at: int) -> int | None:
    """Find the first instant after `after`; recurring triggers plan none at or before `effective_at`.

    `timing` is the stored JSON text. Schedules that share it share the answer.
    """
    return _next(timing, after, max(after, effective_at))


@lru_cache(maxsize=65536)
def _next(text: str, after: int, recurring_after: int) -> int | None:
    return find_next(load_timing(text), after, recurring_after)


def find_next(timing: Timing, after: int, recurring_after: int) -> int | None:
    """Find the first instant after `after`; recurring triggers give none at or before `recurring_after`.

    Nothing is remembered. FieldError: the exclusions leave nothing within reach.
    """
    if timing.start_at is not None:
        after, recurring_after = max(after, timing.start_at - 1), max(recurring_after, timing.start_at - 1)
    for _ in range(MOST_EXCLUDED):
        found = _first(timing, after, recurring_after)
        if found is None or (timing.end_at is not None and found > timing.end_at):
            return None
        allowed = skip_excluded(timing.exclusions, found)
        if allowed is None:
            return found
        after = recurring_after = max(found, allowed - 1)
    raise FieldError("the exclusions leave no occurrence within reach", "exclude less", "exclusions")


def _first(timing: Timing, after: int, recurring_after: int) -> int | None:
    found = [t.next_after(recurring_after if t.recurring else after) for t in timing.triggers]
    return min((instant for instant in found if instant is not None), default=None)


def due_instants(
    timing: str, first: int | None, *, until: int, effective_at: int, delay: Delay = no_delay, wait: bool = True
) -> Due:
    """Walk from `first`, the stored next time, to `until` (inclusive), visiting at most WALK instants.

    An instant is due when its delay is over too, unless `wait` is False. A delay ends before the following instant,
    so their order stays.
    """
    instants: list[int] = []
    delays: dict[int, int] = {}
    instant = first
    while instant is not None and instant <= until:
        following = next_nominal(timing, instant, effective_at)
        late_by = delay(instant, following)
        if late_by:
            delays[instant] = late_by
            if wait and instant + late_by > until:
                break
        if len(instants) == WALK:
            decided = WALK - RESERVE
            return Due(tuple(instants[:decided]), instants[decided], tuple(instants[decided:]), delays)
        instants.append(instant)
        instant = following
    return Due(tuple(instants), instant, (), delays)
