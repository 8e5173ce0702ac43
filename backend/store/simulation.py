"""Reads what a simulation replays, and who fires at the same minute as a draft."""

from __future__ import annotations

from typing import NamedTuple

from backend.model.instants import MINUTE
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


def schedules_beside(namespace: str, instant: int, id_: str) -> Operation[int]:
    """Count the schedules, but for one, that fire next at the same place within an hour; of the newest thousand."""
    hour = 60 * MINUTE
    rows = yield Query("schedules_beside", {"namespace": namespace, "within": instant % hour, "hour": hour, "id": id_})
    return int(rows[0][0])
