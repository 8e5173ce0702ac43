"""What would happen over a range: the load, its peaks, what overlaps, and what an outage would cost."""

from __future__ import annotations

import asyncio
from array import array
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from backend.duration import Duration
from backend.engine.definition import ScheduleDefinition
from backend.engine.simulate import Forecast, Line, simulate
from backend.engine.timing import dump_timing
from backend.engine.track import Offered, Range
from backend.errors import FieldError, FieldProblem, Refused
from backend.model.instants import DAY, MINUTE, SECOND, micros, rfc3339
from backend.model.policies import MisfirePolicy, OverlapPolicy
from backend.service.default_zone import zoned
from backend.service.drafts import settled
from backend.service.simulate_views import (
    Misfires,
    MisfiresOf,
    Overlaps,
    OverlapsOf,
    Peak,
    Simulation,
    Starts,
)
from backend.service.timings import Days, calendars_of, timing_of
from backend.service.validation import MOST_PROBLEMS, parse
from backend.store.port import NamespaceStore
from backend.triggers.base import Instant

LONGEST = 366 * DAY
MOST_BUCKETS = 10_080
WIDTHS = (1, 2, 5, 10, 15, 30, 60)
"""Minutes of a bucket; the last is enough for the longest range."""
PAGE = 500
MOST_DRAFTS = 10_000
MOST_NAMED = 100
EVERYBODY = "*"


class Window(BaseModel):
    """From an instant to before another."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    from_: Instant = Field(alias="from")
    to: Instant

    @model_validator(mode="after")
    def _is_a_range(self) -> Window:
        if self.to <= self.from_:
            raise FieldError("to is not after from", "give a later one", "to")
        return self

    @property
    def range(self) -> Range:
        """The same as plain instants."""
        return Range(self.from_, self.to)


def _form(value: object) -> str:
    return "each" if isinstance(value, Mapping) else "one"


Durations = Annotated[
    Annotated[Duration, Tag("one")] | Annotated[dict[str, Duration], Field(max_length=MOST_DRAFTS), Tag("each")],
    Discriminator(_form),
]


class SimulateRequest(Window):
    """What to replay. Nothing is stored, and nothing fires."""

    schedules: list[dict[str, Any]] | None = Field(
        default=None, max_length=MOST_DRAFTS, description="Drafts to replay instead of the active schedules."
    )
    durations: Durations = Field(
        default_factory=dict, description='How long runs take: one length for all, or by id, with "*" for all others.'
    )
    outage: Window | None = Field(default=None, description="While nothing could start.")

    @model_validator(mode="after")
    def _is_bounded(self) -> SimulateRequest:
        if self.to - self.from_ > LONGEST:
            raise FieldError("the range is longer than 366 days", "give a shorter one", "to")
        return self

    def duration_of(self, id_: str) -> int:
        """Say how long a run takes, in microseconds; 0 when nobody said."""
        if not isinstance(self.durations, dict):
            return micros(self.durations)
        found = self.durations.get(id_, self.durations.get(EVERYBODY))
        return micros(found) if found is not None else 0


class Simulations(NamedTuple):
    """Simulates one namespace's schedules."""

    store: NamespaceStore

    async def simulate(self, document: object, now: int) -> Simulation:
        """Replay the active schedules, or the drafts that are given; other work goes on meanwhile."""
        request = await asyncio.to_thread(parse, SimulateRequest, document)
        lines = await (self._stored(request) if request.schedules is None else self._drafts(request, now))
        outage = request.outage.range if request.outage else None
        try:
            forecast = await _in_pieces(simulate(lines, request.range, outage))
        except FieldError as error:
            raise Refused([FieldProblem(error.field, error.rule, error.fix)]) from error
        return await asyncio.to_thread(_view, request, forecast, len(lines))

    async def _stored(self, request: SimulateRequest) -> list[Line]:
        lines: list[Line] = []
        after, more = 0, True
        while more:
            page = await self.store.replayable(after, PAGE)
            lines += [
                Line(
                    id=one.id,
                    timing=one.triggers,
                    seed=f"{self.store.namespace}/{one.id}",
                    jitter=one.jitter,
                    misfire_policy=MisfirePolicy(one.misfire_policy),
                    misfire_threshold=one.misfire_threshold,
                    catchup_window=one.catchup_window,
                    overlap_policy=OverlapPolicy(one.overlap_policy),
                    runs_left=one.runs_left,
                    duration=request.duration_of(one.id),
                )
                for one in page
            ]
            more, after = len(page) == PAGE, page[-1].key if page else 0
        return lines

    async def _drafts(self, request: SimulateRequest, now: int) -> list[Line]:
        read = await asyncio.to_thread(_read, await zoned(self.store, request.schedules or []))
        names = calendars_of(one for definition in read for one in definition.exclusions)
        days = await self.store.calendars().days(names)
        return await asyncio.to_thread(
            lambda: [self._line(request, definition, place, days, now) for place, definition in enumerate(read)]
        )

    def _line(self, request: SimulateRequest, draft: ScheduleDefinition, place: int, days: Days, now: int) -> Line:
        definition, at = settled(draft, None, now), f"schedules[{place}]"
        id_ = definition.id or at
        return Line(
            id=id_,
            timing=dump_timing(timing_of(definition, id_, days, at)),
            seed=f"{self.store.namespace}/{id_}",
            jitter=micros(definition.jitter),
            misfire_policy=definition.misfire_policy,
            misfire_threshold=micros(definition.misfire_threshold),
            catchup_window=micros(definition.catchup_window),
            overlap_policy=definition.overlap_policy,
            runs_left=definition.max_runs,
            duration=request.duration_of(id_),
        )


