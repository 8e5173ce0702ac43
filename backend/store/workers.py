"""Who is at work on the database, and what each may do. For who holds what, the leases count."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from backend.model.instants import micros
from backend.store.operation import Operation, Query, now


class Presence(NamedTuple):
    """What a worker tells of itself with each heartbeat."""

    name: str
    host: str
    pid: int
    version: str
    concurrency: int
    lease: timedelta
    draining: bool
    abilities: str = "{}"
    """JSON: which targets it may perform."""


class WorkerRow(NamedTuple):
    """A worker as it was last seen, and how many runs it holds. `lease` in microseconds."""

    name: str
    host: str
    pid: int
    version: str
    concurrency: int
    lease: int
    started_at: int
    seen_at: int
    draining: int
    runs: int


def see(presence: Presence, instant: int) -> Query:
    """Note that a worker is alive."""
    told = {"lease": micros(presence.lease), "draining": int(presence.draining), "now": instant}
    return Query("see_worker", {**presence._asdict(), **told})


class Able(NamedTuple):
    """What a worker may do, as JSON, and whether it is there; one that drains is, for another will come after it."""

    name: str
    abilities: str
    there: bool


def able_workers() -> Operation[tuple[Able, ...]]:
    """Read what the workers may do, also those that fell silent of late."""
    instant = yield from now()
    rows = yield Query("able_workers", {"now": instant})
    return tuple(Able(row[0], row[1], bool(row[2])) for row in rows)


def forget(name: str) -> Operation[None]:
    """Forget a worker that has left."""
    yield Query("forget_worker", {"name": name})


def list_workers(after: str, limit: int) -> Operation[tuple[int, list[WorkerRow]]]:
    """Read one page of workers by name, and the time at which that was."""
    instant = yield from now()
    rows = yield Query("list_workers", {"after": after, "limit": limit})
    return instant, [WorkerRow._make(row) for row in rows]


def count_workers() -> Operation[dict[str, int]]:
    """Count workers by what they are doing: working, draining, silent."""
    instant = yield from now()
    return {row[0]: row[1] for row in (yield Query("count_workers", {"now": instant}))}
