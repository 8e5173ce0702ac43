"""`/api/v1/runs`."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from fastapi import APIRouter, Depends, Query, Response

from backend.api.answers import answer
from backend.api.once import REPLAYED, Repeatable
from backend.api.requests import Caller, Cursor, Limit, Reads, RunId, Triggers
from backend.api.schemas import responses
from backend.errors import FieldError, FieldProblem, Refused
from backend.model.instants import parse_instant
from backend.model.run import RunState
from backend.service.views import Page, RunView
from backend.store.runs import RunFilter

router = APIRouter(prefix="/runs", tags=["runs"])


class Window(NamedTuple):
    """Which runs of a time to list."""

    state: RunState | None
    from_at: int | None
    to_at: int | None


async def window(
    state: Annotated[RunState | None, Query(description="Where the run stands.")] = None,
    from_: Annotated[str | None, Query(alias="from", max_length=50, description="Earliest nominal time.")] = None,
    to: Annotated[str | None, Query(max_length=50, description="Nominal time to end before.")] = None,
) -> Window:
    """Read the filters of a list of runs."""
    return Window(state, *span(from_, to))


RunWindow = Annotated[Window, Depends(window)]


def span(from_: str | None, to: str | None) -> tuple[int | None, int | None]:
    """Read two query parameters as a range; one the wrong way round would be answered by nothing at all."""
    first, end = instant(from_, "from"), instant(to, "to")
    if first is not None and end is not None and end <= first:
        raise Refused([FieldProblem("to", "it is not after from", "give a later end")])
    return first, end


def instant(text: str | None, field: str) -> int | None:
    """Read an instant from a query parameter."""
    if text is None:
        return None
    try:
        return parse_instant(text)
    except FieldError as error:
        raise Refused([FieldProblem(field, error.rule, error.fix)]) from None


async def runs_page(caller: Caller, wanted: RunFilter, cursor: str | None, limit: int) -> Response:
    """Answer one page of runs."""
    items, next_cursor = await caller.runs.page(wanted, cursor=cursor, limit=limit)
    return answer({"items": [item.model_dump(mode="json") for item in items], "next_cursor": next_cursor})


@router.get("", responses=responses({200: Page[RunView]}, 404))
async def list_runs(
    caller: Reads,
    window: RunWindow,
    schedule: Annotated[str | None, Query(max_length=200, description="The id of a schedule.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List runs, newest nominal time first."""
    wanted = RunFilter(schedule, window.state, window.from_at, window.to_at)
    return await runs_page(caller, wanted, cursor, limit)


@router.get("/{id}", responses=responses({200: RunView}, 404))
async def get_run(caller: Reads, id: RunId) -> Response:
    """Show a run with its attempts and output."""
    return answer(await caller.runs.get(id))


@router.post("/{id}/cancel", responses=responses({200: RunView}, 404, 409, headers=(REPLAYED,)))
async def cancel_run(caller: Triggers, id: RunId, once: Repeatable) -> Response:
    """End an open run; if a worker is at it, it is stopped."""
    return await once(caller, lambda its: its.runs.cancel(id), answer)


@router.post(
    "/{id}/retry", status_code=202, responses=responses({202: RunView}, 404, 409, headers=("Location", REPLAYED))
)
async def retry_run(caller: Triggers, id: RunId, once: Repeatable) -> Response:
    """Run again what has ended: a new run with the same nominal time."""
    return await once(caller, lambda its: its.runs.retry(id), accepted)


def accepted(run: RunView) -> Response:
    """Answer with a run that is going to start."""
    return answer(run, 202, {"Location": f"/api/v1/runs/{run.id}"})
