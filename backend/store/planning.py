"""The engine's transactions: claim due schedules, plan them, write what the plan says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import NamedTuple

from backend.model.attempt import LostSettler, Reaped
from backend.model.instants import DAY, micros, rfc3339
from backend.model.notices import NoticeEvent, NoticeFact
from backend.model.plan import Planned, Planner, Standing
from backend.model.policies import Delivery, Reason
from backend.model.run import FINAL_STATES, AttemptState, RunState
from backend.model.schedule import Schedule, ScheduleState
from backend.store.attempts import NewAttempt
from backend.store.displacing import ERROR, displace
from backend.store.notices import missed_facts, notify, planning_facts
from backend.store.operation import Batch, Operation, Query, Row, now, think
from backend.store.quotas import hold_starts, note_planned

_FIELDS = len(Schedule._fields)
STREAK = 3
"""Occurrences skipped in a row, because a run was still open, that are worth telling."""


class Turn(NamedTuple):
    """What one turn of the engine did."""

    now: int
    schedules: int
    runs: int
    dropped: int
    quarantined: Sequence[tuple[Schedule, str]]
    completed: Sequence[tuple[str, str]]
    next_at: int | None
    """When the next schedule is due; at or before `now` if this turn left some."""
    displaced: int = 0
    """Schedules whose open runs had to make room for a newer one."""
    streaks: Sequence[Schedule] = ()
    """Schedules of which STREAK occurrences in a row have just been skipped because a run was still open."""


class Reaping(NamedTuple):
    """What became of runs whose leases had expired."""

    requeued: int
    ended: int
    promoted: bool
    """A chain went on that had stood still."""
    now: int
    next_at: int | None
    """When the next lease ends, unless it is renewed before; at or before `now` if somebody else is at its schedule."""
    next_key: int
    """The schedule key after which to look for waiting runs next (0: from the beginning)."""


def with_open_run(row: Row) -> tuple[Schedule, bool]:
    """Split a row of schedule columns and "has an open run?"."""
    return Schedule._make(row[:_FIELDS]), bool(row[_FIELDS])


def standing(row: Row) -> Standing:
    """Split a row of schedule columns, "has an open run?" and how many occurrences wait for that."""
    return Standing(*with_open_run(row), int(row[_FIELDS + 1]))


def take_turn(plan: Planner, store_id: str, limit: int) -> Operation[Turn]:
    """Claim up to `limit` due schedules, plan them, and write runs and cursors.

    If we die before the commit, nothing has happened and the schedules are still due. If we die after it, the runs
    are queued and the cursors are past them: the run row is the message.
    """
    instant = yield from now()
    next_at = yield from _next_due()
    claimed = {"now": instant, "limit": limit}
    rows = (yield Query("claim_due", claimed)) if next_at is not None and next_at <= instant else []
    if not rows:
        return Turn(now=instant, schedules=0, runs=0, dropped=0, quarantined=[], completed=[], next_at=next_at)
    due = [standing(row) for row in rows]
    if len(due) == limit:
        above = {"now": instant, "above": due[-1][0].next_scheduled_at, "limit": limit // 4}
        latest = [standing(row) for row in (yield Query("claim_due_latest", above))]
        due = [*latest, *due[: limit - len(latest)]]
    starts = yield from hold_starts(due, instant)
    due = [starts.standing(one) for one in due] if starts.limits else due
    yield from think()
    planned = plan(due, instant, store_id)
    yield from note_planned(starts, planned, instant)
    recorded = yield from write_plans(planned, instant)
    completed = [(p.schedule.namespace, p.schedule.id) for p in planned if p.schedule.state == ScheduleState.COMPLETED]
    completed += yield from settle_schedules({p.schedule.key for p in planned if _finite(p)}, instant)
    streaks = [p.schedule for d, p in zip(due, planned, strict=False) if _reached(p.schedule) > _reached(d.schedule)]
    quarantined = [(p.schedule, p.failure) for p in planned if p.failure]
    told = yield from notify(planning_facts(streaks, quarantined, instant), instant)
    return Turn(
        now=instant,
        schedules=len(planned),
        runs=recorded.runs + told,
        dropped=recorded.dropped,
        quarantined=quarantined,
        completed=completed,
        next_at=(yield from _next_due()),
        displaced=sum(p.displaces is not None for p in planned),
        streaks=streaks,
    )


def _next_due() -> Operation[int | None]:
    next_at: int | None = (yield Query("next_due"))[0][0]
    return next_at


def _reached(schedule: Schedule) -> bool:
    return schedule.skip_reason == Reason.OVERLAP and schedule.skip_count >= STREAK


def _finite(planned: Planned) -> bool:
    waiting = any(run.chained for run in planned.runs) or planned.displaces is not None
    return waiting or planned.schedule.next_nominal_at is None


class Recorded(NamedTuple):
    """Occurrences that were new to the ledger: those that became runs, and those that did not."""

    runs: int
    dropped: int


def write_plans(planned: Sequence[Planned], instant: int) -> Operation[Recorded]:
    """Write ledger rows and new positions."""
    planned = yield from displace(planned, instant)
    new = yield Batch("insert_runs", [run._asdict() for p in planned for run in p.runs])
    extensions = [p.extension for p in planned if p.extension]
    yield Batch("extend_range", [extension._asdict() for extension in extensions])
    yield Batch("advance_schedules", [p.schedule._asdict() for p in planned])
    yield from notify(missed_facts(new, instant), instant)
    runs = sum(state not in FINAL_STATES for state, _, _ in new)
    dropped = sum(max(missed, 1) for state, missed, _ in new if state in FINAL_STATES)
    return Recorded(runs, dropped + sum(extension.added for extension in extensions))


def settle_schedules(keys: Iterable[int], instant: int) -> Operation[list[tuple[str, str]]]:
    """After runs have ended: queue what waited for that, and complete schedules that have nothing left.

    Answers (namespace, id) of the completed ones.
    """
    schedule_keys = sorted(keys)
    if not schedule_keys:
        return []
    yield from promote(schedule_keys, instant)
    rows = yield Query("complete_schedules", {"schedule_keys": schedule_keys})
    return [(row[0], row[1]) for row in rows]


def promote(schedule_keys: Sequence[int], instant: int) -> Operation[int]:
    """Queue the next of each chain, and then of what is buffered, where it waits for nothing; answers how many.

    No run waits for ever: whoever ends the last open one promotes in the same transaction.
    """
    params = {"now": instant, "retry_until_at": instant + DAY}
    promoted, keys = 0, list(schedule_keys)
    while keys:
        rows = yield Query("promote_held", {**params, "schedule_keys": keys})
        promoted += len(rows)
        # A chain of which several may be at work has room for more of them, perhaps.
        keys = sorted({row[0] for row in rows if row[1] > 1})
    rows = yield Query("promote_buffered", {**params, "schedule_keys": list(schedule_keys)})
    return promoted + len(rows)


def drop_waiting(keys: Iterable[int], instant: int) -> Operation[set[int]]:
    """Of those schedules that are deleted, skip the runs that wait; answers the runs' keys."""
    schedule_keys = sorted(keys)
    if not schedule_keys:
        return set()
    rows = yield Query("drop_waiting_runs", {"schedule_keys": schedule_keys, "now": instant})
    return {row[0] for row in rows}


