"""From a definition to the row of a schedule: pure decisions about creation, change, pausing and deletion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from backend.duration import format_duration
from backend.engine.definition import ScheduleDefinition, dump_definition, load_definition, says_the_same
from backend.engine.due import next_nominal
from backend.engine.misfire import Lateness
from backend.engine.plan import give_up, plan, scheduled_at
from backend.engine.timing import dump_timing, load_timing
from backend.errors import Conflict, FieldError, FieldProblem, PreconditionFailed, Refused
from backend.model.change import Change, Moment
from backend.model.instants import DAY, MINUTE, SECOND, micros, rfc3339
from backend.model.plan import Planned
from backend.model.run import FINAL_STATES, RunState
from backend.model.schedule import Schedule, ScheduleState
from backend.service.quotas import check_interval
from backend.service.references import check_secrets
from backend.service.silence import silence
from backend.service.timings import timing_of, without_days
from backend.service.validation import joined
from backend.triggers.base import Trigger
from backend.triggers.interval import IntervalTrigger
from backend.triggers.once import OnceTrigger

PAST_TOLERANCE = MINUTE
"""A one-shot this far in the past is still accepted."""
ANY_REVISION = -1
"""Stands for `If-Match: *`: whichever revision there is, but there must be one."""
NO_REVISION = -2
"""Stands for `If-None-Match: *`: there must be none yet."""
FEW_WALKS = 3
MOST_WALKS = 50
"""Walks over time that a change waits for before it asks the caller to come back."""


class Draft(NamedTuple):
    """A definition on its way in. `at` is its place in the request, for messages."""

    definition: ScheduleDefinition
    by: str
    at: str = ""
    source: str | None = None
    only_create: bool = False
    if_match: int | None = None
    refers: bool = True
    """Its target may refer to secrets."""


def revise(draft: Draft, current: Schedule | None, moment: Moment, *, open_run: bool) -> Change:
    """Decide what putting a definition does: create, update, or nothing at all when it is unchanged."""
    check_revision(current, draft.if_match)
    if current is None:
        return _create(draft, moment)
    if draft.only_create:
        raise Conflict(f"the schedule {current.id!r} exists already; PUT replaces it")
    definition = settled(draft.definition, _definition_of(current), current.created_at)
    if says_the_same(dump_definition(definition), current.definition):
        if draft.source in {None, current.source}:
            return Change("unchanged", current, draft.by)
        # The same definition now stands in another file: pruning the first one must not take it away.
        return Change("moved", current._replace(source=draft.source), draft.by)
    return _update(draft, definition, current, moment, open_run=open_run)


def check_revision(current: Schedule | None, if_match: int | None) -> None:
    """Raise PreconditionFailed unless the schedule is the one the caller has seen, or is not there as it must be."""
    if if_match is None:
        return
    if if_match == NO_REVISION:
        if current is not None:
            raise PreconditionFailed(f"the schedule {current.id!r} exists already; If-None-Match asks for a new one")
        return
    if current is None:
        raise PreconditionFailed("If-Match was given, but there is no such schedule")
    if if_match not in {ANY_REVISION, current.revision}:
        raise PreconditionFailed(f"the schedule {current.id!r} is at revision {current.revision}, not {if_match}")


def _create(draft: Draft, moment: Moment) -> Change:
    definition = settled(draft.definition, None, moment.now)
    cursor_at = _cursor_before(definition, (), moment.now, draft.at)
    check_interval(definition, moment.limits.minimum_interval, moment.now, draft.at)
    schedule = _defined(
        _BLANK,
        draft,
        definition,
        moment,
        namespace=definition.namespace,
        id=str(definition.id),
        created_at=moment.now,
        created_by=draft.by,
        updated_at=moment.now,
        effective_at=moment.now,
        cursor_at=cursor_at,
        revision=1,
        source=draft.source,
    )
    schedule = _planned_anew(schedule, draft.at)
    if schedule.next_nominal_at is None:
        why = silence(load_timing(schedule.triggers), cursor_at, moment.now)
        raise Refused([replace(why, field=joined(draft.at, why.field))])
    return Change("created", schedule, draft.by, tags=_tags(definition), gains_owner=definition.owner is not None)


def _update(
    draft: Draft, definition: ScheduleDefinition, current: Schedule, moment: Moment, *, open_run: bool
) -> Change:
    planned = _not_behind(caught_up(current, moment, open_run=open_run))
    before = planned[-1].schedule
    changed = _defined(
        before,
        draft,
        definition,
        moment,
        revision=current.revision + 1,
        updated_at=moment.now,
        source=draft.source or current.source,
        failure_streak=0,
        permanent_streak=0,
        streak_since_at=None,
    )
    if (changed.triggers, changed.max_runs) != (current.triggers, current.max_runs):
        old = _definition_of(current)
        if old is None or definition.triggers != old.triggers:
            check_interval(definition, moment.limits.minimum_interval, moment.now, draft.at)
        cursor_at = _cursor_before(definition, old.triggers if old else (), moment.now, draft.at)
        _refuse_decided(definition.triggers, old.triggers if old else (), before.cursor_at, draft.at)
        changed = _taken_over(changed, cursor_at, planned, moment, at=draft.at)
        changed = _reactivated(changed, busy=open_run or moment.buffered > 0 or _opened(planned))
    gains_owner = changed.owner not in {None, current.owner}
    return Change("updated", changed, draft.by, planned, _tags(definition), gains_owner)


def _taken_over(changed: Schedule, cursor_at: int, planned: Sequence[Planned], moment: Moment, *, at: str) -> Schedule:
    """Let a new timing begin where the old one has been planned to."""
    # Never back: what is at or before the cursor has been decided, by whichever rule.
    cursor_at = max(cursor_at, planned[-1].schedule.cursor_at)
    changed = changed._replace(cursor_at=cursor_at, effective_at=moment.now)
    if changed.paused_cursor_at is not None:
        # A later resume with catch-up begins with the new rule; what the old one skipped stays recorded.
        changed = changed._replace(paused_cursor_at=cursor_at, skip_reason=None, skip_count=0, skip_range_at=None)
    return _planned_anew(changed, at)


def retime(current: Schedule, by: str, moment: Moment, *, open_run: bool) -> Change:
    """Plan by what the named calendars say now; a revision of its own, of the same definition."""
    definition = _definition_of(current)
    if definition is None:
        return Change("unchanged", current, by)
    timing = dump_timing(timing_of(definition, current.id, moment.calendars))
    if timing == current.triggers:
        return Change("unchanged", current, by)
    planned = caught_up(current, moment, open_run=open_run)
    changed = planned[-1].schedule._replace(triggers=timing, revision=current.revision + 1, updated_at=moment.now)
    try:
        changed = _taken_over(changed, moment.now, planned, moment, at="")
    except Refused as refused:
        reasons = ", ".join(problem.rule for problem in refused.problems)
        rule = f"with them the schedule {current.id!r} cannot be planned: {reasons}"
        raise Refused([FieldProblem("days", rule, "give fewer, or change that schedule first")]) from refused
    changed = _reactivated(changed, busy=open_run or moment.buffered > 0 or _opened(planned))
    return Change("updated", changed, by, planned)


def _opened(planned: Sequence[Planned]) -> bool:
    return any(run.state not in FINAL_STATES for one in planned for run in one.runs)


def _buffered(planned: Sequence[Planned]) -> int:
    return sum(run.state == RunState.BUFFERED for one in planned for run in one.runs)


def _reactivated(schedule: Schedule, *, busy: bool) -> Schedule:
    if schedule.state == ScheduleState.PAUSED:
        return schedule
    if schedule.next_nominal_at is None and not busy:
        return schedule._replace(state=ScheduleState.COMPLETED)
    if schedule.state in {ScheduleState.COMPLETED, ScheduleState.ERROR}:
        return schedule._replace(state=ScheduleState.ACTIVE, error=None, error_count=0)
    return schedule


def caught_up(current: Schedule, moment: Moment, *, open_run: bool, walks: int = MOST_WALKS) -> list[Planned]:
    """Plan the old revision up to now, so that the new one begins where it ends; in so many walks at the most."""
    planned: list[Planned] = []
    schedule = current
    while len(planned) < walks:
        try:
            buffered = moment.buffered + _buffered(planned)
            now, store_id = moment.now, moment.store_id
            planned.append(plan(schedule, now, store_id, open_run=open_run, buffered=buffered, wait=False))
        except Exception:  # a rule that cannot be planned must not keep a person from replacing it
            return [*planned, give_up(schedule, moment.now, moment.store_id)]
        schedule = planned[-1].schedule
        open_run = open_run or _opened(planned[-1:])
        if schedule.next_nominal_at is None or schedule.next_nominal_at > moment.now:
            return planned
    return planned


def _not_behind(planned: Sequence[Planned]) -> list[Planned]:
    """Raise Conflict while the last walk did not reach now; the engine gets there soon."""
    last = planned[-1]
    if last.unfinished:
        text = f"the schedule {last.schedule.id!r} is still being caught up after a long absence; try again shortly"
        raise Conflict(text)
    return list(planned)


def settled(definition: ScheduleDefinition, current: ScheduleDefinition | None, at: int) -> ScheduleDefinition:
    """Give intervals without an anchor the one they have, or the creation time in whole seconds."""
    old = current.triggers if current else ()
    triggers = tuple(
        # The one at the same place goes first: two intervals may have the same step and different anchors.
        t.with_anchor(_anchor_for(t, (*old[place : place + 1], *old), at))
        if isinstance(t, IntervalTrigger) and t.anchor is None
        else t
        for place, t in enumerate(definition.triggers)
    )
    exclusions = without_days(definition.exclusions)
    if (triggers, exclusions) == (definition.triggers, definition.exclusions):
        return definition
    return definition.model_copy(update={"triggers": triggers, "exclusions": exclusions})


def _anchor_for(interval: IntervalTrigger, known: Sequence[Trigger], at: int) -> int:
    same = (t.anchor for t in known if isinstance(t, IntervalTrigger) and t.every == interval.every)
    return next((anchor for anchor in same if anchor is not None), at // SECOND * SECOND)


def _cursor_before(definition: ScheduleDefinition, old: tuple[Trigger, ...], now: int, at: str) -> int:
    """Find where planning begins: now, or just before a one-shot that is accepted although it is over."""
    cursor = now
    for place, trigger in enumerate(definition.triggers):
        if not isinstance(trigger, OnceTrigger) or trigger.instant > now or trigger in old:
            continue
        if problem := _too_late(trigger, definition, now):
            rule, fix = problem
            raise Refused([FieldProblem(joined(at, f"triggers[{place}].at"), rule, fix)])
        cursor = min(cursor, trigger.instant - 1)
    return cursor


def _too_late(trigger: OnceTrigger, definition: ScheduleDefinition, now: int) -> tuple[str, str] | None:
    """Say why a one-shot that is over is not accepted, and what would be."""
    instant, window = rfc3339(trigger.instant), definition.catchup_window
    if now - trigger.instant > PAST_TOLERANCE and not trigger.allow_past:
        return f"{instant} is in the past", 'give a time to come, or set "allow_past": true'
    if Lateness(now, micros(definition.misfire_threshold), micros(window)).is_expired(trigger.instant):
        rule = f"{instant} is older than the catch-up window of {format_duration(window)}, so it would never run"
        return rule, "give a later time or a longer catchup_window"
    return None


def _refuse_decided(triggers: tuple[Trigger, ...], old: tuple[Trigger, ...], cursor_at: int, at: str) -> None:
    """Refuse a new one-shot at an instant that the schedule has passed: it would never fire, and leave no trace."""
    for place, trigger in enumerate(triggers):
        if isinstance(trigger, OnceTrigger) and trigger not in old and trigger.instant <= cursor_at:
            rule = f"{rfc3339(trigger.instant)} is not after the schedule's last occurrence, {rfc3339(cursor_at)}"
            raise Refused([FieldProblem(joined(at, f"triggers[{place}].at"), rule, "give a later time")])


def _defined(
    schedule: Schedule,
    draft: Draft,
    definition: ScheduleDefinition,
    moment: Moment,
    **others: Any,  # noqa: ANN401 - columns
) -> Schedule:
    """Copy a draft's settled definition, and others, into the typed columns; Refused for a secret that is not there."""
    id_ = str(definition.id)
    if draft.refers:
        check_secrets(definition.target, moment.secrets, draft.at)
    return schedule._replace(
        name=definition.name or id_,
        owner=definition.owner,
        target_kind=definition.target.kind,
        definition=dump_definition(definition),
        triggers=dump_timing(timing_of(definition, id_, moment.calendars, draft.at)),
        misfire_policy=definition.misfire_policy,
        misfire_threshold=micros(definition.misfire_threshold),
        catchup_window=micros(definition.catchup_window),
        overlap_policy=definition.overlap_policy,
        delivery=definition.delivery,
        pause_after_failures=definition.pause_after_failures,
        jitter=micros(definition.jitter),
        max_runs=definition.max_runs,
        **others,
    )


