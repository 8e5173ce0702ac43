"""What can be asked about the server itself, and whatever else it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backend.client import readers
from backend.client.flow import Call, Listing
from backend.client.operation import Speaking, operation, walk
from backend.client.wire import Json, Query, Request

if TYPE_CHECKING:
    from backend.service.stats import StatsView
    from backend.service.views import Page
    from backend.service.workers import WorkerView


class System(Speaking):
    """Workers, health, metrics, and requests without a method of their own."""

    @operation
    def list_workers(self, *, limit: int = 50, cursor: str | None = None) -> Call[Page[WorkerView]]:
        """Read one page of the workers on the database, by name, with how many runs each holds."""
        request = Request(method="GET", path=("workers",), query={"limit": limit, "cursor": cursor})
        return Call(request, readers.page_of(readers.worker))

    @walk
    def iterate_workers(self, *, limit: int | None = None) -> Listing[WorkerView]:
        """Read all workers, by name."""
        return Listing(Request(method="GET", path=("workers",)), readers.worker, limit)

    @operation
    def get_stats(self) -> Call[StatsView]:
        """Show counts, lateness, backlog, failures, and quotas with their use."""
        return Call(Request(method="GET", path=("stats",)), readers.reading(readers.stats))

    @operation
    def livez(self) -> Call[Json]:
        """Say whether the engine's heartbeat goes on."""
        return Call(_outside("livez"), readers.reading(readers.raw))

    @operation
    def readyz(self) -> Call[Json]:
        """Say whether the engine turns and requests are welcome; Unavailable when not."""
        return Call(_outside("readyz"), readers.reading(readers.raw))

    @operation
    def health_check(self) -> Call[str]:
        """Say `"OK"`, with the quotes, when ready."""
        return Call(_outside("health_check"), readers.text)

    @operation
    def metrics(self) -> Call[str]:
        """Give metrics in Prometheus' text format."""
        return Call(_outside("metrics"), readers.text)

    @operation
    def call(self, method: str, *path: str, query: Query | None = None, body: Json | None = None) -> Call[Json]:
        """Ask for what has no method here, by the parts of its path below /api/v1; answers the document.

        Retries and errors are those of the other methods.
        """
        request = Request(method=method, path=path, query=query or {}, body=_sent(method, body))
        return Call(request, readers.reading(readers.raw))

    @walk
    def iterate(self, *path: str, query: Query | None = None, limit: int | None = None) -> Listing[Any]:
        """Read the documents of any list, page after page."""
        return Listing(Request(method="GET", path=path, query=query or {}), readers.raw, limit)


def _sent(method: str, body: Json | None) -> Json | None:
    return {} if body is None and method == "POST" else body


def _outside(name: str) -> Request:
    """Ask outside the prefix, once: how it is now is the question."""
    return Request(method="GET", path=(name,), prefix="", repeated=False)
