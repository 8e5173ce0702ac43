"""What callers see of schedules and runs; the shapes of `contract.md`."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from backend.engine.definition import ScheduleDefinition
from backend.model.instants import rfc3339, rfc3339_or_none
from backend.model.run import RunState
from backend.model.schedule import ScheduleState
from backend.service.summaries import summary_of
from backend.store.runs import AttemptRow, RunRecord, RunRow
from backend.store.schedules import Listed

T = TypeVar("T")


class View(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(frozen=True)


class LastRunView(View):
    """The newest occurrence that became a run."""

    id: str
    state: RunState
    nominal_time: str


class ScheduleView(ScheduleDefinition):
    """A schedule: its definition, its state, and when it fires next."""

    # Says what `schedule_view` answers; that is built from the stored text, so that an old definition is shown too.
    model_config = ConfigDict(extra="ignore")

    id: str
    name: str
    state: ScheduleState
    note: str = Field(description="Why it was paused, by a person or after failures.")
    note_by: str | None
    note_at: str | None
    error: str | None = Field(description="Why its times cannot be planned; only in the state `error`.")
    created_by: str
    created_at: str
    updated_at: str
    revision: int = Field(description="Counts changes of the definition; also the ETag.")
    source: str | None = Field(description="What made it in a batch, such as a file's name.")
    next_nominal_time: str | None
    next_scheduled_time: str | None
    description: str = Field(description="When it fires, in words.")
    warnings: list[str] = Field(description="What its times do that a person may not expect.")
    failure_streak: int = Field(description="Runs that failed in a row.")
    last_run: LastRunView | None

    @model_validator(mode="before")
    @classmethod
    def _without_what_is_only_answered(cls, document: object) -> object:
        return document  # which a definition drops, and this is about


def schedule_view(listed: Listed) -> dict[str, Any]:
    """Show a schedule. One whose stored definition cannot be read is shown without it, with the reason."""
    schedule, last = listed
    definition, unreadable = _definition_of(schedule.definition)
    waiting = schedule.state == ScheduleState.ACTIVE
    description, warnings = summary_of(schedule.triggers)
    return definition | {
        "id": schedule.id,
        "name": schedule.name,
        "namespace": schedule.namespace,
        "state": schedule.state,
        "note": schedule.note,
        "note_by": schedule.note_by,
        "note_at": rfc3339_or_none(schedule.note_at),
        "error": schedule.error or unreadable,
        "created_by": schedule.created_by,
        "created_at": rfc3339(schedule.created_at),
        "updated_at": rfc3339(schedule.updated_at),
        "revision": schedule.revision,
        "source": schedule.source,
        "next_nominal_time": rfc3339_or_none(schedule.next_nominal_at) if waiting else None,
        "next_scheduled_time": rfc3339_or_none(schedule.next_scheduled_at) if waiting else None,
        "description": description,
        "warnings": list(warnings),
        "failure_streak": schedule.failure_streak,
        "last_run": last and {"id": last.id, "state": last.state, "nominal_time": rfc3339(last.nominal_at)},
    }


def _definition_of(text: str) -> tuple[dict[str, Any], str | None]:
    try:
        stored = orjson.loads(text)
    except orjson.JSONDecodeError:
        stored = None
    definition = stored.get("definition") if isinstance(stored, dict) else None
    if isinstance(definition, dict):
        return definition, None
    return {}, "the stored definition cannot be read; PUT a whole one"


class MissedView(View):
    """Occurrences that a run stands for beside its own, or that a range row sums up."""

    count: int
    first: str | None
    last: str | None


class AttemptView(View):
    """One dispatch of a run."""

    number: int
    state: str
    started_at: str
    finished_at: str | None
    worker: str | None
    error: str | None
    status_code: int | None


class RunView(View):
    """A run, or the record of an occurrence that did not run, with the reason."""

    id: str
    schedule_id: str
    namespace: str
    nominal_time: str
    scheduled_time: str
    backfill_id: str
    trigger_type: str
    state: RunState
    reason: str | None
    queued_at: str
    available_at: str = Field(description="When the run may be attempted (again).")
    started_at: str | None
    finished_at: str | None
    attempt: int
    losses: int
    awaited_until: str | None = Field(
        description="Set while the run is open only for its callee: without a word by then, the attempt has timed out."
    )
    revision: int = Field(description="The revision of the schedule that the latest attempt carried out.")
    input: dict[str, Any] | None = Field(description="What a manual trigger gave over the schedule's own input.")
    missed: MissedView
    error: str | None
    output: str | None = Field(description="Of the last attempt; in lists, the first 4,096 characters.")
    output_truncated: bool
    attempts: list[AttemptView]


def run_view(record: RunRecord) -> RunView:
    """Show a run with its attempts; the output is the last attempt's."""
    run, attempts = record
    last = attempts[-1] if attempts else None
    return RunView(
        id=run.id,
        schedule_id=run.schedule_id,
        namespace=run.namespace,
        nominal_time=rfc3339(run.nominal_at),
        scheduled_time=rfc3339(run.scheduled_at),
        backfill_id=run.backfill_id,
        trigger_type=run.trigger_type,
        state=RunState(run.state),
        reason=run.reason,
        queued_at=rfc3339(run.queued_at),
        available_at=rfc3339(run.available_at),
        started_at=rfc3339_or_none(run.started_at),
        finished_at=rfc3339_or_none(run.finished_at),
        attempt=run.attempt,
        losses=run.losses,
        awaited_until=rfc3339_or_none(run.awaited_until),
        revision=run.revision,
        input=orjson.loads(run.input) if run.input else None,
        missed=MissedView(
            count=run.missed_count,
            first=rfc3339_or_none(run.missed_first_at),
            last=rfc3339_or_none(run.missed_last_at),
        ),
        error=run.error,
        output=last.output if last else None,
        output_truncated=bool(last and last.output_truncated),
        attempts=[_attempt_view(attempt) for attempt in attempts] + _going_on(run),
    )


def _attempt_view(attempt: AttemptRow) -> AttemptView:
    return AttemptView(
        number=attempt.number,
        state=attempt.state,
        started_at=rfc3339(attempt.started_at),
        finished_at=rfc3339(attempt.finished_at),
        worker=attempt.worker,
        error=attempt.error,
        status_code=attempt.status_code,
    )


def _going_on(run: RunRow) -> list[AttemptView]:
    if run.state != RunState.RUNNING or run.attempt_started_at is None:
        return []
    return [
        AttemptView(
            number=run.attempt,
            state=run.state,
            started_at=rfc3339(run.attempt_started_at),
            finished_at=None,
            worker=run.worker,
            error=None,
            status_code=None,
        )
    ]


class Page(View, Generic[T]):
    """One page of a list; `next_cursor` is null on the last."""

    items: list[T]
    next_cursor: str | None


class BatchItemView(View):
    """What happened to one schedule."""

    id: str
    created: bool
    change: str
    warnings: list[str] = Field(description="Of what was created or updated: what a person may not expect.")


class BatchView(View):
    """What happened to each schedule of a batch."""

    items: list[BatchItemView]


class OccurrenceView(View):
    """A time to come, in UTC and as a clock on the wall shows it."""

    nominal_time: str
    scheduled_time: str = Field(description="When it fires in fact: later by its part of the jitter, if there is one.")
    local_time: str = Field(description="The nominal time in the zone.")
    timezone: str
    note: str | None = Field(description="What daylight saving does to it, if anything.")
