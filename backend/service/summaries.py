"""What a timing means, in words: when it fires, what it leaves out, and what may surprise. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from backend.engine.cache import cached_if_short
from backend.engine.timing import Timing, load_timing
from backend.triggers.cron import CronTrigger
from backend.triggers.describe import describe, warnings
from backend.triggers.exclusions import (
    CalendarExclusion,
    CronExclusion,
    DateExclusion,
    Exclusion,
    RangeExclusion,
)
from backend.triggers.words import join

MOST_EXCEPTIONS = 5
"""Exclusions that are told one by one; of more, the others are counted."""


class Summary(NamedTuple):
    """A description for people, and warnings about what its author may not expect."""

    description: str
    warnings: tuple[str, ...]


@cached_if_short
def summary_of(timing: str) -> Summary:
    """Word a stored timing; without words where this program cannot read it."""
    try:
        return summarized(load_timing(timing))
    except ValueError:
        return Summary("", ())


def summarized(timing: Timing) -> Summary:
    """Word a timing."""
    description = "; and ".join(describe(trigger) for trigger in timing.triggers)
    if timing.exclusions:
        description += f"; except {_exceptions(timing.exclusions)}"
    found = (warning for trigger in timing.triggers for warning in warnings(trigger))
    return Summary(description, tuple(dict.fromkeys(found)))


def _exceptions(exclusions: Sequence[Exclusion]) -> str:
    words = [describe_exclusion(one) for one in exclusions[:MOST_EXCEPTIONS]]
    rest = len(exclusions) - MOST_EXCEPTIONS
    return join([*words, f"{rest} more"] if rest > 0 else words)


def describe_exclusion(exclusion: Exclusion) -> str:
    """Say what an exclusion takes away.

    >>> describe_exclusion(DateExclusion(date="2026-12-25", timezone="Europe/London"))
    '2026-12-25 (Europe/London)'
    """
    match exclusion:
        case DateExclusion():
            return f"{exclusion.date} ({exclusion.timezone})"
        case RangeExclusion():
            # A last date is excluded whole, a last time is not.
            until = exclusion.to if len(exclusion.to) == len("2026-12-25") else f"before {exclusion.to}"
            return f"{exclusion.from_} to {until} ({exclusion.timezone})"
        case CalendarExclusion():
            return f"the days of the calendar {exclusion.calendar} ({exclusion.timezone})"
        case CronExclusion():
            return describe(CronTrigger(expression=exclusion.expression, timezone=exclusion.timezone))
    raise TypeError(f"no words for {type(exclusion).__name__}")
