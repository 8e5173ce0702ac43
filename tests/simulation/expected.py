"""Counts occurrences by hand, from the rules as they are stored: nothing of the product's own arithmetic is used."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.simulation.database import POISON
from tests.simulation.mirror import Mirror, ScheduleNow
from tests.simulation.wall_clocks import end_of_gap, instants, local, zone_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = 1_000_000
RANGES = ((0, 59), (0, 59), (0, 23))


def occurrences(schedule: ScheduleNow, until: int) -> list[int]:
    """Every nominal time of a schedule from its creation to an instant, both in microseconds."""
    stored = json.loads(schedule.triggers)
    timing: dict[str, Any] = {"triggers": stored} if isinstance(stored, list) else stored
    first, last = timing.get("start_at"), timing.get("end_at")
    found = {at for trigger in timing["triggers"] for at in _instants(trigger, schedule.created_at, until)}
    return sorted(
        at
        for at in found
        if (first is None or at >= first)
        and (last is None or at <= last)
        and not any(_excludes(exclusion, at) for exclusion in timing.get("exclusions", ()))
    )


def _instants(trigger: dict[str, Any], after: int, until: int) -> Iterator[int]:
    match trigger["kind"]:
        case "once":
            at = _instant(trigger["at"])
            if at <= until:
                yield at
        case "interval":
            at, step = _instant(trigger["anchor"]), int(_seconds(trigger["every"]) * SECOND)
            while at <= until:
                if at > after:
                    yield at
                at += step
        case _:
            yield from _of_cron(trigger, after, until)


def _of_cron(trigger: dict[str, Any], after: int, until: int) -> Iterator[int]:
    fields = ["0", *trigger["expression"].split()][-6:]
    zone = zone_of(trigger["timezone"])
    if fields[1].startswith("*") or fields[2].startswith("*"):
        # Such rules follow real time: whatever the clock shows, whenever it shows it.
        for second in range(after // SECOND + 1, until // SECOND + 1):
            if _all_match(fields, local(zone, second * SECOND)):
                yield second * SECOND
        return
    for wall in _walls(fields, local(zone, after), local(zone, until)):
        yield from (at for at in _fixed(trigger, zone, wall) if after < at <= until)


def _walls(fields: list[str], begin: datetime, end: datetime) -> Iterator[datetime]:
    """List the times on the wall of all days from one to another."""
    seconds, minutes, hours = (
        [n for n in range(high + 1) if _matches(field, n, (low, high))]
        for field, (low, high) in zip(fields, RANGES, strict=False)
    )
    day = begin.replace(tzinfo=None, fold=0, hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    while day <= end.replace(tzinfo=None):
        for hour in hours:
            for minute in minutes:
                yield from (day.replace(hour=hour, minute=minute, second=second) for second in seconds)
        day += timedelta(days=1)


def _fixed(trigger: dict[str, Any], zone: ZoneInfo, wall: datetime) -> tuple[int, ...]:
    """Give the instants of a fixed time: of one that does not exist, or comes twice, as the trigger says."""
    found = instants(zone, wall)
    if not found:
        return (end_of_gap(zone, wall),) if trigger["dst_gap"] == "shift" else ()
    match trigger["dst_overlap"]:
        case "first":
            return found[:1]
        case "second":
            return found[-1:]
        case _:
            return found


def _all_match(fields: list[str], wall: datetime) -> bool:
    shown = (wall.second, wall.minute, wall.hour)
    return all(_matches(*part) for part in zip(fields, shown, RANGES, strict=False))


def _matches(field: str, value: int, bounds: tuple[int, int]) -> bool:
    """Read the notations that the simulation draws: `*`, `*/n`, `a-b/n`, `a,b`."""
    values, _, step = field.partition("/")
    for part in values.split(","):
        begin, _, end = part.partition("-")
        low, high = bounds if part == "*" else (int(begin), int(end or begin))
        if low <= value <= high and (value - low) % int(step or 1) == 0:
            return True
    return False


def _excludes(exclusion: dict[str, Any], at: int) -> bool:
    moment = EPOCH + timedelta(microseconds=at)
    if exclusion["kind"] == "range":
        return bool(exclusion["from"] <= moment.isoformat()[:19] < exclusion["to"])
    return moment.date().isoformat() in (exclusion.get("dates") or exclusion.get("days") or ())


def _instant(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


def _seconds(length: str | float) -> float:
    if not isinstance(length, str):
        return length
    units = {"s": 1, "m": 60, "h": 3600}
    return float(length[:-1]) * units[length[-1]]


_LEDGER = """select nominal_at, missed_count, missed_last_at, missed_first_at is nominal_at and state in
('missed', 'skipped') from runs where schedule_key = ? and backfill_id = '' order by nominal_at"""
_FLOOR = "select complete_from from ledger_floors where schedule_key = ?"


def disagreements(mirror: Mirror, retimed: set[int], settled_at: int) -> Iterator[str]:
    """Say where ledgers and counting differ, for schedules whose rules were never changed."""
    for schedule in mirror.schedules.values():
        if schedule.key not in retimed and schedule.triggers != POISON:
            yield from _differences(mirror, schedule, settled_at)


def _differences(mirror: Mirror, schedule: ScheduleNow, settled_at: int) -> Iterator[str]:
    floor = next((row[0] for row in mirror.ask(_FLOOR, schedule.key)), 0)
    wanted = [at for at in occurrences(schedule, max(settled_at, schedule.cursor_at)) if at >= floor]
    recorded = [at for at in wanted if at <= schedule.cursor_at]
    due = schedule.deleted_at or settled_at - schedule.jitter
    left = [at for at in wanted if schedule.cursor_at < at <= due]
    if left and not _is_spent(schedule):
        yield f"{schedule.id} ({schedule.state}) has not come to {left[0]}, and {len(left) - 1} more"
    for nominal_at, count, last_at, is_range in mirror.ask(_LEDGER, schedule.key):
        stands_for = [at for at in recorded if nominal_at <= at <= (last_at if is_range else nominal_at)]
        if nominal_at >= floor and len(stands_for) != (count if is_range else 1):
            yield f"{schedule.id}: the row at {nominal_at} stands for {len(stands_for)} occurrences"
        recorded = [at for at in recorded if at not in stands_for]
    if recorded:
        yield f"{schedule.id}: no row for {recorded[0]}, and {len(recorded) - 1} more"


def _is_spent(schedule: ScheduleNow) -> bool:
    return schedule.max_runs is not None and schedule.runs_made >= schedule.max_runs