def _planned_anew(schedule: Schedule, at: str) -> Schedule:
    try:
        return _scheduled(schedule)
    except FieldError as error:
        raise Refused([FieldProblem(joined(at, error.field or "triggers"), error.rule, error.fix)]) from error


def _scheduled(schedule: Schedule) -> Schedule:
    if schedule.max_runs is not None and schedule.runs_made >= schedule.max_runs:
        return schedule._replace(next_nominal_at=None, next_scheduled_at=None)
    following = next_nominal(schedule.triggers, schedule.cursor_at, schedule.effective_at)
    return scheduled_at(schedule, following)


def _replanned(schedule: Schedule) -> Schedule:
    try:
        return _scheduled(schedule)
    except ValueError as error:
        raise Conflict(f"the triggers of {schedule.id!r} cannot be planned ({error}); give it new ones") from error


def _tags(definition: ScheduleDefinition) -> list[str]:
    return [f"{name}:{value}" for name, value in sorted(definition.tags.items())]


def _definition_of(schedule: Schedule) -> ScheduleDefinition | None:
    """Read the stored definition; None when this program cannot, so that putting a new one mends the schedule."""
    try:
        return load_definition(schedule.definition)
    except ValueError:
        return None


def pause(current: Schedule, note: str, by: str, moment: Moment, *, open_run: bool) -> Change:
    """Stop firing from now on, and keep who said so, when, and why. Pausing again renews the note."""
    if current.state == ScheduleState.COMPLETED:
        raise Conflict(f"the schedule {current.id!r} is completed; there is nothing left to pause")
    # What these walks do not reach is recorded by the engine, as paused.
    planned = caught_up(current, moment, open_run=open_run, walks=FEW_WALKS)
    before = planned[-1].schedule
    if current.state != ScheduleState.PAUSED:
        before = before._replace(paused_cursor_at=before.cursor_at, skip_reason=None, skip_count=0, skip_range_at=None)
    paused = before._replace(
        state=ScheduleState.PAUSED, note=note, note_by=by, note_at=moment.now, updated_at=moment.now
    )
    return Change("paused", paused, by, planned)


