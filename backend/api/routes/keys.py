"""`/api/v1/keys`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from backend.api.answers import answer
from backend.api.once import REPLAYED, Repeatable
from backend.api.requests import ABSENT, Administers, Cursor, Document, Known, Limit, some
from backend.api.schemas import KEY_EXAMPLE, body, responses
from backend.service.api_keys import KeyBody, KeyView, NewKeyView, RotateBody
from backend.service.views import Page

router = APIRouter(prefix="/keys", tags=["keys"])
NEXT = ("get_key", "rotate_key", "revoke_key")

KeyId = Annotated[str, Path(description="The id of a key: what stands between its underscores.")]


@router.post(
    "",
    status_code=201,
    responses=responses({201: NewKeyView}, 400, 409, 413, headers=("Location", REPLAYED), then=NEXT),
    openapi_extra=body(KeyBody, example=KEY_EXAMPLE),
)
async def create_key(caller: Administers, given: Document, once: Repeatable) -> Response:
    """Make a key; its text is in this answer alone."""
    now = caller.now
    return await once(caller, lambda its: its.keys.create(some(given), now), _made, secret=True)


def _made(view: NewKeyView) -> Response:
    return answer(view, 201, {"Location": f"/api/v1/keys/{view.id}"})


@router.get("", responses=responses({200: Page[KeyView]}))
async def list_keys(caller: Administers, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """List keys by id, also those that have not been in force for up to 90 days."""
    items, next_cursor = await caller.keys.page(cursor=cursor, limit=limit)
    return answer({"items": [item.model_dump(mode="json") for item in items], "next_cursor": next_cursor})


@router.get("/self", responses=responses({200: KeyView}))
async def get_own_key(caller: Known) -> Response:
    """Show the key that asks: what it may do, where, and until when."""
    return answer(await caller.own_key())


@router.get("/{id}", responses=responses({200: KeyView}))
async def get_key(caller: Administers, id: KeyId) -> Response:
    """Show a key."""
    return answer(await caller.keys.get(id, caller.now))


@router.delete(
    "/{id}",
    status_code=204,
    response_description="It lets nobody in any more.",
    responses=responses({}),
)
async def revoke_key(caller: Administers, id: KeyId) -> Response:
    """Revoke a key, at once and for good."""
    await caller.keys.revoke(id)
    return Response(status_code=204)


@router.post(
    "/{id}/rotate",
    status_code=201,
    responses=responses({201: NewKeyView}, 400, 409, 413, headers=("Location", REPLAYED), then=NEXT),
    openapi_extra=body(RotateBody, required=False, example={"overlap": "1h"}),
)
async def rotate_key(caller: Administers, id: KeyId, given: Document, once: Repeatable) -> Response:
    """Make a key that may do the same, and let the old one expire after the overlap."""
    wanted, now = {} if given is ABSENT else some(given), caller.now
    return await once(caller, lambda its: its.keys.rotate(id, wanted, now), _made, secret=True)
