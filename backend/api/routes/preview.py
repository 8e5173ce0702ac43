"""`/api/v1/preview`."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response

from backend.api.answers import answer
from backend.api.requests import Document, Reads, some
from backend.api.schemas import PREVIEW_EXAMPLE, body, responses
from backend.service.default_zone import zoned
from backend.service.times import Preview, PreviewRequest, crowded, full_hour, preview
from backend.service.timings import calendars_of
from backend.service.validation import parse

router = APIRouter(tags=["preview"])


@router.post(
    "/preview",
    responses=responses({200: Preview}, 400, 413),
    openapi_extra=body(PreviewRequest, example=PREVIEW_EXAMPLE),
)
async def preview_draft(caller: Reads, given: Document) -> Response:
    """Say when a draft would fire, in words, and what may surprise; nothing is stored."""
    # Twenty rules and a hundred exclusions take some 100 ms to compile, in which the event loop has schedules to fire.
    draft = (await zoned(caller.store, [some(given)]))[0]
    request, now = await asyncio.to_thread(parse, PreviewRequest, draft), caller.now
    calendars = await caller.store.calendars().days(calendars_of(request.exclusions))
    shown = await asyncio.to_thread(preview, request, now, calendars, namespace=caller.store.namespace)
    instant = await asyncio.to_thread(full_hour, request, now)
    others = 0 if instant is None else await caller.store.beside(instant, request.id or "")
    return answer(crowded(shown, others))
