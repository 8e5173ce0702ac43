"""What can be asked about namespaces and keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from backend.client import readers
from backend.client.flow import Call, Listing
from backend.client.meant import Moment, instant, written
from backend.client.operation import Speaking, operation, walk
from backend.client.wire import Json, Query, Request

if TYPE_CHECKING:
    from backend.service.api_keys import KeyView, NewKeyView
    from backend.service.namespaces import NamespaceView
    from backend.service.views import Page

SAME = "same"
"""The namespace that the request is in."""


class Tenants(Speaking):
    """Namespaces, and who may come in to which, to do what, and until when."""

    @operation
    def create_namespace(
        self, id: str, *, timezone: str | None = None, limits: Mapping[str, Any] | None = None
    ) -> Call[NamespaceView]:
        """Create a namespace; Conflict when it exists."""
        body = {"id": id, **_wanted(timezone, limits)}
        return Call(_at("POST", "namespaces", body=body), readers.reading(readers.namespace))

    @operation
    def get_namespace(self, id: str) -> Call[NamespaceView]:
        """Show a namespace."""
        return Call(_at("GET", "namespaces", id), readers.reading(readers.namespace))

    @operation
    def list_namespaces(self, *, limit: int = 50, cursor: str | None = None) -> Call[Page[NamespaceView]]:
        """Read one page of namespaces, by id."""
        query = {"limit": limit, "cursor": cursor}
        return Call(_at("GET", "namespaces", query=query), readers.page_of(readers.namespace))

    @walk
    def iterate_namespaces(self, *, limit: int | None = None) -> Listing[NamespaceView]:
        """Read all namespaces, by id."""
        return Listing(_at("GET", "namespaces"), readers.namespace, limit)

    @operation
    def patch_namespace(
        self, id: str, *, timezone: str | None = None, limits: Mapping[str, Any] | None = None
    ) -> Call[NamespaceView]:
        """Change time zone or limits; what is left out stays, a limit that is None is lifted."""
        body = _wanted(timezone, limits)
        return Call(_at("PATCH", "namespaces", id, body=body), readers.reading(readers.namespace))

    @operation
    def delete_namespace(self, id: str) -> Call[None]:
        """Delete a namespace; Conflict while anything is in it."""
        return Call(_at("DELETE", "namespaces", id), readers.nothing)

    @operation
    def create_key(
        self,
        scopes: Iterable[str],
        *,
        name: str = "",
        namespace: str | None = SAME,
        expires_at: Moment | None = None,
    ) -> Call[NewKeyView]:
        """Make a key for a namespace, that of the client unless another is named; None: for all.

        Its text is in this answer alone.
        """
        body: Json = {"scopes": list(scopes), "name": name, "expires_at": instant(expires_at)}
        body |= {} if namespace == SAME else {"namespace": namespace}
        return Call(_at("POST", "keys", body=body), readers.reading(readers.new_key))

    @operation
    def get_own_key(self) -> Call[KeyView]:
        """Show the key that asks: what it may do, where, and until when."""
        return Call(_at("GET", "keys", "self"), readers.reading(readers.key))

    @operation
    def get_key(self, id: str) -> Call[KeyView]:
        """Show a key; its id is what stands between its underscores."""
        return Call(_at("GET", "keys", id), readers.reading(readers.key))

    @operation
    def list_keys(self, *, limit: int = 50, cursor: str | None = None) -> Call[Page[KeyView]]:
        """Read one page of keys, by id."""
        return Call(_at("GET", "keys", query={"limit": limit, "cursor": cursor}), readers.page_of(readers.key))

    @walk
    def iterate_keys(self, *, limit: int | None = None) -> Listing[KeyView]:
        """Read all keys, by id."""
        return Listing(_at("GET", "keys"), readers.key, limit)

    @operation
    def rotate_key(self, id: str, *, overlap: timedelta | str | float | None = None) -> Call[NewKeyView]:
        """Make a key that may do the same; the old one expires after the overlap, an hour unless given."""
        body = {} if overlap is None else written({"overlap": overlap})
        return Call(_at("POST", "keys", id, "rotate", body=body), readers.reading(readers.new_key))

    @operation
    def revoke_key(self, id: str) -> Call[None]:
        """Revoke a key, at once and for good."""
        return Call(_at("DELETE", "keys", id), readers.nothing)


def _wanted(timezone: str | None, limits: Mapping[str, Any] | None) -> Json:
    wanted: Json = {} if timezone is None else {"timezone": timezone}
    return wanted | ({} if limits is None else {"limits": written(limits)})


def _at(method: str, *path: str, query: Query | None = None, body: Json | None = None) -> Request:
    return Request(method=method, path=path, query=query or {}, body=body)
