"""Deletes what is older than anybody asked to keep, in batches, so that nothing else has to wait."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from backend.model.instants import DAY, MINUTE, micros
from backend.store.history import raise_floors
from backend.store.operation import Operation, Query, now
from backend.store.repeats import KEPT


class Retention(NamedTuple):
    """How long the ledger keeps what: runs, failures, deleted schedules; and `keep` newest runs of a schedule."""

    runs: timedelta
    failures: timedelta
    deleted: timedelta
    keep: int
    audit: timedelta = timedelta(days=400)
    """How long the audit log is kept."""


class Pruned(NamedTuple):
    """What one batch deleted, and the schedule key to go on after (0: the walk is over)."""

    runs: int
    schedules: int
    next_key: int
    repeats: int = 0


REMEMBERED = 60 * MINUTE
"""For how long a worker that died is told of: long enough to be noticed, and an alert about it ends by itself."""


def prune(retention: Retention, after_key: int, limit: int) -> Operation[Pruned]:
    """Delete one batch of old runs, then what is surplus among the next few schedules, and who fell silent."""
    instant = yield from now()
    runs_before = instant - micros(retention.runs)
    failures_before = min(runs_before, instant - micros(retention.failures))
    ages = {"runs_before": runs_before, "failures_before": failures_before, "limit": limit}
    old = yield Query("prune_old_runs", ages)
    # In the transaction that deletes, so that no audit ever takes what was pruned for missing.
    yield from raise_floors(old)
    surplus, next_key = yield from _prune_surplus(retention, after_key, limit, instant)
    before = {"deleted_before": instant - micros(retention.deleted), "limit": limit}
    forgotten = yield Query("prune_deleted_schedules", before)
    yield Query("prune_audit", {"before": instant - micros(retention.audit), "limit": limit})
    yield Query("prune_workers", {"silent_before": instant - REMEMBERED})
    repeats = yield Query("prune_repeats", {"before": instant - KEPT, "limit": limit})
    return Pruned(len(old) + surplus, len(forgotten), next_key, len(repeats))


def keep_ranges(retention: Retention | None = None) -> Operation[None]:
    """Make room for the next weeks of the ledger, and drop some that are too old, at once; some databases need that."""
    instant = yield from now()
    longest = micros(max(retention.runs, retention.failures)) if retention else instant
    yield Query("keep_ranges", {"now": instant, "ended_before": instant - longest})


SCHEDULES_PER_BATCH = 500


def _prune_surplus(retention: Retention, after_key: int, limit: int, instant: int) -> Operation[tuple[int, int]]:
    place = {"after_key": after_key, "keep": retention.keep, "limit": SCHEDULES_PER_BATCH}
    rows = yield Query("schedules_after", place)
    ended_before, failures_before = instant - DAY, instant - micros(retention.failures)
    deleted = 0
    for key in (key for key, many in rows if many):
        params = {
            "schedule_key": key,
            "ended_before": ended_before,
            "failures_before": min(ended_before, failures_before),
            "keep": retention.keep,
            "limit": limit - deleted,
        }
        surplus = yield Query("prune_surplus_runs", params)
        yield from raise_floors(surplus)
        deleted += len(surplus)
        if deleted >= limit:
            # A whole batch: the writer is needed elsewhere, and this schedule may have more.
            return deleted, key - 1
    return deleted, rows[-1][0] if len(rows) == SCHEDULES_PER_BATCH else 0
