"""Counts of one namespace. Each is bounded, however large the ledger is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from backend.model.ids import uuid7
from backend.model.instants import MINUTE
from backend.model.limits import NamespaceLimits
from backend.store.leasing import waiting_kinds
from backend.store.namespaces import get_namespace
from backend.store.operation import Operation, Query, now
from backend.store.quotas import read_limits

MOST = 10_000
"""As far as open runs are counted, by state."""
RECENT = 5_000
"""As many runs of the last hour are looked at, the newest."""


class Stats(NamedTuple):
    """How a namespace is doing. Instants and lengths in microseconds."""

    now: int
    schedules: dict[str, int]
    open_runs: dict[str, int]
    recent: Sequence[tuple[str, int | None]]
    """State of each run of the last hour, newest first, and how late it began; None: it has not, or is a backfill's."""
    due: int
    due_since: int | None
    queued_since: int | None
    limits: NamespaceLimits
    starts: int
    """Runs that were started in this minute, if that is limited."""


def read_stats(namespace: str) -> Operation[Stats]:
    """Count what there is and what has been in the last hour; NotFound if the namespace is gone."""
    limits = read_limits((yield from get_namespace(namespace)).limits)
    instant = yield from now()
    where = {"namespace": namespace}
    schedules = yield Query("stats_schedules", where)
    kinds = yield from waiting_kinds()
    open_runs = yield Query("stats_open", {**where, "kinds": kinds, "most": MOST + 1})
    floor = uuid7(instant - 60 * MINUTE, bytes(10))
    recent = yield Query("stats_recent", {**where, "floor": floor, "most": RECENT + 1})
    [backlog] = yield Query("stats_backlog", {**where, "now": instant, "kinds": kinds, "most": MOST})
    used = yield Query("stats_use", where)
    return Stats(
        now=instant,
        schedules={row[0]: row[1] for row in schedules},
        open_runs=_added(open_runs),
        recent=[(row[0], row[1]) for row in recent],
        due=backlog[0],
        due_since=backlog[1],
        queued_since=backlog[2],
        limits=limits,
        starts=sum(row[1] for row in used if row[0] == instant // MINUTE),
    )


def _added(rows: Sequence[tuple[str, int]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for state, number in rows:
        counts[state] = counts.get(state, 0) + number
    return counts
