"""`/api/v1/audit`: who changed what; and below it, whether the ledger is complete."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from backend.api.answers import answer
from backend.api.requests import Administers, Cursor, Limit, Reads
from backend.api.routes.runs import instant, span
from backend.api.schemas import responses
from backend.errors import FieldProblem, Refused
from backend.service.audit import Audits, AuditView
from backend.service.audit_log import ChangeView, check_filter
from backend.service.validation import check_text
from backend.service.views import Page
from backend.store.audit_log import AuditFilter

router = APIRouter(prefix="/audit", tags=["audit"])
NDJSON = "application/x-ndjson"


async def audit_filter(
    *,
    kind: Annotated[str | None, Query(max_length=200, description="Such as `schedule`, `run`, `key`.")] = None,
    id: Annotated[str | None, Query(max_length=200, description="Id of what was changed.")] = None,
    by: Annotated[str | None, Query(max_length=200, description="Such as `key:admin`, `scheduler`.")] = None,
    verb: Annotated[str | None, Query(max_length=200, description="Such as `created`, `paused`.")] = None,
    from_: Annotated[str | None, Query(alias="from", max_length=50, description="Earliest instant.")] = None,
    to: Annotated[str | None, Query(max_length=50, description="Instant to end before.")] = None,
) -> AuditFilter:
    """Read which lines are asked for."""
    for name, text in {"kind": kind, "id": id, "by": by, "verb": verb}.items():
        check_text(text, name)
    wanted = AuditFilter(kind, id, by, verb, *span(from_, to))
    check_filter(wanted)
    return wanted


async def as_lines(
    request: Request,
    format: Annotated[Literal["json", "ndjson"], Query(description="`ndjson`: all of it, line by line.")] = "json",
    accept: Annotated[str, Header(max_length=500, description="`application/x-ndjson`: the same.")] = "",
) -> bool:
    """Tell whether all of it is asked for, as lines of JSON; then there are no pages."""
    lines = format == "ndjson" or (NDJSON in accept and "format" not in request.query_params)
    pages = [name for name in ("limit", "cursor") if lines and name in request.query_params]
    if pages:
        rule, fix = "an answer of lines has no pages", "leave it out, or say format=json"
        raise Refused([FieldProblem(name, rule, fix) for name in pages])
    return lines


DOCUMENTED = responses({200: Page[ChangeView]})
DOCUMENTED[200]["content"] = {NDJSON: {"schema": {"type": "string"}}}


@router.get("", responses=DOCUMENTED)
async def list_changes(
    caller: Administers,
    wanted: Annotated[AuditFilter, Depends(audit_filter)],
    lines: Annotated[bool, Depends(as_lines)],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List who changed what, newest first; with `Accept: application/x-ndjson` all of it as lines of JSON."""
    if lines:
        return StreamingResponse(caller.audit_log.lines(wanted), media_type=NDJSON)
    items, next_cursor = await caller.audit_log.page(wanted, cursor=cursor, limit=limit)
    return answer({"items": [item.model_dump(mode="json") for item in items], "next_cursor": next_cursor})


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