LOST = "the worker fell silent and its lease expired"


LOOKED_AT = 500
"""Schedules with waiting runs that one look reads: however many wait, a look takes as long."""


def reap(settle: LostSettler, limit: int, lease: timedelta, after_key: int = 0) -> Operation[Reaping]:
    """Take back expired leases; whoever held one is refused from now on.

    Then let go on what stands still without reason, among the next schedules after a key.
    Leases that end later than any that is given now were given before the clock went back, and are cut to `lease`,
    or to the longest of any worker: who is alive renews them, and nobody waits longer for who is not.
    """
    instant = yield from now()
    expired = yield Query("expired_leases", {"now": instant, "limit": limit})
    settled = [(row, _settled(row, settle)) for row in expired]
    yield Batch("insert_attempts", [_lost(row, instant)._asdict() for row in expired])
    yield Batch("reap_runs", [_reaped_run(row, reaped, instant) for row, reaped in settled])
    yield from notify([_lost_fact(row, reaped, instant) for row, reaped in settled if _is_over(reaped)], instant)
    over = {row[1] for row in expired}
    dropped = yield from drop_waiting(over, instant)
    yield from settle_schedules(over, instant)
    promoted, next_key = yield from _promote_forgotten(after_key, instant)
    yield Query("cut_leases", {"now": instant, "lease": micros(lease)})
    requeued = sum(reaped.state is RunState.QUEUED and row[0] not in dropped for row, reaped in settled)
    next_at = (yield Query("next_expiry"))[0][0]
    return Reaping(requeued, len(expired) - requeued, bool(promoted), instant, next_at, next_key)


def _promote_forgotten(after_key: int, instant: int) -> Operation[tuple[int, int]]:
    keys = [row[0] for row in (yield Query("waiting_schedules", {"after_key": after_key, "limit": LOOKED_AT}))]
    holding = (yield Query("schedules_holding", {"schedule_keys": keys})) if keys else []
    promoted = (yield from promote([row[0] for row in holding], instant)) if holding else 0
    return promoted, keys[-1] if len(keys) == LOOKED_AT else 0


def _settled(row: Row, settle: LostSettler) -> Reaped:
    reaped = settle(row[3], at_most_once=row[6] == Delivery.AT_MOST_ONCE)
    if row[7] and reaped.state is RunState.QUEUED:
        # It was asked to stop, and a later occurrence waits for its end.
        return reaped._replace(state=RunState.CANCELLED, error=ERROR.format(policy="cancel_other"))
    return reaped


def _lost(row: Row, instant: int) -> NewAttempt:
    return NewAttempt(row[0], row[2], AttemptState.LOST, row[4], instant, worker=row[5], error=LOST)


def _is_over(reaped: Reaped) -> bool:
    return reaped.state in {RunState.DEAD, RunState.FAILED}


def _lost_fact(row: Row, reaped: Reaped, instant: int) -> NoticeFact:
    run = {"id": row[8], "nominal_time": rfc3339(row[9]), "state": reaped.state, "attempt": row[2]}
    details = {"run": {**run, "error": reaped.error or LOST}}
    return NoticeFact(NoticeEvent.FAILURE, row[1], instant, str(row[8]), details)


def _reaped_run(row: Row, reaped: Reaped, instant: int) -> dict[str, object]:
    return {
        "key": row[0],
        "state": reaped.state,
        "reason": reaped.reason,
        "error": reaped.error,
        "losses": reaped.losses,
        "finished_at": None if reaped.state is RunState.QUEUED else instant,
        "available_at": instant,
    }
