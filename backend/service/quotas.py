"""Whether a schedule fires more often than its namespace allows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache

from backend.duration import format_duration
from backend.engine.definition import ScheduleDefinition
from backend.errors import FieldProblem, Refused
from backend.model.instants import DAY, micros
from backend.service.validation import joined
from backend.triggers.base import Trigger
from backend.triggers.interval import IntervalTrigger

LOOKED_AT = 100
"""Occurrences of which the distances are measured."""


def check_interval(definition: ScheduleDefinition, minimum: timedelta | None, now: int, at: str = "") -> None:
    """Refuse triggers whose occurrences come closer than `minimum`, alone or together.

    Looks at the next hundred of each; what exclusions would take away counts as well.
    """
    if minimum is None:
        return
    triggers, after = definition.triggers, now // DAY * DAY
    for place, trigger in enumerate(triggers):
        if _comes_closer((trigger,), micros(minimum), after):
            raise Refused([_problem(joined(at, f"triggers[{place}]"), "it fires", minimum)])
    if len(triggers) > 1 and _comes_closer(triggers, micros(minimum), after):
        raise Refused([_problem(joined(at, "triggers"), "together they fire", minimum)])


def _problem(field: str, who: str, minimum: timedelta) -> FieldProblem:
    length = format_duration(minimum)
    return FieldProblem(
        field, f"{who} more often than every {length}, the minimum_interval of the namespace", "leave more time between"
    )


@lru_cache(maxsize=4096)
def _comes_closer(triggers: Sequence[Trigger], minimum: int, after: int) -> bool:
    if len(triggers) == 1 and isinstance(triggers[0], IntervalTrigger):
        return micros(triggers[0].every) < minimum
    last: int | None = None
    for _ in range(LOOKED_AT):
        coming = [instant for instant in (trigger.next_after(after) for trigger in triggers) if instant is not None]
        if not coming:
            return False
        after = min(coming)
        if last is not None and after - last < minimum:
            return True
        last = after
    return False
