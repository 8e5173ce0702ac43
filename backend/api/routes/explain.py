"""`/api/v1/schedules/{id}/explain`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from backend.api.answers import answer
from backend.api.requests import Reads, ScheduleId
from backend.api.schemas import responses
from backend.service.explain import Explanations
from backend.service.explain_views import ExplanationView

router = APIRouter(prefix="/schedules", tags=["schedules"])


@router.get("/{id}/explain", responses=responses({200: ExplanationView}, 404))
async def explain_instant(
    caller: Reads,
    id: ScheduleId,
    at: Annotated[
        str, Query(max_length=50, description="RFC 3339, or without an offset local time in the schedule's zone.")
    ],
) -> Response:
    """Say why a schedule did, did not, will or will not fire at an instant; also of one that is deleted."""
    return answer(await Explanations(caller.store).explain(id, at))
