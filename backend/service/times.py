"""Times to come: of a stored schedule, or of a draft that nobody has stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import islice, zip_longest
from types import MappingProxyType
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from backend.engine.definition import Jitter, MaxRuns, check_window
from backend.engine.due import Delay, instants_after, no_delay
from backend.engine.plan import jitter_delay
from backend.engine.timing import Timing, dump_timing, load_timing
from backend.errors import FieldError, FieldProblem, Refused
from backend.model.instants import SECOND, micros, parse_instant, rfc3339, to_datetime
from backend.model.numbers import WHOLE
from backend.service.silence import silence
from backend.service.summaries import summarized
from backend.service.timings import Days, with_days
from backend.service.views import OccurrenceView, View
from backend.triggers.base import Instant, Trigger
from backend.triggers.cron import CronTrigger
from backend.triggers.describe import note_at, skipped_times
from backend.triggers.exclusions import AnyExclusion
from backend.triggers.interval import IntervalTrigger
from backend.triggers.registry import AnyTrigger
from backend.triggers.zones import zone

MOST = 1000
MANY = 10
"""Schedules that fire at minute 0, from which on another one is warned."""
NO_CALENDARS: Days = MappingProxyType({})


class PreviewRequest(BaseModel):
    """All that decides when a draft fires; nothing is stored."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    triggers: tuple[AnyTrigger, ...] = Field(min_length=1, max_length=20)
    exclusions: tuple[AnyExclusion, ...] = Field(default=(), max_length=100)
    id: str | None = Field(default=None, max_length=200, description="The id of the schedule it is to become.")
    start_at: Instant | None = None
    end_at: Instant | None = None
    max_runs: MaxRuns | None = Field(default=None, description="No more times than these.")
    jitter: Jitter = timedelta(0)
    from_: Instant | None = Field(default=None, alias="from", description="Times strictly after; default now.")
    count: Annotated[int, WHOLE] = Field(default=5, ge=1, le=MOST, strict=True)

    @model_validator(mode="after")
    def _has_a_window(self) -> PreviewRequest:
        check_window(self.start_at, self.end_at)
        return self


class Preview(View):
    """When a draft would fire, in words, and what may surprise."""

    occurrences: list[OccurrenceView]
    description: str
    warnings: list[str]


def preview(
    request: PreviewRequest, now: int, calendars: Days = NO_CALENDARS, *, namespace: str = "default"
) -> Preview:
    """Say when the draft would fire next, what it means, and what may surprise."""
    after = now if request.from_ is None else request.from_
    triggers = tuple(_resolved(trigger, request.id or "", now) for trigger in request.triggers)
    timing = Timing(triggers, with_days(request.exclusions, calendars), request.start_at, request.end_at)
    count = min(request.count, request.max_runs or MOST)
    spread = jitter_delay(f"{namespace}/{request.id or ''}", micros(request.jitter))
    try:
        occurrences = upcoming(dump_timing(timing), after=after, effective_at=0, count=count, delay=spread)
    except FieldError as error:
        raise Refused([FieldProblem(error.field, error.rule, error.fix)]) from error
    description, surprises = summarized(timing)
    of_these = _skipped(triggers, after, occurrences) if occurrences else [silence(timing, after, after).rule]
    return Preview(
        occurrences=occurrences, description=description, warnings=[*of_these, *surprises, *_of_no_id(request)]
    )


def _skipped(triggers: Sequence[Trigger], after: int, occurrences: Sequence[OccurrenceView]) -> list[str]:
    until = parse_instant(occurrences[-1].nominal_time)
    return [text for trigger in triggers for text in skipped_times(trigger, after, until)]


def _of_no_id(request: PreviewRequest) -> list[str]:
    """Warn where the times follow from an id, and none is given."""
    if request.id is not None:
        return []
    hashed = any(isinstance(t, CronTrigger) and t.with_seed("") is not t for t in request.triggers)
    what = " and ".join(word for word, used in (("H", hashed), ("jitter", request.jitter)) if used)
    return [f"{what}: each schedule has times of its own, which follow from its id; give the id"] if what else []


def full_hour(request: PreviewRequest, now: int) -> int | None:
    """Find the next occurrence of a cron trigger that fires at minute 0 and no other; None when there is none."""
    given = (t for t in request.triggers if isinstance(t, CronTrigger) and not _has_hashed_minute(t))
    triggers = (_resolved(trigger, request.id or "", now) for trigger in given)
    found = (t.next_after(now) for t in triggers if isinstance(t, CronTrigger) and t.rule().fields.minutes == 1)
    return next((instant for instant in found if instant is not None), None)


def _has_hashed_minute(trigger: CronTrigger) -> bool:
    """Tell a rule that has the minute of its own that the warning would advise."""
    fields = trigger.expression.split()
    return len(fields) >= 5 and fields[-5].upper().startswith("H")


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


def upcoming(
    timing: str, *, after: int, effective_at: int, count: int, delay: Delay = no_delay
) -> list[OccurrenceView]:
    """List the next `count` times strictly after `after`, at most 1,000. FieldError: exclusions leave none in reach."""
    if not 1 <= count <= MOST:
        raise Refused([FieldProblem("count", f"{count} is outside 1–{MOST}", f"give 1 to {MOST}")])
    # A delay ends before the occurrence that follows; only then is it worth a walk to that.
    more = 0 if delay is no_delay else 1
    found = list(islice(instants_after(timing, after, effective_at), count + more))
    triggers = load_timing(timing).triggers
    return [
        occurrence_view(triggers, instant, instant + delay(instant, following))
        for instant, following in zip_longest(found[:count], found[1 : count + more])
    ]


def occurrence_view(triggers: Sequence[Trigger], instant: int, scheduled_at: int) -> OccurrenceView:
    """Show an instant in the zone of the trigger that fires then."""
    firing = next((t for t in triggers if t.next_after(instant - 1) == instant), triggers[0])
    local = to_datetime(instant).astimezone(zone(firing.display_timezone))
    return OccurrenceView(
        nominal_time=rfc3339(instant),
        scheduled_time=rfc3339(scheduled_at),
        local_time=local.isoformat(),
        timezone=firing.display_timezone,
        note=note_at(firing, instant),
    )
