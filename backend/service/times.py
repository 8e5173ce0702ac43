"""Times to come: of a stored schedule, or of a draft that nobody has stored."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, Field

from backend.engine.due import next_nominal
from backend.engine.timing import Timing, dump_timing, load_timing
from backend.errors import FieldProblem, Refused
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
    return Preview(
        occurrences=upcoming(timing, after=after, effective_at=0, count=request.count),
        description="; and ".join(describe(trigger) for trigger in triggers),
        warnings=[warning for trigger in triggers for warning in warnings(trigger)],
    )


def _resolved(trigger: Trigger, seed: str, now: int) -> Trigger:
    if isinstance(trigger, CronTrigger):
        return trigger.with_seed(seed)
    if isinstance(trigger, IntervalTrigger) and trigger.anchor is None:
        return trigger.with_anchor(now // SECOND * SECOND)
    return trigger


def upcoming(timing: str, *, after: int, effective_at: int, count: int) -> list[OccurrenceView]:
    """List the next `count` times strictly after `after`, at most 1,000."""
    if not 1 <= count <= MOST:
        raise Refused([FieldProblem("count", f"{count} is outside 1–{MOST}", f"give 1 to {MOST}")])
    times: list[OccurrenceView] = []
    instant = next_nominal(timing, after, effective_at)
    while instant is not None and len(times) < count:
        times.append(occurrence_view(load_timing(timing).triggers, instant))
        instant = next_nominal(timing, instant, effective_at)
    return times


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
