"""`/api/v1/schedules/pause` and `/resume`: many schedules at once."""

from __future__ import annotations

from fastapi import APIRouter, Response

from backend.api.answers import answer
from backend.api.once import REPLAYED, Repeatable
from backend.api.requests import Document, Writes, some
from backend.api.schemas import PAUSE_MANY_EXAMPLE, RESUME_MANY_EXAMPLE, body, responses
from backend.service.maintenance import ManyView, PauseManyBody, ResumeManyBody
from backend.service.validation import parse

router = APIRouter(prefix="/schedules", tags=["schedules"])


@router.post(
    "/pause",
    responses=responses({200: ManyView}, 400, 413, headers=(REPLAYED,)),
    openapi_extra=body(PauseManyBody, example=PAUSE_MANY_EXAMPLE),
)
async def pause_schedules(caller: Writes, given: Document, once: Repeatable) -> Response:
    """Pause whatever fits a filter, for a maintenance window; what is paused already stays as it is."""
    wanted = parse(PauseManyBody, some(given))
    return await once(caller, lambda its: its.maintenance.pause(wanted), answer, many=True)


@router.post(
    "/resume",
    responses=responses({200: ManyView}, 400, 413, headers=(REPLAYED,)),
    openapi_extra=body(ResumeManyBody, example=RESUME_MANY_EXAMPLE),
)
async def resume_schedules(caller: Writes, given: Document, once: Repeatable) -> Response:
    """Resume whatever fits a filter and was paused by a person, or with a certain note."""
    wanted = parse(ResumeManyBody, some(given))
    return await once(caller, lambda its: its.maintenance.resume(wanted), answer, many=True)
