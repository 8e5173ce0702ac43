"""What can be asked about who is told of what, and about who changed what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from backend.client import readers
from backend.client.flow import Call, Listing
from backend.client.meant import Draft, Moment, document, instant
from backend.client.operation import Speaking, operation, walk
from backend.client.wire import Json, Query, Request

if TYPE_CHECKING:
    from backend.service.audit_log import ChangeView
    from backend.service.notifications import RouteView
    from backend.service.views import Page, RunView


class ChangeFilters(TypedDict, total=False):
    """Which changes: `kind` and `id` of what was changed, `by` whom, from `from_` until before `to`."""

    kind: str | None
    id: str | None
    by: str | None
    verb: str | None
    from_: Moment | None
    to: Moment | None


class Notifications(Speaking):
    """Notification routes, which say who hears of what, and the log of all changes."""

    @operation
    def create_route(self, route: Draft) -> Call[RouteView]:
        """Create a notification route; Conflict when it exists."""
        return Call(_at("POST", body=document(route)), readers.reading(readers.route))

    @operation
    def put_route(self, id: str, route: Draft) -> Call[RouteView]:
        """Create or replace a notification route."""
        return Call(_at("PUT", id, body=document(route)), readers.reading(readers.route))

    @operation
    def get_route(self, id: str) -> Call[RouteView]:
        """Show a notification route."""
        return Call(_at("GET", id), readers.reading(readers.route))

    @operation
    def list_routes(self, *, limit: int = 50, cursor: str | None = None) -> Call[Page[RouteView]]:
        """Read one page of notification routes, by id."""
        return Call(_at("GET", query={"limit": limit, "cursor": cursor}), readers.page_of(readers.route))

    @walk
    def iterate_routes(self, *, limit: int | None = None) -> Listing[RouteView]:
        """Read all notification routes, by id."""
        return Listing(_at("GET"), readers.route, limit)

    @operation
    def delete_route(self, id: str) -> Call[None]:
        """Delete a notification route; what it has not sent yet is not sent."""
        return Call(_at("DELETE", id), readers.nothing)

    @operation
    def try_route(self, id: str) -> Call[RunView]:
        """Send a notification that tells nothing but that it came; it is a run."""
        return Call(_at("POST", id, "test", body={}), readers.reading(readers.run))

    @operation
    def list_notifications(self, id: str, *, limit: int = 50, cursor: str | None = None) -> Call[Page[RunView]]:
        """Read one page of what was sent through a route, newest first, with every attempt."""
        query = {"limit": limit, "cursor": cursor}
        return Call(_at("GET", id, "runs", query=query), readers.page_of(readers.run))

    @walk
    def iterate_notifications(self, id: str, *, limit: int | None = None) -> Listing[RunView]:
        """Read all that was sent through a route, newest first."""
        return Listing(_at("GET", id, "runs"), readers.run, limit)

    @operation
    def list_changes(
        self, *, limit: int = 50, cursor: str | None = None, **filters: Unpack[ChangeFilters]
    ) -> Call[Page[ChangeView]]:
        """Read one page of who changed what, newest first."""
        query = {**_changes(filters), "limit": limit, "cursor": cursor}
        return Call(Request(method="GET", path=("audit",), query=query), readers.page_of(readers.change))

    @walk
    def iterate_changes(self, *, limit: int | None = None, **filters: Unpack[ChangeFilters]) -> Listing[ChangeView]:
        """Read all that was changed and by whom, newest first."""
        return Listing(Request(method="GET", path=("audit",), query=_changes(filters)), readers.change, limit)


def _changes(filters: ChangeFilters) -> dict[str, Any]:
    given: dict[str, Any] = {**filters}
    return {name.rstrip("_"): instant(value) for name, value in given.items()}


def _at(method: str, *path: str, query: Query | None = None, body: Json | None = None) -> Request:
    return Request(method=method, path=("notifications", *path), query=query or {}, body=body)