def resume(current: Schedule, by: str, moment: Moment, *, open_run: bool, catch_up: bool) -> Change:
    """Fire again. What fell into the pause stays skipped, unless `catch_up`: then the misfire policy decides it."""
    if current.state == ScheduleState.COMPLETED:
        raise Conflict(f"the schedule {current.id!r} is completed; give it new triggers instead")
    if current.state == ScheduleState.ACTIVE and catch_up:
        raise Conflict(f"the schedule {current.id!r} is not paused; there is nothing to catch up")
    if current.state == ScheduleState.ACTIVE:
        return Change("unchanged", current, by)
    paused = current.state == ScheduleState.PAUSED
    planned = _not_behind(caught_up(current, moment, open_run=open_run)) if paused else []
    before = planned[-1].schedule if planned else current._replace(next_scheduled_at=current.next_nominal_at)
    resumed = before._replace(
        state=ScheduleState.ACTIVE,
        note="",
        note_by=by,
        note_at=moment.now,
        updated_at=moment.now,
        failure_streak=0,
        permanent_streak=0,
        streak_since_at=None,
        error=None,
        error_count=0,
        paused_cursor_at=None,
        skip_reason=None,
        skip_count=0,
        skip_range_at=None,
    )
    if catch_up and current.paused_cursor_at is not None:
        # The cursor goes back only here, and only over instants of which none became a run: their rows are
        # dropped in the same transaction, and the engine plans them again by the misfire policy.
        resumed = _replanned(resumed._replace(cursor_at=current.paused_cursor_at))
        return Change("resumed", resumed, by, planned, replan_paused_after=current.paused_cursor_at)
    if resumed.next_nominal_at is None and not (open_run or moment.buffered):
        resumed = resumed._replace(state=ScheduleState.COMPLETED)
    return Change("resumed", resumed, by, planned)


