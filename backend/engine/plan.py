"""Plans schedules up to an instant: which occurrences run, which do not and why, and when to look again.

Pure: values in, values out. `tick` claims, calls this, and writes what it says, in one transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from backend.engine.due import Delay, Due, due_instants, next_nominal, no_delay
from backend.engine.jitter import delay
from backend.engine.ledger import RowMaker, Rows
from backend.engine.misfire import NONE_MISSED, Action, Lateness, Missed, Verdict, carried_with, choose
from backend.engine.overlap import Admission, admit
from backend.errors import FieldError
from backend.model.ids import run_id_of
from backend.model.instants import MINUTE, SECOND
from backend.model.plan import Displacement, Planned, Standing
from backend.model.policies import MisfirePolicy, OverlapPolicy, Reason
from backend.model.run import FINAL_STATES
from backend.model.schedule import Schedule, ScheduleState

TURN = 5000
"""Instants of all schedules that one turn visits, give or take one walk."""
ASKED_PER_INSTANT = 20
"""Questions to triggers and exclusions that weigh as much as an instant: what excludes much visits little."""
ERROR_BACKOFF = 10 * SECOND
ERROR_BACKOFF_MAXIMUM = 60 * MINUTE


def plan_all(due: Sequence[Standing], now: int, store_id: str) -> list[Planned]:
    """Plan each schedule for itself: one that raises is quarantined, and its neighbours never notice.

    Stops after TURN instants, or as many questions as weigh the same, so that a turn stays short however many
    schedules have long been away; what is not planned is still due.
    """
    planned: list[Planned] = []
    started: Counter[str] = Counter()
    walked = 0
    for standing in due:
        planned.append(_plan_guarded(_left_to(standing, started), now, store_id))
        if standing.room is not None:
            started[standing.schedule.namespace] += sum(run.state not in FINAL_STATES for run in planned[-1].runs)
        walked += planned[-1].walked
        if walked >= TURN:
            break
    return planned


def _left_to(standing: Standing, started: Counter[str]) -> Standing:
    """Take from a namespace's room what its other schedules have started in this turn."""
    if standing.room is None:
        return standing
    return standing._replace(room=max(standing.room - started[standing.schedule.namespace], 0))


def _plan_guarded(standing: Standing, now: int, store_id: str) -> Planned:
    schedule, open_run, buffered, room = standing
    try:
        return plan(schedule, now, store_id, open_run=open_run, buffered=buffered, room=room)
    except FieldError as error:  # it has asked as much as a walk may
        return quarantine(schedule, now, f"{type(error).__name__}: {error}")._replace(walked=TURN)
    except Exception as error:  # whatever one schedule raises must not reach the others
        return quarantine(schedule, now, f"{type(error).__name__}: {error}")


