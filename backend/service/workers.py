"""Who is at work on the database."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from backend.model.instants import rfc3339
from backend.service.cursors import read_cursor, write_cursor
from backend.service.views import Page, View
from backend.store.port import AdminStore
from backend.store.workers import WorkerRow


class WorkerState(StrEnum):
    """What a worker is doing."""

    WORKING = "working"
    DRAINING = "draining"
    SILENT = "silent"


class WorkerView(View):
    """A worker: where it runs, and how many runs it holds."""

    name: str = Field(description="As in the `worker` of attempts.")
    host: str
    pid: int
    version: str
    state: WorkerState = Field(description="`silent`: not seen for as long as its lease; others take its runs over.")
    runs: int = Field(description="Runs that it holds a lease of.")
    concurrency: int = Field(description="Runs that it takes on at a time.")
    started_at: str
    seen_at: str


async def page_of_workers(store: AdminStore, *, cursor: str | None, limit: int) -> Page[WorkerView]:
    """Read one page by name."""
    place = read_cursor(cursor, str)
    now, rows = await store.workers(after=str(place[0]) if place else "", limit=limit + 1)
    following = write_cursor(rows[limit - 1].name) if len(rows) > limit else None
    return Page[WorkerView](items=[view_of(row, now) for row in rows[:limit]], next_cursor=following)


def view_of(row: WorkerRow, now: int) -> WorkerView:
    """Show a worker to callers."""
    return WorkerView(
        name=row.name,
        host=row.host,
        pid=row.pid,
        version=row.version,
        state=_state(row, now),
        runs=row.runs,
        concurrency=row.concurrency,
        started_at=rfc3339(row.started_at),
        seen_at=rfc3339(row.seen_at),
    )


def _state(row: WorkerRow, now: int) -> WorkerState:
    if row.seen_at + row.lease < now:
        return WorkerState.SILENT
    return WorkerState.DRAINING if row.draining else WorkerState.WORKING
