"""Reads what a simulation replays."""

from __future__ import annotations

from typing import NamedTuple

from backend.store.operation import Operation, Query


class Replayable(NamedTuple):
    """An active schedule, as far as it is replayed. Lengths in microseconds."""

    key: int
    id: str
    triggers: str
    jitter: int
    misfire_policy: str
    misfire_threshold: int
    catchup_window: int
    overlap_policy: str
    runs_left: int | None


def replayable_schedules(namespace: str, after: int, limit: int) -> Operation[list[Replayable]]:
    """Read the next few active schedules by key."""
    rows = yield Query("replayable_schedules", {"namespace": namespace, "after": after, "limit": limit})
    return [Replayable._make(row) for row in rows]
