"""`/api/v1/calendars`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from backend.api.answers import answer
from backend.api.bodies import BODY_LIMIT, malformed, read_body, read_json
from backend.api.requests import Cursor, Limit, Reads, Writes
from backend.api.schemas import CALENDAR_EXAMPLE, body, responses
from backend.errors import FieldProblem, Refused
from backend.service.calendars import CalendarAnswer, CalendarBody, CalendarView, read_days, read_ical
from backend.service.views import Page

router = APIRouter(prefix="/calendars", tags=["calendars"])
ICAL = "text/calendar"
ICAL_EXAMPLE = """BEGIN:VCALENDAR
BEGIN:VEVENT
UID:christmas
DTSTART;VALUE=DATE:20261225
RRULE:FREQ=YEARLY
END:VEVENT
END:VCALENDAR
"""

CalendarId = Annotated[str, Path(description="The id of a calendar.")]


def _documented() -> dict[str, Any]:
    documented = body(CalendarBody, example=CALENDAR_EXAMPLE)
    documented["requestBody"]["content"][ICAL] = {"schema": {"type": "string"}, "example": ICAL_EXAMPLE}
    return documented


@router.put(
    "/{id}",
    responses=responses({200: CalendarAnswer, 201: CalendarAnswer}, 400, 409, 413),
    openapi_extra=_documented(),
)
async def put_calendar(caller: Writes, id: CalendarId, request: Request) -> Response:
    """Make or replace a calendar, as JSON or iCalendar; what uses it is planned anew, from now on."""
    raw = await read_body(request, BODY_LIMIT)
    if not raw.strip():
        raise Refused([FieldProblem("body", "it is empty", 'send {"days": [...]}, or an iCalendar as text/calendar')])
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == ICAL:
        days = await asyncio.to_thread(read_ical, _text(raw), caller.now)
    else:
        days = await asyncio.to_thread(read_days, await read_json(raw))
    view, created = await caller.calendars.put(id, days)
    return answer(view, 201 if created else 200)


@router.get("", responses=responses({200: Page[CalendarView]}))
async def list_calendars(caller: Reads, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """List calendars by id."""
    items, next_cursor = await caller.calendars.page(cursor=cursor, limit=limit)
    return answer({"items": [item.model_dump() for item in items], "next_cursor": next_cursor})


@router.get("/{id}", responses=responses({200: CalendarView}, 404))
async def get_calendar(caller: Reads, id: CalendarId) -> Response:
    """Show a calendar."""
    return answer(await caller.calendars.get(id))


@router.delete(
    "/{id}", status_code=204, response_description="Gone; there is nothing to show.", responses=responses({}, 404, 409)
)
async def delete_calendar(caller: Writes, id: CalendarId) -> Response:
    """Delete a calendar; 409 while schedules use it."""
    await caller.calendars.delete(id)
    return Response(status_code=204)


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise malformed(f"it is not text in UTF-8: {error}", "encode it as UTF-8") from None
