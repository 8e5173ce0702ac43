"""What decides the nominal times of a definition: `H` becomes numbers, a calendar's name becomes its days. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import lru_cache

from backend.engine.definition import ScheduleDefinition
from backend.engine.timing import Timing
from backend.errors import FieldProblem, Refused
from backend.service.validation import joined
from backend.triggers.cron import CronTrigger
from backend.triggers.exclusions import AnyExclusion, CalendarExclusion

Days = Mapping[str, str]
"""Days of named calendars, as JSON lists of dates, by id."""


def timing_of(definition: ScheduleDefinition, seed: str, calendars: Days, at: str = "") -> Timing:
    """Take what decides nominal times; `H` follows from `seed`, the schedule's id. Refused: an unknown calendar.

    `at` is the definition's place in the request, for messages.
    """
    triggers = tuple(t.with_seed(seed) if isinstance(t, CronTrigger) else t for t in definition.triggers)
    exclusions = with_days(definition.exclusions, calendars, at)
    return Timing(triggers, exclusions, definition.start_at, definition.end_at)


def calendars_of(exclusions: Iterable[AnyExclusion]) -> list[str]:
    """Name the calendars that exclusions use, each once."""
    return sorted({one.calendar for one in exclusions if isinstance(one, CalendarExclusion)})


def with_days(exclusions: Sequence[AnyExclusion], calendars: Days, at: str = "") -> tuple[AnyExclusion, ...]:
    """Put in the days that calendars have; Refused names each exclusion whose calendar is not there."""
    unknown = [
        FieldProblem(
            joined(at, f"exclusions[{place}].calendar"),
            f"there is no calendar {one.calendar!r} in this namespace",
            f"put it first, by PUT /api/v1/calendars/{one.calendar}",
        )
        for place, one in enumerate(exclusions)
        if isinstance(one, CalendarExclusion) and one.calendar not in calendars
    ]
    if unknown:
        raise Refused(unknown)
    return tuple(
        _resolved(one, calendars[one.calendar]) if isinstance(one, CalendarExclusion) else one for one in exclusions
    )


@lru_cache(maxsize=64)
def _resolved(exclusion: CalendarExclusion, days: str) -> CalendarExclusion:
    # A calendar that changes may have ten thousand users, and the writer waits for all of them.
    return exclusion.resolved(days_of(days))


def without_days(exclusions: Sequence[AnyExclusion]) -> tuple[AnyExclusion, ...]:
    """Leave the days to the calendar: a definition holds only its name, so that it stays what a person wrote."""
    return tuple(
        one.model_copy(update={"days": None}) if isinstance(one, CalendarExclusion) else one for one in exclusions
    )


@lru_cache(maxsize=256)
def days_of(text: str) -> tuple[date, ...]:
    """Read the days of a calendar as they are stored."""
    return tuple(map(date.fromisoformat, json.loads(text)))


def text_of(days: Iterable[date]) -> str:
    """Write days as they are stored: each once, in order."""
    return json.dumps([day.isoformat() for day in sorted(set(days))], separators=(",", ":"))
