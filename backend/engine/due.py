"""Which instants of a schedule are due; every walk over time is bounded."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from backend.triggers.registry import parse_triggers

WALK = 3000
"""Instants of one schedule that one walk visits at the most."""
RESERVE = 1000
"""Of a walk that does not reach now, the newest instants left to the next walk, which may treat them otherwise."""


class Due(NamedTuple):
    """Instants in (after, until], oldest first, and the first one that is not among them."""

    instants: tuple[int, ...]
    following: int | None
    beyond: tuple[int, ...] = ()
    """Instants that are due as well and left to the next walk, `following` first; none: the walk reached now."""


def next_nominal(triggers: str, after: int, effective_at: int) -> int | None:
    """Find the first instant after `after`; recurring triggers plan none at or before `effective_at`.

    `triggers` is the stored JSON text. Schedules that share it share the answer.
    """
    return _next(triggers, after, max(after, effective_at))


@lru_cache(maxsize=65536)
def _next(triggers: str, after: int, recurring_after: int) -> int | None:
    found = [t.next_after(recurring_after if t.recurring else after) for t in parse_triggers(triggers)]
    return min((instant for instant in found if instant is not None), default=None)


def due_instants(triggers: str, first: int | None, *, until: int, effective_at: int) -> Due:
    """Walk from `first`, the stored next time, to `until` (inclusive), visiting at most WALK instants."""
    instants: list[int] = []
    instant = first
    while instant is not None and instant <= until:
        if len(instants) == WALK:
            decided = WALK - RESERVE
            return Due(tuple(instants[:decided]), instants[decided], tuple(instants[decided:]))
        instants.append(instant)
        instant = next_nominal(triggers, instant, effective_at)
    return Due(tuple(instants), instant)
