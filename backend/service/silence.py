"""Why nothing is left to fire, for whoever gave the rules. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from backend.engine.due import find_next
from backend.engine.timing import Timing
from backend.errors import FieldProblem
from backend.model.instants import SECOND, rfc3339
from backend.triggers.base import Trigger
from backend.triggers.once import OnceTrigger
from backend.triggers.rrule import RecurrenceTrigger

NONE_LEFT = "no occurrence is left"


def silence(timing: Timing, after: int, recurring_after: int) -> FieldProblem:
    """Name the field that leaves nothing after `after`, which the caller has found out, in microseconds."""
    given = find_next(Timing(timing.triggers), after, recurring_after)
    if given is None:
        return FieldProblem("triggers", f"{NONE_LEFT}: {_over(timing.triggers)}", "give a time to come")
    from_start = timing._replace(exclusions=(), end_at=None)
    first = find_next(from_start, after, recurring_after)
    if first is None and timing.start_at is not None:
        rule = f"{NONE_LEFT}: start_at is {rfc3339(timing.start_at)}, and the triggers give none from then on"
        return FieldProblem("start_at", rule, "give an earlier start, or none")
    if first is not None and timing.end_at is not None and first > timing.end_at:
        rule = f"{NONE_LEFT}: end_at is {rfc3339(timing.end_at)}, and the next would be {rfc3339(first)}"
        return FieldProblem("end_at", rule, "give a later end, or none")
    return FieldProblem("exclusions", f"{NONE_LEFT}: the exclusions take every one away", "exclude less")


def _over(triggers: Sequence[Trigger]) -> str:
    """Say when each trigger ended; a recurring one without an end is never among those that are asked about."""
    ends = [_end(trigger) for trigger in triggers]
    return " and ".join(end for end in dict.fromkeys(ends) if end)


def _end(trigger: Trigger) -> str:
    if isinstance(trigger, OnceTrigger):
        again = "; by allow_past it runs as soon as it is made" if trigger.allow_past else ""
        return f"{rfc3339(trigger.instant)} is over{again}"
    if isinstance(trigger, RecurrenceTrigger):
        return f"the rule ended with its COUNT or UNTIL, at {rfc3339(trigger.compiled().until * SECOND)}"
    return "the calendar ends"