def nothing(id_: str) -> Schedule:
    """Stand for a schedule that is not there any more."""
    return _BLANK._replace(id=id_)


def delete(current: Schedule, by: str, moment: Moment, *, open_run: bool) -> Change:
    """Plan up to now, then never again; waiting runs are skipped, a running one comes to its end."""
    planned = caught_up(current, moment, open_run=open_run, walks=FEW_WALKS)
    gone = planned[-1].schedule._replace(deleted_at=moment.now, updated_at=moment.now, note_by=by)
    if not planned[-1].unfinished:  # else the engine records the rest, as deleted
        gone = gone._replace(next_nominal_at=None, next_scheduled_at=None)
    return Change("deleted", gone, by, planned)


_BLANK = Schedule(
    key=0,
    namespace="",
    id="",
    name="",
    owner=None,
    target_kind="",
    state=ScheduleState.ACTIVE,
    note="",
    note_by=None,
    note_at=None,
    definition="",
    triggers="",
    revision=0,
    source=None,
    created_at=0,
    created_by="",
    updated_at=0,
    effective_at=0,
    cursor_at=0,
    next_nominal_at=None,
    next_scheduled_at=None,
    misfire_policy="",
    misfire_threshold=0,
    catchup_window=DAY,
    overlap_policy="",
    delivery="",
    pause_after_failures=0,
    jitter=0,
    max_runs=None,
    runs_made=0,
    paused_cursor_at=None,
    missed_count=0,
    missed_first_at=None,
    missed_last_at=None,
    skip_reason=None,
    skip_count=0,
    skip_range_at=None,
    failure_streak=0,
    permanent_streak=0,
    streak_since_at=None,
    error=None,
    error_count=0,
    deleted_at=None,
)
