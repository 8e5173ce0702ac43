"""`/api/v1/egress`: which hosts the http targets of a namespace may call."""

from __future__ import annotations

from fastapi import APIRouter, Response

from backend.api.answers import answer
from backend.api.requests import Administers, Document, Reads, some
from backend.api.schemas import EGRESS_EXAMPLE, body, responses
from backend.service.egress import EgressBody, EgressView

router = APIRouter(prefix="/egress", tags=["egress"])


@router.get("", responses=responses({200: EgressView}))
async def get_egress(caller: Reads) -> Response:
    """Show which hosts may be called."""
    return answer(await caller.allowances.get())


@router.put(
    "", responses=responses({200: EgressView}, 400, 403, 413), openapi_extra=body(EgressBody, example=EGRESS_EXAMPLE)
)
async def put_egress(caller: Administers, given: Document) -> Response:
    """Replace the list, at once for every request; private networks only with a key that belongs to no namespace."""
    return answer(await caller.allowances.put(some(given)))
