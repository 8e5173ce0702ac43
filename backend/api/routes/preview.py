"""`/api/v1/preview`."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response

from backend.api.answers import answer
from backend.api.requests import Authenticated, Document, some
from backend.api.schemas import PREVIEW_EXAMPLE, body, responses
from backend.service.times import Preview, PreviewRequest, preview
from backend.service.timings import calendars_of
from backend.service.validation import parse

router = APIRouter(tags=["preview"])


@router.post(
    "/preview",
    responses=responses({200: Preview}, 400, 413),
    openapi_extra=body(PreviewRequest, example=PREVIEW_EXAMPLE),
)
async def preview_draft(caller: Authenticated, given: Document) -> Response:
    """Say when a draft would fire, in words, and what may surprise; nothing is stored."""
    request, now = parse(PreviewRequest, some(given)), await caller.now()
    calendars = await caller.store.calendars().days(calendars_of(request.exclusions))
    return answer(await asyncio.to_thread(preview, request, now, calendars))