def _read(documents: Sequence[object]) -> list[ScheduleDefinition]:
    read: list[ScheduleDefinition] = []
    problems: list[FieldProblem] = []
    for place, document in enumerate(documents):
        try:
            read.append(parse(ScheduleDefinition, document, at=f"schedules[{place}]"))
        except Refused as refused:
            problems += refused.problems
    if problems:
        raise Refused(problems[:MOST_PROBLEMS])
    return read


PIECE = 10
"""Pauses of a replay that one stay in a thread takes: about 10 ms, most of which the event loop may interrupt."""


async def _in_pieces(replay: Generator[None, None, Forecast]) -> Forecast:
    """Replay in a thread, and come back now and then, so that the event loop never has to wait for it."""
    forecast = None
    while forecast is None:
        forecast = await asyncio.to_thread(_advance, replay)
    return forecast


def _advance(replay: Generator[None, None, Forecast]) -> Forecast | None:
    try:
        for _ in range(PIECE):
            next(replay)
    except StopIteration as finished:
        forecast: Forecast = finished.value
        return forecast
    return None


def _view(request: SimulateRequest, forecast: Forecast, schedules: int) -> Simulation:
    width = next(width for width in WIDTHS if len(forecast.counts) <= MOST_BUCKETS * width)
    notes = [f"the range is longer than a week, so each bucket is {width} minutes wide"] if width > 1 else []
    overlaps = _overlaps(forecast.offered)
    if not request.durations:
        but = "; what the end of the outage plans in one go overlaps nevertheless" if overlaps.at_return else ""
        notes.append(f"no durations were given, so every run is taken to end at once{but}")
    notes += [f"{id_} is left out: {why}" for id_, why in forecast.unplannable[:MOST_NAMED]]
    return Simulation(
        schedules=schedules - len(forecast.unplannable),
        total=forecast.total,
        bucket_seconds=width * 60,
        minutes=_buckets(forecast.counts, request.from_, width),
        peak=Peak(
            starts=forecast.peak,
            minutes=[rfc3339(request.from_ + minute * MINUTE) for minute in forecast.peak_minutes],
        ),
        peak_schedules=[Starts(id=id_, starts=number) for id_, number in forecast.peak_schedules],
        peak_schedule_count=forecast.peak_schedule_count,
        overlaps=overlaps,
        misfires=_misfires(forecast.offered) if request.outage else None,
        notes=notes,
    )


def _buckets(counts: array[int], from_at: int, width: int) -> list[tuple[str, int]]:
    sums = ((place, sum(counts[place : place + width])) for place in range(0, len(counts), width))
    return [(rfc3339(from_at + place * 60 * SECOND), number) for place, number in sums if number]


def _overlaps(offered: Sequence[tuple[str, Offered]]) -> Overlaps:
    found = [
        OverlapsOf(id=id_, count=one.overlapping, skipped=one.skipped, waited=one.waited, replaced=one.replaced)
        for id_, one in offered
        if one.overlapping
    ]
    return Overlaps(
        count=sum(one.count for one in found),
        skipped=sum(one.skipped for one in found),
        waited=sum(one.waited for one in found),
        replaced=sum(one.replaced for one in found),
        at_return=sum(one.at_return for _, one in offered),
        schedule_count=len(found),
        schedules=sorted(found, key=lambda one: (-one.count, one.id))[:MOST_NAMED],
    )


def _misfires(offered: Sequence[tuple[str, Offered]]) -> Misfires:
    found = [
        MisfiresOf(id=id_, late=one.late, run=one.ran_late, dropped=dict(one.dropped))
        for id_, one in offered
        if one.late
    ]
    dropped: Counter[str] = Counter()
    for one in found:
        dropped.update(one.dropped)
    return Misfires(
        late=sum(one.late for one in found),
        run=sum(one.run for one in found),
        dropped=dict(dropped),
        schedule_count=len(found),
        schedules=sorted(found, key=lambda one: (-one.late, one.id))[:MOST_NAMED],
    )