def plan(  # noqa: PLR0913 - what is under way, and what is allowed
    schedule: Schedule,
    now: int,
    store_id: str,
    *,
    open_run: bool,
    buffered: int = 0,
    room: int | None = None,
    wait: bool = True,
) -> Planned:
    """Decide every occurrence in (cursor, now], as far as one bounded walk reaches.

    Without `wait`, also those whose delay is not over: they are recorded now, and claimed after it.
    """
    until = now if schedule.deleted_at is None else min(now, schedule.deleted_at)
    due = due_instants(
        schedule.triggers,
        schedule.next_nominal_at,
        until=until,
        effective_at=schedule.effective_at,
        delay=delay_of(schedule),
        wait=wait,
    )
    admission = _admitted(schedule, due, now, open_run=open_run, buffered=buffered)
    admission = admission._replace(verdicts=within_room(admission.verdicts, room))
    # What waits will be skipped in favour of the newest one, and does not count as a run any more.
    schedule = _without(schedule, buffered if _displacement(schedule, admission, admission.verdicts) else 0)
    verdicts, due = _within_max_runs(schedule, admission.verdicts, due)
    origin = f"{store_id}/{schedule.key}/{schedule.created_at}"
    maker = RowMaker(schedule, now, lambda nominal_at: run_id_of(origin, nominal_at, ""), due.delays)
    rows = maker.rows(verdicts, due.following)
    return Planned(
        schedule=_advanced(schedule, due, verdicts, rows, busy=open_run or buffered > 0),
        runs=rows.runs,
        extension=rows.extension,
        failure=None,
        walked=max(len(due.instants) + len(due.beyond), due.asked // ASKED_PER_INSTANT),
        unfinished=bool(due.beyond),
        displaces=_displacement(schedule, admission, verdicts),
    )


def within_room(verdicts: Sequence[Verdict], room: int | None) -> list[Verdict]:
    """Drop what is more than the namespace may start; the first come are the first served."""
    kept = []
    for verdict in verdicts:
        if room is not None and verdict.action is not Action.DROP:
            dropped = Verdict(verdict.nominal_at, Action.DROP, Reason.QUOTA)
            kept.append(verdict if room > 0 else dropped)
            room -= 1
        else:
            kept.append(verdict)
    return kept


def _without(schedule: Schedule, skipped: int) -> Schedule:
    return schedule._replace(runs_made=max(schedule.runs_made - skipped, 0))


def _displacement(schedule: Schedule, admission: Admission, verdicts: Sequence[Verdict]) -> Displacement | None:
    # The newest one may be more than `max_runs` allows; then it displaces nothing.
    newest = next((v.nominal_at for v in reversed(verdicts) if v.action is not Action.DROP), None)
    if admission.stop is None or newest is None:
        return None
    return Displacement(schedule.key, newest, admission.stop)


def _admitted(schedule: Schedule, due: Due, now: int, *, open_run: bool, buffered: int) -> Admission:
    if schedule.deleted_at is not None:
        return Admission([Verdict(i, Action.DROP, Reason.DELETED) for i in due.instants])
    if schedule.state == ScheduleState.PAUSED:
        return Admission([Verdict(i, Action.DROP, Reason.PAUSED) for i in due.instants])
    chosen = choose(
        MisfirePolicy(schedule.misfire_policy),
        due.instants,
        Lateness(now, schedule.misfire_threshold, schedule.catchup_window, due.delays),
        beyond=due.beyond,
        carried=_carried(schedule),
    )
    return admit(OverlapPolicy(schedule.overlap_policy), chosen, open_run=open_run, buffered=buffered)


def delay_of(schedule: Schedule) -> Delay:
    """Say how much later than their nominal time the occurrences of a schedule are due."""
    return jitter_delay(f"{schedule.namespace}/{schedule.id}", schedule.jitter)


def jitter_delay(seed: str, jitter: int) -> Delay:
    """Give what delays each occurrence; `seed` is namespace and id of the schedule, `jitter` in microseconds."""
    if not jitter:
        return no_delay
    return lambda nominal_at, following: delay(seed, nominal_at, jitter, following)


def scheduled_at(schedule: Schedule, nominal_at: int | None) -> Schedule:
    """Set the next nominal time, and when the engine has to look again: then, or after its delay."""
    if nominal_at is None or not schedule.jitter:
        return schedule._replace(next_nominal_at=nominal_at, next_scheduled_at=nominal_at)
    following = next_nominal(schedule.triggers, nominal_at, schedule.effective_at)
    later = nominal_at + delay_of(schedule)(nominal_at, following)
    return schedule._replace(next_nominal_at=nominal_at, next_scheduled_at=later)


def _within_max_runs(schedule: Schedule, verdicts: Sequence[Verdict], due: Due) -> tuple[Sequence[Verdict], Due]:
    """Cut off what comes after the last run that the schedule may have: there are no more occurrences."""
    if schedule.max_runs is None:
        return verdicts, due
    left = schedule.max_runs - schedule.runs_made
    for place, verdict in enumerate(verdicts):
        left -= verdict.action is not Action.DROP
        if left <= 0:
            kept = verdicts[: place + 1] if left == 0 else verdicts[:place]
            return kept, Due(due.instants[: len(kept)], None, (), due.delays)
    return verdicts, due if left > 0 else Due(due.instants, None, (), due.delays)


def _carried(schedule: Schedule) -> Missed:
    if not schedule.missed_count:
        return NONE_MISSED
    return Missed(schedule.missed_count, schedule.missed_first_at, schedule.missed_last_at)


def _advanced(schedule: Schedule, due: Due, verdicts: Sequence[Verdict], rows: Rows, *, busy: bool) -> Schedule:
    accepted = any(verdict.action is not Action.DROP for verdict in verdicts)
    # Reported by the next run that is accepted, by one only: until then, overlap may have dropped the one chosen.
    reported = accepted or schedule.misfire_policy != MisfirePolicy.FIRE_ONCE
    carried = NONE_MISSED if reported else carried_with(_carried(schedule), verdicts)
    # A deleted schedule is planned up to its deletion and never again.
    following = None if schedule.deleted_at is not None and not due.beyond else due.following
    made = sum(verdict.action is not Action.DROP for verdict in verdicts)
    advanced = schedule._replace(
        state=_state_after(schedule, due, busy=accepted or busy),
        cursor_at=due.instants[-1] if due.instants else schedule.cursor_at,
        next_nominal_at=following,
        runs_made=schedule.runs_made + made,
        missed_count=carried.number,
        missed_first_at=carried.first_at,
        missed_last_at=carried.last_at,
        skip_reason=rows.streak.reason,
        skip_count=rows.streak.length,
        skip_range_at=rows.streak.range_at,
        error=None,
        error_count=0,
    )
    return scheduled_at(advanced, advanced.next_nominal_at)


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
