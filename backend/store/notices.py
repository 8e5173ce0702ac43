"""Notifications: runs, recorded in the transaction of what they tell: none is lost, none is sent for nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from backend.model.instants import DAY, SECOND, rfc3339
from backend.model.notices import LEAST_LATENESS, Mark, Match, Notice, NoticeEvent, NoticeFact, decide
from backend.model.plan import NewRun
from backend.model.run import RunState, TriggerType
from backend.model.schedule import Schedule
from backend.store.operation import Batch, Operation, Query, Row, now

MOST_LATE = 200
"""Late runs of a namespace that one look finds."""


def notify(facts: Sequence[NoticeFact], instant: int) -> Operation[int]:
    """Record a run for each notification that these facts call for; answers how many.

    A notification's own failure is no fact of a schedule: nothing is ever told of it, and there is no loop.
    """
    if not facts:
        return 0
    keys = sorted({fact.schedule_key for fact in facts})
    matches = [Match._make(row) for row in (yield Query("routes_about", {"schedule_keys": keys}))]
    if not matches:
        return 0
    marks = [Mark._make(row) for row in (yield Query("marks_of", {"schedule_keys": keys}))]
    known = {(mark.route_key, mark.schedule_key, mark.event): mark for mark in marks}
    decided = decide(facts, matches, known, instant)
    yield Batch("put_marks", [mark._asdict() for mark in decided.marks])
    made = yield Batch("insert_runs", [run_of(notice, instant)._asdict() for notice in decided.notices])
    return len(made)


def run_of(notice: Notice, instant: int) -> NewRun:
    """Make the run that tells it; the ledger's unique key refuses a second one."""
    return NewRun(
        id=notice.run_id,
        schedule_key=-notice.route_key,
        namespace=notice.namespace,
        nominal_at=notice.nominal_at,
        backfill_id=notice.backfill_id,
        trigger_type=TriggerType.NOTIFICATION,
        state=RunState.QUEUED,
        reason=None,
        scheduled_at=instant,
        queued_at=instant,
        available_at=instant,
        finished_at=None,
        retry_until_at=instant + DAY,
        chained=0,
        missed_count=0,
        missed_first_at=None,
        missed_last_at=None,
        input=json.dumps(notice.cloud_event),
        revision=0,
    )


def missed_facts(recorded: Iterable[Row], instant: int) -> list[NoticeFact]:
    """Say which schedules have missed how many occurrences, from what `insert_runs` answers."""
    counts: dict[int, int] = {}
    for state, missed, key in recorded:
        if state == RunState.MISSED:
            counts[key] = counts.get(key, 0) + max(missed, 1)
    return [
        NoticeFact(NoticeEvent.MISSED, key, instant, f"{key}/{instant}", {"count": count})
        for key, count in counts.items()
    ]


def planning_facts(
    streaks: Iterable[Schedule], failures: Iterable[tuple[Schedule, str]], instant: int
) -> list[NoticeFact]:
    """Say of which schedules overlap has skipped several in a row, and which cannot be planned."""
    overlaps = [
        NoticeFact(NoticeEvent.OVERLAP, one.key, instant, f"{one.key}/{instant}", {"count": one.skip_count})
        for one in streaks
    ]
    return overlaps + [
        NoticeFact(NoticeEvent.ERROR, one.key, instant, f"{one.key}/{instant}", {"error": text[:300]})
        for one, text in failures
    ]


def late_fact(schedule_key: int, run_id: str, nominal_at: int, lateness: int) -> NoticeFact:
    """Say that a run began late, or has not begun; the same fact for whoever notices it."""
    details = {
        "late_seconds": lateness // SECOND,
        "run": {"id": run_id, "nominal_time": rfc3339(nominal_at)},
    }
    return NoticeFact(NoticeEvent.LATE, schedule_key, nominal_at, run_id, details, lateness=lateness)


def look_for_late() -> Operation[int]:
    """Tell of runs that should have begun by now, where somebody is to hear of it; answers how many notifications."""
    wanted = yield Query("latest_wanted")
    if not wanted:
        return 0
    instant = yield from now()
    facts: list[NoticeFact] = []
    for namespace, least in wanted:
        before = instant - max(least, LEAST_LATENESS)
        rows = yield Query("late_runs", {"namespace": namespace, "before": before, "lane": 0, "limit": MOST_LATE})
        facts += [late_fact(key, id_, nominal_at, instant - at) for key, id_, nominal_at, at in rows]
    return (yield from notify(facts, instant))


def route_errands(keys: Iterable[int]) -> Operation[list[Row]]:
    """Read what notifications have to carry out, by the schedule key of their runs, like `errands_of`."""
    route_keys = [-key for key in keys if key < 0]
    if not route_keys:
        return []
    rows = yield Query("route_errands_of", {"route_keys": route_keys})
    # A route may have been deleted just now: then its run ends with the reason that there is nothing to carry out.
    found = {-row[0]: (-row[0], *row[1:]) for row in rows}
    return [found.get(-key, (-key, "", None, "", None)) for key in route_keys]
