"""Backfills: runs for a past range, on a person's wish."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from pydantic import BaseModel, ConfigDict, Field, StrictBool, field_validator, model_validator

from backend.engine.due import next_nominal
from backend.errors import Conflict, FieldError, FieldProblem, Refused
from backend.events import BackfillStarted
from backend.model.ids import run_id_of, uuid7
from backend.model.instants import DAY, rfc3339, rfc3339_or_none
from backend.model.plan import NewRun
from backend.model.policies import OverlapPolicy
from backend.model.run import RunState, TriggerType
from backend.model.schedule import Schedule
from backend.service.schedules import Surroundings
from backend.service.views import View
from backend.store.port import NamespaceStore
from backend.store.repeats import shown
from backend.triggers.base import Instant

MOST = 10_000
"""Runs of one backfill."""
SHOWN = 100
"""Nominal times that an answer lists."""
AT_ONCE = {OverlapPolicy.BUFFER_ALL: 1, OverlapPolicy.ALLOW_ALL: 4}
"""How many of a schedule's backfill runs are at work at a time."""
_WHY_NOT = {
    OverlapPolicy.SKIP: "it would leave out whatever is asked for while another is at work",
    OverlapPolicy.BUFFER_ONE: "it would leave out all that is asked for but two",
    OverlapPolicy.CANCEL_OTHER: "each run would cancel the one before it",
    OverlapPolicy.TERMINATE_OTHER: "each run would end the one before it",
}


class BackfillRequest(BaseModel):
    """Which past occurrences are to run, and how many of them at a time."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    from_: Instant = Field(alias="from", description="The earliest nominal time.")
    to: Instant = Field(description="The nominal time to end before; not after now.")
    overlap_policy: OverlapPolicy = Field(
        default=OverlapPolicy.BUFFER_ALL, description="`buffer_all`: one after another; `allow_all`: four at a time."
    )
    dry_run: StrictBool = Field(default=False, description="Say what would run, and record nothing.")

    @field_validator("overlap_policy")
    @classmethod
    def _runs_all(cls, policy: OverlapPolicy) -> OverlapPolicy:
        if policy in _WHY_NOT:
            raise FieldError(f"{policy} is no policy for a backfill: {_WHY_NOT[policy]}", "use buffer_all or allow_all")
        return policy

    @model_validator(mode="after")
    def _is_a_range(self) -> BackfillRequest:
        if self.to <= self.from_:
            raise FieldError("it is not after from", "give a later end", "to")
        return self


class BackfillView(View):
    """What a backfill runs, or would run."""

    backfill_id: str | None = Field(description="Its runs carry it; null for a dry run.")
    count: int = Field(description="Occurrences of the range.")
    first: str | None
    last: str | None
    recorded: int = Field(description="How many of the occurrences became runs by themselves, at their time.")
    nominal_times: list[str] = Field(description="The first hundred.")


@dataclass(frozen=True, slots=True)
class Backfills:
    """The backfills of one namespace, asked for in somebody's name."""

    store: NamespaceStore
    by: str
    around: Surroundings

    async def start(self, schedule_id: str, request: BackfillRequest, now: int) -> BackfillView:
        """Record a run for each past occurrence of the range; a dry run only says which."""
        if request.to > now:
            rule = f"{rfc3339(request.to)} is to come; a backfill is for what is over"
            raise Refused([FieldProblem("to", rule, f"give at most {rfc3339(now)}")])
        schedule = (await self.store.schedule(schedule_id)).schedule
        # Walking thousands of instants takes its time, in which loop and writer have live runs to see to.
        instants = await asyncio.to_thread(_occurrences, schedule, request)
        recorded = await self.store.count_recorded(schedule_id, instants)
        if request.dry_run:
            return _view(None, instants, recorded)
        if not instants:
            rule = "no occurrence falls between from and to"
            raise Refused([FieldProblem("from", rule, "give another range, and try it with dry_run")])
        backfill_id = uuid7(now, self.around.entropy(10))
        runs = await asyncio.to_thread(self._runs, schedule, instants, backfill_id, request, now)
        view = _view(backfill_id, instants, recorded)
        await self.store.start_backfill(schedule_id, _unless_changed(schedule, runs, request.to), shown(lambda _: view))
        self.around.events.emit(BackfillStarted(schedule.namespace, schedule.id, backfill_id, len(runs), self.by))
        self.around.wake_workers()
        return view

    def _runs(
        self, schedule: Schedule, instants: Sequence[int], backfill_id: str, request: BackfillRequest, now: int
    ) -> list[NewRun]:
        origin = f"{self.store.store_id}/{schedule.key}/{schedule.created_at}"
        pattern = _pattern(schedule, backfill_id, now)._replace(chained=AT_ONCE[request.overlap_policy])
        return [pattern._replace(id=run_id_of(origin, at, backfill_id), nominal_at=at) for at in instants]


def _occurrences(schedule: Schedule, request: BackfillRequest) -> list[int]:
    """List the occurrences of the range by the schedule's present timing; Refused if they are too many."""
    try:
        instants = list(islice(_walk(schedule.triggers, request), MOST + 1))
    except ValueError as error:
        raise Conflict(f"the triggers of {schedule.id!r} cannot be planned ({error})") from error
    if len(instants) > MOST:
        rule = f"more than {MOST} occurrences fall between from and to"
        raise Refused([FieldProblem("to", rule, f"give a shorter range, such as to {rfc3339(instants[MOST])}")])
    return instants


def _walk(timing: str, request: BackfillRequest) -> Iterator[int]:
    # Of the past all counts, also what is older than the schedule.
    instant = next_nominal(timing, request.from_ - 1, 0)
    while instant is not None and instant < request.to:
        yield instant
        instant = next_nominal(timing, instant, 0)


def _unless_changed(seen: Schedule, runs: Sequence[NewRun], to_at: int) -> Callable[[Schedule, int], Sequence[NewRun]]:
    def make(current: Schedule, now: int) -> Sequence[NewRun]:
        # The clock may have been ahead when the range was checked.
        if to_at > now:
            raise Conflict("the database's clock has just gone back; try again")
        if (current.key, current.triggers) != (seen.key, seen.triggers):
            raise Conflict(f"the schedule {seen.id!r} has just been changed; try again")
        return runs

    return make


def _pattern(schedule: Schedule, backfill_id: str, now: int) -> NewRun:
    return NewRun(
        id="",
        schedule_key=schedule.key,
        namespace=schedule.namespace,
        nominal_at=0,
        backfill_id=backfill_id,
        trigger_type=TriggerType.BACKFILL,
        state=RunState.HELD,
        reason=None,
        scheduled_at=now,
        queued_at=now,
        available_at=now,
        finished_at=None,
        retry_until_at=now + DAY,
        chained=1,
        missed_count=0,
        missed_first_at=None,
        missed_last_at=None,
        input=None,
        revision=schedule.revision,
    )


def _view(backfill_id: str | None, instants: Sequence[int], recorded: int) -> BackfillView:
    return BackfillView(
        backfill_id=backfill_id,
        count=len(instants),
        first=rfc3339_or_none(instants[0] if instants else None),
        last=rfc3339_or_none(instants[-1] if instants else None),
        recorded=recorded,
        nominal_times=[rfc3339(instant) for instant in instants[:SHOWN]],
    )
