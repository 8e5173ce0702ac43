"""Times to come: of a stored schedule, or of a draft that nobody has stored."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, Field

from backend.engine.due import instants_after
from backend.engine.timing import Timing, dump_timing, load_timing
from backend.errors import FieldError, FieldProblem, Refused
from backend.model.instants import SECOND, rfc3339, to_datetime
from backend.service.timings import Days, with_days
from backend.service.views import OccurrenceView, View
from backend.triggers.base import Instant, Trigger
from backend.triggers.cron import CronTrigger
from backend.triggers.describe import describe, note_at, warnings
from backend.triggers.exclusions import AnyExclusion
from backend.triggers.interval import IntervalTrigger
from backend.triggers.registry import AnyTrigger
from backend.triggers.zones import zone

MOST = 1000
MANY = 10
"""Schedules that fire at minute 0, from which on another one is warned."""
NO_CALENDARS: Days = MappingProxyType({})


class PreviewRequest(BaseModel):
    """A draft of triggers; nothing is stored."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    triggers: tuple[AnyTrigger, ...] = Field(min_length=1, max_length=20)
    exclusions: tuple[AnyExclusion, ...] = Field(default=(), max_length=100)
    id: str | None = Field(default=None, max_length=200, description="The id of the schedule it is to become.")
    from_: Instant | None = Field(default=None, alias="from", description="Times strictly after; default now.")
    count: int = Field(default=5, ge=1, le=MOST)


class Preview(View):
    """When a draft would fire, in words, and what may surprise."""

    occurrences: list[OccurrenceView]
    description: str
    warnings: list[str]


def preview(request: PreviewRequest, now: int, calendars: Days = NO_CALENDARS) -> Preview:
    """Say when the draft would fire next, what it means, and what may surprise."""
    after = now if request.from_ is None else request.from_
    triggers = tuple(_resolved(trigger, request.id or "", now) for trigger in request.triggers)
    timing = dump_timing(Timing(triggers, with_days(request.exclusions, calendars)))
    try:
        occurrences = upcoming(timing, after=after, effective_at=0, count=request.count)
    except FieldError as error:
        raise Refused([FieldProblem(error.field, error.rule, error.fix)]) from error
    return Preview(
        occurrences=occurrences,
        description="; and ".join(describe(trigger) for trigger in triggers),
        warnings=[warning for trigger in triggers for warning in warnings(trigger)],
    )


def full_hour(request: PreviewRequest, now: int) -> int | None:
    """Find the next occurrence of a cron trigger that fires at minute 0 and no other; None when there is none."""
    triggers = (_resolved(t, request.id or "", now) for t in request.triggers if isinstance(t, CronTrigger))
    found = (t.next_after(now) for t in triggers if isinstance(t, CronTrigger) and t.rule().fields.minutes == 1)
    return next((instant for instant in found if instant is not None), None)


def crowded(shown: Preview, others: int) -> Preview:
    """Add a warning where many other schedules fire at minute 0 as well."""
    if others < MANY:
        return shown
    warning = f"{others} other schedules fire at minute 0 too; H in place of 0 gives this one a minute of its own"
    return shown.model_copy(update={"warnings": [*shown.warnings, warning]})


def _resolved(trigger: Trigger, seed: str, now: int) -> Trigger:
    if isinstance(trigger, CronTrigger):
        return trigger.with_seed(seed)
    if isinstance(trigger, IntervalTrigger) and trigger.anchor is None:
        return trigger.with_anchor(now // SECOND * SECOND)
    return trigger


def upcoming(timing: str, *, after: int, effective_at: int, count: int) -> list[OccurrenceView]:
    """List the next `count` times strictly after `after`, at most 1,000. FieldError: exclusions leave none in reach."""
    if not 1 <= count <= MOST:
        raise Refused([FieldProblem("count", f"{count} is outside 1–{MOST}", f"give 1 to {MOST}")])
    instants = islice(instants_after(timing, after, effective_at), count)
    return [occurrence_view(load_timing(timing).triggers, instant) for instant in instants]


def occurrence_view(triggers: Sequence[Trigger], instant: int) -> OccurrenceView:
    """Show an instant in the zone of the trigger that fires then."""
    firing = next((t for t in triggers if t.next_after(instant - 1) == instant), triggers[0])
    local = to_datetime(instant).astimezone(zone(firing.display_timezone))
    return OccurrenceView(
        nominal_time=rfc3339(instant),
        local_time=local.isoformat(),
        timezone=firing.display_timezone,
        note=note_at(firing, instant),
    )
