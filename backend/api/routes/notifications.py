"""`/api/v1/notifications`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from backend.api.answers import answer
from backend.api.once import REPLAYED, Repeatable
from backend.api.requests import Administers, Cursor, Document, Limit, some
from backend.api.schemas import ROUTE_EXAMPLE, body, responses
from backend.service.notifications import RouteBody, RouteView
from backend.service.views import Page, RunView

router = APIRouter(prefix="/notifications", tags=["notifications"])

RouteId = Annotated[str, Path(description="The id of a notification route.")]


@router.post(
    "",
    status_code=201,
    responses=responses({201: RouteView}, 400, 409, 413, headers=("Location", REPLAYED)),
    openapi_extra=body(RouteBody, example=ROUTE_EXAMPLE),
)
async def create_route(caller: Administers, given: Document, once: Repeatable) -> Response:
    """Create a notification route; 409 when it exists."""
    return await once(caller, lambda its: its.notifications.create(some(given)), _created)


def _created(view: dict[str, Any]) -> Response:
    return answer(view, 201, {"Location": f"/api/v1/notifications/{view['id']}"})


@router.get("", responses=responses({200: Page[RouteView]}))
async def list_routes(caller: Administers, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """List notification routes by id."""
    items, next_cursor = await caller.notifications.page(cursor=cursor, limit=limit)
    return answer({"items": items, "next_cursor": next_cursor})


@router.get("/{id}", responses=responses({200: RouteView}))
async def get_route(caller: Administers, id: RouteId) -> Response:
    """Show a notification route."""
    return answer(await caller.notifications.get(id))


@router.put(
    "/{id}",
    responses=responses({200: RouteView, 201: RouteView}, 400, 409, 413),
    openapi_extra=body(RouteBody, example={k: v for k, v in ROUTE_EXAMPLE.items() if k != "id"}),
)
async def put_route(caller: Administers, id: RouteId, given: Document) -> Response:
    """Create or replace a notification route."""
    view, created = await caller.notifications.put(id, some(given))
    return answer(view, 201 if created else 200)


@router.delete(
    "/{id}",
    status_code=204,
    response_description="Nobody is told through it any more.",
    responses=responses({}),
)
async def delete_route(caller: Administers, id: RouteId) -> Response:
    """Delete a notification route; what it has not sent yet is not sent."""
    await caller.notifications.delete(id)
    return Response(status_code=204)


@router.post("/{id}/test", status_code=202, responses=responses({202: RunView}, headers=(REPLAYED,)))
async def try_route(caller: Administers, id: RouteId, once: Repeatable) -> Response:
    """Send a notification that tells nothing but that it came."""
    return await once(caller, lambda its: its.notifications.test(id), lambda run: answer(run, 202))


@router.get("/{id}/runs", responses=responses({200: Page[RunView]}))
async def list_notifications(caller: Administers, id: RouteId, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """List what was sent through a route, newest first, with every attempt."""
    items, next_cursor = await caller.notifications.runs(id, cursor=cursor, limit=limit)
    return answer({"items": [item.model_dump(mode="json") for item in items], "next_cursor": next_cursor})
