"""`/api/v1/schedules`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field

from backend.api.answers import answer
from backend.api.once import REPLAYED, Repeatable
from backend.api.queries import WHOLE_NUMBER
from backend.api.requests import (
    Cursor,
    Document,
    IfMatch,
    Limit,
    PutMatch,
    Reads,
    ScheduleId,
    Triggers,
    Writes,
    etag,
    fields,
    some,
)
from backend.api.routes.runs import RunWindow, accepted, instant, runs_page
from backend.api.schemas import (
    BACKFILL_EXAMPLE,
    BATCH_EXAMPLE,
    PATCH_EXAMPLE,
    SCHEDULE_EXAMPLE,
    BatchBody,
    MergePatch,
    PauseBody,
    ResumeBody,
    TriggerBody,
    body,
    responses,
)
from backend.engine.definition import ScheduleDefinition
from backend.errors import FieldProblem, Refused
from backend.model.schedule import ScheduleState
from backend.service.backfill import BackfillRequest, BackfillView
from backend.service.schedules import MOST_IN_A_BATCH, Batch, BatchItem
from backend.service.tags import TagFilter
from backend.service.validation import check_text, parse
from backend.service.views import BatchView, OccurrenceView, Page, RunView, ScheduleView
from backend.store.runs import RunFilter
from backend.store.schedules import ScheduleFilter
from backend.targets.registry import TargetKind

router = APIRouter(prefix="/schedules", tags=["schedules"])
NEXT = (
    *("get_schedule", "patch_schedule", "delete_schedule", "pause_schedule", "resume_schedule", "trigger_schedule"),
    *("list_upcoming", "list_schedule_runs"),
)


@router.post(
    "",
    status_code=201,
    responses=responses({201: ScheduleView}, 400, 409, 413, headers=("ETag", "Location", REPLAYED), then=NEXT),
    openapi_extra=body(ScheduleDefinition, example=SCHEDULE_EXAMPLE),
)
async def create_schedule(caller: Writes, given: Document, once: Repeatable) -> Response:
    """Create a schedule; 409 when the id exists."""
    caller = await caller.where(some(given))
    now = caller.now
    return await once(caller, lambda its: its.schedules.create(some(given), now), _created)


def _created(view: dict[str, Any]) -> Response:
    return answer(view, 201, etag(view) | {"Location": f"/api/v1/schedules/{view['id']}"})


@router.post(
    "/batch",
    responses=responses({200: BatchView}, 400, 409, 413, headers=(REPLAYED,)),
    openapi_extra=body(BatchBody, example=BATCH_EXAMPLE),
)
async def apply_batch(caller: Writes, given: Document, once: Repeatable) -> Response:
    """Create or replace many schedules by id, all or nothing."""
    read = fields(some(given), schedules=list, source=str | None, prune=bool, dry_run=bool)
    documents = read.get("schedules")
    if documents is None or len(documents) > MOST_IN_A_BATCH:
        raise Refused([FieldProblem("schedules", f"a batch has a list of up to {MOST_IN_A_BATCH}", "give that list")])
    source = read.get("source")
    if source is not None:
        _check_label(source, "source", 200)
    if read.get("prune") and not source:
        raise Refused([FieldProblem("prune", "it needs a source", "name the file that the schedules come from")])
    batch = Batch(documents, source, prune=read.get("prune", False), dry_run=read.get("dry_run", False))
    return await once(caller, lambda its: its.schedules.apply(batch), _applied)


def _applied(items: Sequence[BatchItem]) -> Response:
    return answer({"items": [{"created": item.change == "created", **item._asdict()} for item in items]})


@router.get("", responses=responses({200: Page[ScheduleView]}))
async def list_schedules(  # noqa: PLR0913, PLR0917 - one per filter
    caller: Reads,
    state: Annotated[ScheduleState | None, Query(description="Where the schedule stands.")] = None,
    tag: Annotated[TagFilter | None, Query(description="`name:value`")] = None,
    target: Annotated[TargetKind | None, Query(description="The kind of target.")] = None,
    owner: Annotated[str | None, Query(max_length=200, description="The whole owner.")] = None,
    name: Annotated[str | None, Query(max_length=200, description="The whole name.")] = None,
    due_before: Annotated[str | None, Query(max_length=50, description="Next time before this instant.")] = None,
    q: Annotated[str | None, Query(max_length=200, description="A part of the id or name.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List schedules in order of creation."""
    wanted = ScheduleFilter(
        state=state, owner=owner, name=name, target=target, due_before=instant(due_before, "due_before"), tag=tag, q=q
    )
    items, next_cursor = await caller.schedules.page(wanted, cursor=cursor, limit=limit)
    return answer({"items": items, "next_cursor": next_cursor})


@router.get("/{id}", responses=responses({200: ScheduleView}, 404, headers=("ETag",)))
async def get_schedule(caller: Reads, id: ScheduleId) -> Response:
    """Show a schedule."""
    view = await caller.schedules.get(id)
    return answer(view, headers=etag(view))


