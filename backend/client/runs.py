"""What can be asked about runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict, Unpack, cast

from backend.client import readers
from backend.client.flow import Call, Flow, Listing, Wait
from backend.client.meant import Moment, instant
from backend.client.operation import Speaking, composed, operation, walk
from backend.client.wire import Json, Query, Request, checked_key

if TYPE_CHECKING:
    from pydantic import JsonValue

    from backend.service.callbacks import HeartbeatView
    from backend.service.views import Page, RunView

SHORTEST, LONGEST, GROWTH = 0.1, 5.0, 1.5
"""Seconds between two looks at a run, at first and at last."""
NOT_ENDED = frozenset({"buffered", "held", "queued", "running", "retrying"})


class RunFilters(TypedDict, total=False):
    """Which runs: their nominal time is at or after `from_`, and before `to`."""

    state: str | None
    from_: Moment | None
    to: Moment | None


class Runs(Speaking):
    """Runs: what became of each occurrence, with its attempts and output."""

    @operation
    def get_run(self, id: str) -> Call[RunView]:
        """Show a run with its attempts and output."""
        return Call(_at("GET", id), readers.reading(readers.run))

    @operation
    def list_runs(
        self,
        *,
        schedule: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
        **filters: Unpack[RunFilters],
    ) -> Call[Page[RunView]]:
        """Read one page of runs, newest nominal time first."""
        query = {**run_query(filters), "schedule": schedule, "limit": limit, "cursor": cursor}
        return Call(_at("GET", query=query), readers.page_of(readers.run))

    @walk
    def iterate_runs(
        self, *, schedule: str | None = None, limit: int | None = None, **filters: Unpack[RunFilters]
    ) -> Listing[RunView]:
        """Read all runs that fit, newest nominal time first; their output is cut at 4,096 characters."""
        return Listing(_at("GET", query={**run_query(filters), "schedule": schedule}), readers.run, limit)

    @operation
    def cancel_run(self, id: str) -> Call[RunView]:
        """End an open run; if a worker is at it, it is stopped."""
        return Call(_at("POST", id, "cancel"), readers.reading(readers.run))

    @operation
    def retry_run(self, id: str) -> Call[RunView]:
        """Run again what has ended: a new run with the same nominal time."""
        return Call(_at("POST", id, "retry"), readers.reading(readers.run))

    @operation
    def heartbeat_run(self, id: str, *, token: str | None = None) -> Call[HeartbeatView]:
        """Tell that whoever was called is still at work; `token` is the run's, and no key is needed with it."""
        return Call(_at("POST", id, "heartbeat", headers=_callee(token)), readers.reading(readers.heartbeat))

    @operation
    def complete_run(
        self, id: str, state: str, *, output: JsonValue = None, error: str | None = None, token: str | None = None
    ) -> Call[RunView]:
        """Tell what became of a run that waits for it, `succeeded` or `failed`; `token` as above."""
        body = {"state": state, "output": output, "error": error}
        request = _at("POST", id, "complete", headers=_callee(token), body=body)
        return Call(request, readers.reading(readers.run))

    @composed
    def wait_for_run(self, id: str, *, timeout: float | None = None) -> Flow[RunView]:
        """Look at a run until it has ended, whatever its end; TimeoutError after so many seconds."""
        clock, pause = self.terms.clock, SHORTEST
        began = clock.monotonic()
        while True:
            run = yield from self.terms.flow(Call(_at("GET", id), readers.reading(readers.run)))
            if run.state not in NOT_ENDED:
                return run
            if timeout is not None and clock.monotonic() - began + pause > timeout:
                raise TimeoutError(f"the run {id} is still {run.state} after {timeout:g} s")
            yield Wait(pause)
            pause = min(LONGEST, pause * GROWTH)


def run_query(filters: RunFilters) -> dict[str, str | int | bool | None]:
    """Write filters of a list of runs; what is none goes along, so that the server says so."""
    window = {"from": instant(filters.get("from_")), "to": instant(filters.get("to"))}
    others = cast("Query", {name: value for name, value in filters.items() if name not in {"from_", "to"}})
    return {**window, **others}


def _callee(token: str | None) -> dict[str, str]:
    return {} if token is None else {"X-Callback-Token": checked_key(token)}


def _at(
    method: str,
    *path: str,
    query: Query | None = None,
    headers: dict[str, str] | None = None,
    body: Json | None = None,
) -> Request:
    sent = {} if body is None and method == "POST" else body
    return Request(method=method, path=("runs", *path), query=query or {}, headers=headers or {}, body=sent)
