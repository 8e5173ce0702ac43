"""Plans schedules up to an instant: which occurrences run, which do not and why, and when to look again.

Pure: values in, values out. `tick` claims, calls this, and writes what it says, in one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

from backend.engine.due import Due, due_instants
from backend.engine.ledger import RowMaker, Rows
from backend.engine.misfire import NONE_MISSED, Action, Lateness, Missed, Verdict, carried_with, choose
from backend.engine.overlap import admit
from backend.model.ids import run_id_of
from backend.model.instants import MINUTE, SECOND
from backend.model.plan import Planned
from backend.model.policies import MisfirePolicy, OverlapPolicy, Reason
from backend.model.schedule import Schedule, ScheduleState

TURN = 5000
"""Instants of all schedules that one turn visits, give or take one walk."""
ERROR_BACKOFF = 10 * SECOND
ERROR_BACKOFF_MAXIMUM = 60 * MINUTE


def plan_all(due: Sequence[tuple[Schedule, bool]], now: int, store_id: str) -> list[Planned]:
    """Plan each schedule for itself: one that raises is quarantined, and its neighbours never notice.

    Stops after TURN instants, so that a turn stays short however many schedules have long been away; what is not
    planned is still due.
    """
    planned: list[Planned] = []
    walked = 0
    for schedule, open_run in due:
        planned.append(_plan_guarded(schedule, now, store_id, open_run=open_run))
        walked += planned[-1].walked
        if walked >= TURN:
            break
    return planned


def _plan_guarded(schedule: Schedule, now: int, store_id: str, *, open_run: bool) -> Planned:
    try:
        return plan(schedule, now, store_id, open_run=open_run)
    except Exception as error:  # whatever one schedule raises must not reach the others
        return quarantine(schedule, now, f"{type(error).__name__}: {error}")


def plan(schedule: Schedule, now: int, store_id: str, *, open_run: bool) -> Planned:
    """Decide every occurrence in (cursor, now], as far as one bounded walk reaches."""
    until = now if schedule.deleted_at is None else min(now, schedule.deleted_at)
    due = due_instants(schedule.triggers, schedule.next_nominal_at, until=until, effective_at=schedule.effective_at)
    verdicts = _verdicts(schedule, due, now, open_run=open_run)
    origin = f"{store_id}/{schedule.key}/{schedule.created_at}"
    maker = RowMaker(schedule, now, lambda nominal_at: run_id_of(origin, nominal_at, ""))
    rows = maker.rows(verdicts, due.following)
    advanced = _advanced(schedule, due, verdicts, rows, open_run=open_run)
    return Planned(advanced, rows.runs, rows.extension, None, len(due.instants) + len(due.beyond), bool(due.beyond))


def _verdicts(schedule: Schedule, due: Due, now: int, *, open_run: bool) -> list[Verdict]:
    if schedule.deleted_at is not None:
        return [Verdict(i, Action.DROP, Reason.DELETED) for i in due.instants]
    if schedule.state == ScheduleState.PAUSED:
        return [Verdict(i, Action.DROP, Reason.PAUSED) for i in due.instants]
    chosen = choose(
        MisfirePolicy(schedule.misfire_policy),
        due.instants,
        Lateness(now, schedule.misfire_threshold, schedule.catchup_window),
        beyond=due.beyond,
        carried=_carried(schedule),
    )
    return admit(OverlapPolicy(schedule.overlap_policy), chosen, open_run=open_run)


def _carried(schedule: Schedule) -> Missed:
    if not schedule.missed_count:
        return NONE_MISSED
    return Missed(schedule.missed_count, schedule.missed_first_at, schedule.missed_last_at)


def _advanced(schedule: Schedule, due: Due, verdicts: Sequence[Verdict], rows: Rows, *, open_run: bool) -> Schedule:
    accepted = any(verdict.action is not Action.DROP for verdict in verdicts)
    # Reported by the next run that is accepted, by one only: until then, overlap may have dropped the one chosen.
    reported = accepted or schedule.misfire_policy != MisfirePolicy.FIRE_ONCE
    carried = NONE_MISSED if reported else carried_with(_carried(schedule), verdicts)
    # A deleted schedule is planned up to its deletion and never again.
    following = None if schedule.deleted_at is not None and not due.beyond else due.following
    return schedule._replace(
        state=_state_after(schedule, due, busy=accepted or open_run),
        cursor_at=due.instants[-1] if due.instants else schedule.cursor_at,
        next_nominal_at=following,
        next_scheduled_at=following,
        missed_count=carried.number,
        missed_first_at=carried.first_at,
        missed_last_at=carried.last_at,
        skip_reason=rows.streak.reason,
        skip_count=rows.streak.length,
        skip_range_at=rows.streak.range_at,
        error=None,
        error_count=0,
    )


def _state_after(schedule: Schedule, due: Due, *, busy: bool) -> str:
    # A paused one stays paused, also when its last occurrence fell into the pause: a resume may still catch it up.
    if schedule.state == ScheduleState.PAUSED or schedule.deleted_at is not None:
        return schedule.state
    if due.following is None and not busy:
        return ScheduleState.COMPLETED
    return ScheduleState.ACTIVE if schedule.state == ScheduleState.ERROR else schedule.state


def give_up(schedule: Schedule, now: int, store_id: str) -> Planned:
    """Record, for a schedule that cannot be planned and is about to be changed, the occurrence at which it stood.

    How many followed it, nobody can say.
    """
    stood_at = schedule.next_nominal_at
    if stood_at is None or stood_at > now:
        return Planned(schedule, (), None, None)
    origin = f"{store_id}/{schedule.key}/{schedule.created_at}"
    maker = RowMaker(schedule, now, lambda nominal_at: run_id_of(origin, nominal_at, ""))
    rows = maker.rows([Verdict(stood_at, Action.DROP, Reason.ERROR)], None)
    return Planned(schedule._replace(cursor_at=stood_at), rows.runs, rows.extension, None)


def quarantine(schedule: Schedule, now: int, error: str) -> Planned:
    """Put a schedule whose planning raised aside, with a growing back-off; a paused one stays paused."""
    doublings = min(schedule.error_count, 20)
    retry_at = now + min(ERROR_BACKOFF << doublings, ERROR_BACKOFF_MAXIMUM)
    state = schedule.state if schedule.state == ScheduleState.PAUSED else ScheduleState.ERROR
    changed = schedule._replace(
        state=state, error=error[:500], error_count=schedule.error_count + 1, next_scheduled_at=retry_at
    )
    return Planned(changed, (), None, error[:500])
