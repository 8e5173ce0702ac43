"""Which instants of a schedule are due; every walk over time is bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from backend.engine.cache import cached_by_length
from backend.engine.timing import Timing, load_timing
from backend.errors import FieldError
from backend.triggers.exclusions import skip_excluded

WALK = 3000
"""Instants of one schedule that one walk visits at the most."""
RESERVE = 1000
"""Of a walk that does not reach now, the newest instants left to the next walk, which may treat them otherwise."""
MOST_ASKED = 20_000
"""Questions to triggers and exclusions that a search for the next time asks at the most: some 30 ms."""
MOST_ASKED_IN_WALK = 1_000_000
"""Of a whole walk: eight times what the largest definition asks whose exclusions mostly let it fire."""
SHORT = 1024
"""Characters of a timing; what is remembered of longer ones is bounded by their length."""

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
    asked: int = 0
    """Questions to triggers and exclusions that the walk took."""


def no_delay(nominal_at: int, following: int | None) -> int:  # noqa: ARG001 - the shape of a Delay
    """Let every occurrence be due at its nominal time."""
    return 0


def next_nominal(timing: str, after: int, effective_at: int) -> int | None:
    """Find the first instant after `after`; recurring triggers plan none at or before `effective_at`.

    `timing` is the stored JSON text. Schedules that share it share the answer.
    """
    return _next(_same(timing), after, max(after, effective_at))[0]


def instants_after(timing: str, after: int, effective_at: int) -> Iterator[int]:
    """Go from one instant to the next, as `next_nominal` does. FieldError: the exclusions make it too long a way."""
    for instant, _ in _steps(timing, after, effective_at):
        if instant is None:
            return
        yield instant


def _steps(timing: str, after: int, effective_at: int) -> Iterator[tuple[int | None, int]]:
    """Go from one instant to the next until there is none; beside each, the questions that all of them took so far."""
    asked = 0
    while True:
        instant, questions = _next(_same(timing), after, max(after, effective_at))
        asked += questions
        if asked > MOST_ASKED_IN_WALK:
            raise FieldError("the exclusions make the walk over time too long", "exclude less", "exclusions")
        yield instant, asked
        if instant is None:
            return
        after = instant


@cached_by_length(1024, longest=SHORT)
def _same(text: str) -> str:
    """Give one object for equal texts: each is read from the database anew, and what `_next` remembers holds it."""
    return text


@cached_by_length(65536, longest=SHORT)
def _next(text: str, after: int, recurring_after: int) -> tuple[int | None, int]:
    return _search(load_timing(text), after, recurring_after)


def find_next(timing: Timing, after: int, recurring_after: int) -> int | None:
    """Find the first instant after `after`; recurring triggers give none at or before `recurring_after`.

    Nothing is remembered. FieldError: the exclusions leave nothing within reach.
    """
    return _search(timing, after, recurring_after)[0]


def _search(timing: Timing, after: int, recurring_after: int) -> tuple[int | None, int]:
    """Find the next instant, and tell how many questions to triggers and exclusions it took."""
    if timing.start_at is not None:
        after, recurring_after = max(after, timing.start_at - 1), max(recurring_after, timing.start_at - 1)
    each = len(timing.triggers) + len(timing.exclusions)
    for asked in range(each, MOST_ASKED + 1, each):
        found = _first(timing, after, recurring_after)
        if found is None or (timing.end_at is not None and found > timing.end_at):
            return None, asked
        allowed = skip_excluded(timing.exclusions, found)
        if allowed is None:
            return found, asked
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
    so their order stays. FieldError: the exclusions make it too long a way.
    """
    instants: list[int] = []
    delays: dict[int, int] = {}
    instant, asked = first, 0
    coming = _steps(timing, first or 0, effective_at)
    while instant is not None and instant <= until:
        following, asked = next(coming)
        late_by = delay(instant, following)
        if late_by:
            delays[instant] = late_by
            if wait and instant + late_by > until:
                break
        if len(instants) == WALK:
            decided = WALK - RESERVE
            return Due(tuple(instants[:decided]), instants[decided], tuple(instants[decided:]), delays, asked)
        instants.append(instant)
        instant = following
    return Due(tuple(instants), instant, (), delays, asked)
