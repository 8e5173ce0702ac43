"""What can be asked about secrets, and about whom targets may call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from backend.client import readers
from backend.client.flow import Call, Listing
from backend.client.operation import Speaking, operation, walk
from backend.client.wire import Query, Request

if TYPE_CHECKING:
    from backend.service.egress import EgressView
    from backend.service.secrets import SecretView
    from backend.service.views import Page


class Guards(Speaking):
    """Secrets, whose values go in and never come out, and the hosts that http targets may call."""

    @operation
    def put_secret(self, name: str, value: str) -> Call[SecretView]:
        """Make or replace a secret; attempts that begin from now on get its new value."""
        request = Request(method="PUT", path=("secrets", name), body={"value": value})
        return Call(request, readers.reading(readers.secret))

    @operation
    def list_secrets(self, *, limit: int = 50, cursor: str | None = None) -> Call[Page[SecretView]]:
        """Read one page of secrets, by name, without their values."""
        return Call(_secrets(query={"limit": limit, "cursor": cursor}), readers.page_of(readers.secret))

    @walk
    def iterate_secrets(self, *, limit: int | None = None) -> Listing[SecretView]:
        """Read all secrets, by name, without their values."""
        return Listing(_secrets(), readers.secret, limit)

    @operation
    def delete_secret(self, name: str) -> Call[None]:
        """Delete a secret; Conflict while schedules use it."""
        return Call(Request(method="DELETE", path=("secrets", name)), readers.nothing)

    @operation
    def get_egress(self) -> Call[EgressView]:
        """Show which hosts the http targets of the namespace may call."""
        return Call(Request(method="GET", path=("egress",)), readers.reading(readers.egress))

    @operation
    def put_egress(self, allowed_hosts: Iterable[str] | None) -> Call[EgressView]:
        """Replace the list of hosts; None: every public one."""
        body = {"allowed_hosts": None if allowed_hosts is None else list(allowed_hosts)}
        return Call(Request(method="PUT", path=("egress",), body=body), readers.reading(readers.egress))


def _secrets(query: Query | None = None) -> Request:
    return Request(method="GET", path=("secrets",), query=query or {})
