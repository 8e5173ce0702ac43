"""`/api/v1/namespaces`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from backend.api.answers import answer
from backend.api.once import REPLAYED, Repeatable
from backend.api.requests import Administers, AdministersAll, Cursor, Document, Limit, Reads, some
from backend.api.schemas import NAMESPACE_EXAMPLE, NAMESPACE_PATCH_EXAMPLE, body, responses
from backend.service.namespaces import NamespaceBody, NamespacePatch, NamespaceView
from backend.service.views import Page

router = APIRouter(prefix="/namespaces", tags=["namespaces"])
NEXT = ("get_namespace", "patch_namespace", "delete_namespace")

NamespaceId = Annotated[str, Path(description="The id of a namespace.")]


@router.post(
    "",
    status_code=201,
    responses=responses({201: NamespaceView}, 400, 409, 413, headers=("Location", REPLAYED), then=NEXT),
    openapi_extra=body(NamespaceBody, example=NAMESPACE_EXAMPLE),
)
async def create_namespace(caller: AdministersAll, given: Document, once: Repeatable) -> Response:
    """Create a namespace; 409 when it exists."""
    return await once(caller, lambda its: its.namespaces.create(some(given)), _made)


def _made(view: NamespaceView) -> Response:
    return answer(view, 201, {"Location": f"/api/v1/namespaces/{view.id}"})


@router.get("", responses=responses({200: Page[NamespaceView]}))
async def list_namespaces(caller: Reads, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """List namespaces by id; a key that belongs to one sees that alone."""
    items, next_cursor = await caller.namespaces.page(cursor=cursor, limit=limit)
    return answer({"items": [item.model_dump(mode="json") for item in items], "next_cursor": next_cursor})


@router.get("/{id}", responses=responses({200: NamespaceView}))
async def get_namespace(caller: Reads, id: NamespaceId) -> Response:
    """Show a namespace."""
    return answer(await caller.namespaces.get(id))


@router.patch(
    "/{id}",
    responses=responses({200: NamespaceView}, 400, 413),
    openapi_extra=body(
        NamespacePatch, media=("application/merge-patch+json", "application/json"), example=NAMESPACE_PATCH_EXAMPLE
    ),
)
async def patch_namespace(caller: Administers, id: NamespaceId, given: Document) -> Response:
    """Change time zone or limits; a key that belongs to the namespace may narrow limits, not widen them."""
    return answer(await caller.namespaces.patch(id, some(given)))


@router.delete(
    "/{id}",
    status_code=204,
    response_description="Gone; there is nothing to show.",
    responses=responses({}, 409),
)
async def delete_namespace(caller: AdministersAll, id: NamespaceId) -> Response:
    """Delete a namespace; 409 while anything is in it."""
    await caller.namespaces.delete(id)
    return Response(status_code=204)
