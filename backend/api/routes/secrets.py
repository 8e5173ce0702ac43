"""`/api/v1/secrets`: values go in and never come out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from backend.api.answers import answer
from backend.api.requests import Administers, Cursor, Document, Limit, fields
from backend.api.schemas import SECRET_EXAMPLE, body, responses
from backend.service.secrets import SecretBody, SecretView
from backend.service.views import Page

router = APIRouter(prefix="/secrets", tags=["secrets"])

SecretName = Annotated[str, Path(description="The name of a secret.")]


@router.put(
    "/{name}",
    responses=responses({200: SecretView, 201: SecretView}, 400, 409, 413),
    openapi_extra=body(SecretBody, example=SECRET_EXAMPLE),
)
async def put_secret(caller: Administers, name: SecretName, given: Document) -> Response:
    """Make or replace a secret; attempts that begin from now on get its new value. 409 on a server without keys."""
    view, created = await caller.secrets.put(name, fields(given, value=str).get("value"))
    return answer(view, 201 if created else 200)


@router.get("", responses=responses({200: Page[SecretView]}))
async def list_secrets(caller: Administers, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """List secrets by name, without their values."""
    items, next_cursor = await caller.secrets.page(cursor=cursor, limit=limit)
    return answer({"items": [item.model_dump() for item in items], "next_cursor": next_cursor})


@router.delete(
    "/{name}",
    status_code=204,
    response_description="Gone; there is nothing to show.",
    responses=responses({}, 404, 409),
)
async def delete_secret(caller: Administers, name: SecretName) -> Response:
    """Delete a secret; 409 while schedules use it."""
    await caller.secrets.delete(name)
    return Response(status_code=204)
