"""What callees tell of their runs, below `/api/v1/runs`."""

from __future__ import annotations

from fastapi import APIRouter, Response

from backend.api.answers import answer
from backend.api.callees import Calls
from backend.api.requests import Document, RunId, some
from backend.api.schemas import COMPLETE_EXAMPLE, body, responses
from backend.service.callbacks import CompleteBody, HeartbeatView
from backend.service.views import RunView

router = APIRouter(prefix="/runs", tags=["runs"])


@router.post("/{id}/heartbeat", responses=responses({200: HeartbeatView}, 404, 409))
async def heartbeat_run(callee: Calls, id: RunId) -> Response:
    """Tell that whoever was called is still at work; 409 when nobody waits for it any more."""
    return answer(await callee.heartbeat(id))


@router.post(
    "/{id}/complete",
    responses=responses({200: RunView}, 400, 404, 409, 413),
    openapi_extra=body(CompleteBody, example=COMPLETE_EXAMPLE),
)
async def complete_run(callee: Calls, id: RunId, document: Document) -> Response:
    """Tell what became of a run whose schedule has `completion: callback`."""
    return answer(await callee.complete(id, some(document)))
