"""`/api/v1/audit/occurrences`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from backend.api.answers import answer
from backend.api.requests import Cursor, Reads
from backend.api.routes.runs import instant
from backend.api.schemas import responses
from backend.service.audit import Audits, AuditView

router = APIRouter(prefix="/audit", tags=["audit"])


@router.get("/occurrences", responses=responses({200: AuditView}, 404))
async def audit_occurrences(
    caller: Reads,
    schedule: Annotated[str | None, Query(max_length=200, description="The id of a schedule; else all.")] = None,
    from_: Annotated[str | None, Query(alias="from", max_length=50, description="Earliest nominal time.")] = None,
    to: Annotated[str | None, Query(max_length=50, description="Nominal time to end before; now at most.")] = None,
    cursor: Cursor = None,
) -> Response:
    """Compute again what should have fired, and compare it with what is recorded."""
    found = await Audits(caller.store).audit(schedule, instant(from_, "from"), instant(to, "to"), cursor)
    return answer(found.model_dump(mode="json", by_alias=True))
