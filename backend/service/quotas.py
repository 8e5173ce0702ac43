"""Whether a schedule fires more often than its namespace allows."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from itertools import combinations
from math import gcd

from backend.duration import format_duration
from backend.engine.definition import ScheduleDefinition
from backend.errors import FieldProblem, Refused
from backend.model.instants import DAY, micros
from backend.service.validation import joined
from backend.triggers.base import Trigger
from backend.triggers.interval import IntervalTrigger

LOOKED_AT = 100
"""Occurrences of a trigger of which the distances are measured."""
PAIRS_LOOKED_AT = 8_000
"""Distances that are measured between triggers, at most."""


def check_interval(definition: ScheduleDefinition, minimum: timedelta | None, now: int, at: str = "") -> None:
    """Refuse triggers whose occurrences come closer than `minimum`, alone or together.

    Looks at the next hundred of each, and of very many triggers at fewer; of two intervals at all that will ever be.
    What exclusions would take away counts as well.
    """
    if minimum is None:
        return
    triggers, least, today = definition.triggers, micros(minimum), now // DAY * DAY
    for place, trigger in enumerate(triggers):
        if _comes_closer(trigger, least, today):
            raise Refused([_problem(joined(at, f"triggers[{place}]"), "it fires", minimum)])
    looked_at = min(LOOKED_AT, PAIRS_LOOKED_AT // max(len(triggers) * (len(triggers) - 1), 1))
    for one, other in combinations(triggers, 2):
        if _come_closer(one, other, least, today, looked_at):
            raise Refused([_problem(joined(at, "triggers"), "together they fire", minimum)])


def _problem(field: str, who: str, minimum: timedelta) -> FieldProblem:
    length = format_duration(minimum)
    return FieldProblem(
        field, f"{who} more often than every {length}, the minimum_interval of the namespace", "leave more time between"
    )


@lru_cache(maxsize=4096)
def _comes_closer(trigger: Trigger, minimum: int, after: int) -> bool:
    if isinstance(trigger, IntervalTrigger):
        return micros(trigger.every) < minimum
    last = trigger.next_after(after)
    for _ in range(LOOKED_AT):
        following = None if last is None else trigger.next_after(last)
        if last is None or following is None:
            return False
        if following - last < minimum:
            return True
        last = following
    return False


@lru_cache(maxsize=4096)
def _come_closer(one: Trigger, other: Trigger, minimum: int, after: int, looked_at: int) -> bool:
    if isinstance(one, IntervalTrigger) and isinstance(other, IntervalTrigger):
        return _least_distance(one, other) < minimum
    first, second = one.next_after(after), other.next_after(after)
    if first is None or second is None:
        return False
    begin = max(first, second) - 1  # from then on there are both: an interval begins with its anchor
    return _is_near(one, other, minimum, begin, looked_at) or _is_near(other, one, minimum, begin, looked_at)


def _least_distance(one: IntervalTrigger, other: IntervalTrigger) -> int:
    """Say how close two intervals ever come, where they do not meet: what they are apart modulo their common step."""
    step = gcd(micros(one.every), micros(other.every))
    apart = ((one.anchor or 0) - (other.anchor or 0)) % step
    return min(apart, step - apart) or step


def _is_near(one: Trigger, other: Trigger, minimum: int, after: int, looked_at: int) -> bool:
    """Tell whether one of the next occurrences of the first has one of the other near, but not at the same time."""
    instant = one.next_after(after)
    for _ in range(looked_at):
        if instant is None:
            return False
        near = other.next_after(instant - minimum)
        if near == instant:
            near = other.next_after(instant)
        if near is not None and near < instant + minimum:
            return True
        instant = one.next_after(instant)
    return False