@router.put(
    "/{id}",
    responses=responses({200: ScheduleView, 201: ScheduleView}, 400, 409, 412, 413, headers=("ETag",)),
    openapi_extra=body(ScheduleDefinition, example=SCHEDULE_EXAMPLE),
)
async def put_schedule(caller: Writes, id: ScheduleId, given: Document, revision: PutMatch) -> Response:
    """Create or replace a schedule under a chosen id; an unchanged definition changes nothing."""
    caller = await caller.where(some(given))
    view, verb = await caller.schedules.put(id, some(given), revision)
    return answer(view, 201 if verb == "created" else 200, etag(view))


@router.patch(
    "/{id}",
    responses=responses({200: ScheduleView}, 400, 404, 409, 412, 413, headers=("ETag",)),
    openapi_extra=body(MergePatch, media=("application/merge-patch+json", "application/json"), example=PATCH_EXAMPLE),
)
async def patch_schedule(caller: Writes, id: ScheduleId, given: Document, revision: IfMatch) -> Response:
    """Change some fields by an RFC 7396 merge patch."""
    view = await caller.schedules.patch(id, some(given), revision)
    return answer(view, headers=etag(view))


@router.delete(
    "/{id}",
    status_code=204,
    response_description="Gone; there is nothing to show.",
    responses=responses({}, 404, 409, 412),
)
async def delete_schedule(caller: Writes, id: ScheduleId, revision: IfMatch) -> Response:
    """Delete a schedule; its runs stay in the ledger."""
    await caller.schedules.delete(id, revision)
    return Response(status_code=204)


@router.post(
    "/{id}/pause",
    responses=responses({200: ScheduleView}, 400, 404, 409, 412, 413, headers=("ETag", REPLAYED)),
    openapi_extra=body(PauseBody, required=False, example={"note": "the partner is down until Monday"}),
)
async def pause_schedule(
    caller: Writes, id: ScheduleId, given: Document, revision: IfMatch, once: Repeatable
) -> Response:
    """Stop firing, with a note that says why."""
    note = fields(given, note=str).get("note", "")
    _check_label(note, "note", 1000)
    return await once(caller, lambda its: its.schedules.pause(id, note, revision), _shown)


@router.post(
    "/{id}/resume",
    responses=responses({200: ScheduleView}, 400, 404, 409, 412, 413, headers=("ETag", REPLAYED)),
    openapi_extra=body(ResumeBody, required=False, example={"catch_up": True}),
)
async def resume_schedule(
    caller: Writes, id: ScheduleId, given: Document, revision: IfMatch, once: Repeatable
) -> Response:
    """Fire again; nothing is caught up unless asked."""
    catch_up = fields(given, catch_up=bool).get("catch_up", False)
    return await once(caller, lambda its: its.schedules.resume(id, revision, catch_up=catch_up), _shown)


def _shown(view: dict[str, Any]) -> Response:
    return answer(view, headers=etag(view))


@router.post(
    "/{id}/trigger",
    status_code=202,
    responses=responses(
        {202: RunView}, 400, 404, 413, headers=("Location", REPLAYED), then=("get_run", "cancel_run", "retry_run")
    ),
    openapi_extra=body(TriggerBody, required=False, example={"input": {"topic": "weather"}}),
)
async def trigger_schedule(caller: Triggers, id: ScheduleId, given: Document, once: Repeatable) -> Response:
    """Run a schedule now, beside its own times."""
    wanted = fields(given, input=dict).get("input", {})
    return await once(caller, lambda its: its.runs.trigger(id, wanted), accepted)


@router.post(
    "/{id}/backfill",
    status_code=202,
    responses=responses({200: BackfillView, 202: BackfillView}, 400, 404, 409, 413, headers=(REPLAYED,)),
    openapi_extra=body(BackfillRequest, example=BACKFILL_EXAMPLE),
)
async def backfill_schedule(caller: Triggers, id: ScheduleId, given: Document, once: Repeatable) -> Response:
    """Run the past occurrences of a range, after whatever is due now; a dry run answers 200 and records nothing."""
    request = parse(BackfillRequest, some(given))
    now, status = caller.now, 200 if request.dry_run else 202
    return await once(caller, lambda its: its.backfills.start(id, request, now), lambda view: answer(view, status))


class Upcoming(Page[OccurrenceView]):
    """The next times of a schedule."""


@router.get("/{id}/upcoming", responses=responses({200: Upcoming}, 404))
async def list_upcoming(
    caller: Reads,
    id: ScheduleId,
    count: Annotated[int, Field(ge=1, le=1000), WHOLE_NUMBER, Query(description="How many times.")] = 10,
) -> Response:
    """List the next times of a schedule, in UTC and local."""
    schedules, now = caller.schedules, caller.now
    times = await schedules.upcoming(id, now, count)
    items = await asyncio.to_thread(lambda: [time.model_dump(mode="json") for time in times])
    return answer({"items": items, "next_cursor": None})


@router.get("/{id}/runs", responses=responses({200: Page[RunView]}, 404))
async def list_schedule_runs(
    caller: Reads,
    id: ScheduleId,
    window: RunWindow,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List the runs of a schedule, newest first."""
    wanted = RunFilter(id, window.state, window.from_at, window.to_at)
    return await runs_page(caller, wanted, cursor, limit)


def _check_label(text: str, field: str, longest: int) -> None:
    check_text(text, field)
    if len(text) > longest:
        raise Refused([FieldProblem(field, f"it is longer than {longest} characters", "shorten it")])
