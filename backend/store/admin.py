"""Facts about the store itself: its id, and what waits in it."""

from __future__ import annotations

from typing import NamedTuple

from backend.store.operation import Operation, Query, now


def ensure_info(key: str, value: str) -> Operation[str]:
    """Remember a fact unless it is known, and answer what is known."""
    yield Query("put_info", {"key": key, "value": value})
    return str((yield Query("read_info", {"key": key}))[0][0])


CLOCK = "clock_noted"


def note_clock() -> Operation[None]:
    """Note what time it is, for servers that start later; also when the clock went back, since they must agree."""
    yield Query("change_info", {"key": CLOCK, "value": str((yield from now()))})


def noted_clock() -> Operation[int]:
    """Tell what time a server noted last, in microseconds; in a new store, when its ledger began."""
    noted = yield Query("read_info", {"key": CLOCK})
    return int((noted or (yield Query("read_info", {"key": "ledger_from"})))[0][0])


class Backlog(NamedTuple):
    """What waits: due schedules that no turn has planned, and how old the oldest is (microseconds)."""

    due: int
    oldest_age: int
    open_runs: dict[str, int]
    schedules: dict[str, int]


def read_backlog() -> Operation[Backlog]:
    """Count what waits, for health and metrics."""
    instant = yield from now()
    due, oldest = (yield Query("backlog", {"now": instant}))[0]
    open_runs = yield Query("count_open_runs")
    schedules = yield Query("count_schedules")
    age = instant - oldest if oldest is not None else 0
    return Backlog(due, age, dict(map(_pair, open_runs)), dict(map(_pair, schedules)))


def _pair(row: tuple[str, int]) -> tuple[str, int]:
    return row[0], row[1]
