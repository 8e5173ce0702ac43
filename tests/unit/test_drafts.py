"""What a person's wish makes of a schedule: pure decisions of create, update, pause, resume and delete."""

from __future__ import annotations

from typing import Any

import pytest

from backend.engine.definition import load_definition
from backend.engine.plan import plan
from backend.errors import Conflict, PreconditionFailed, Refused
from backend.model.change import Change
from backend.model.instants import DAY, LATEST, MINUTE, SECOND, rfc3339
from backend.model.schedule import Schedule
from backend.service import drafts
from backend.service.drafts import Draft, revise
from tests.unit.engine_cases import MINUTELY, SECONDLY, STORE, T0, Ledger, definition, made, moment

HOUR = 60 * MINUTE
HOURLY = {"kind": "interval", "every": "1h"}


def once(instant: int, **fields: Any) -> dict[str, Any]:
    return {"kind": "once", "at": rfc3339(instant), **fields}


def put(current: Schedule | None, triggers=(MINUTELY,), *, now: int, open_run: bool = False, **fields: Any) -> Change:
    return revise(Draft(definition(triggers, **fields), "ann"), current, moment(now), open_run=open_run)


def pause(current: Schedule, now: int, note: str = "freeze", *, open_run: bool = False) -> Schedule:
    return drafts.pause(current, note, "ann", moment(now), open_run=open_run).schedule


def resume(current: Schedule, now: int, *, catch_up: bool = False, open_run: bool = False) -> Change:
    return drafts.resume(current, "bob", moment(now), open_run=open_run, catch_up=catch_up)


# --- create -----------------------------------------------------------------------------------------------------------


def test_a_new_schedule_is_active_and_waits_for_its_first_time():
    change = put(None, now=T0)
    schedule = change.schedule
    assert (change.verb, schedule.state, schedule.revision, schedule.created_by) == ("created", "active", 1, "ann")
    assert (schedule.cursor_at, schedule.effective_at, schedule.created_at) == (T0, T0, T0)
    assert schedule.next_nominal_at == schedule.next_scheduled_at == T0 + MINUTE
    assert change.planned == ()


def test_an_interval_counts_from_its_creation_in_whole_seconds_and_keeps_that():
    schedule = put(None, now=T0 + 1_234_567).schedule
    assert schedule.next_nominal_at == T0 + SECOND + MINUTE
    assert '"anchor":"2026-03-02T09:00:01Z"' in schedule.triggers


def test_a_given_anchor_counts():
    schedule = put(None, [MINUTELY | {"anchor": rfc3339(T0 - 30 * SECOND)}], now=T0).schedule
    assert schedule.next_nominal_at == T0 + 30 * SECOND


def test_the_name_is_the_id_unless_one_is_given():
    assert put(None, now=T0).schedule.name == "digest"
    assert put(None, now=T0, name="Daily").schedule.name == "Daily"


def test_tags_are_written_sorted():
    assert put(None, now=T0, tags={"team": "growth", "env": "prod"}).tags == ["env:prod", "team:growth"]


@pytest.mark.parametrize("age", [0, 1, 60])
def test_a_single_instant_up_to_a_minute_in_the_past_is_accepted_and_due_at_once(age):
    schedule = put(None, [once(T0 - age * SECOND)], now=T0).schedule
    assert schedule.next_scheduled_at == T0 - age * SECOND
    assert [run.state for run in plan(schedule, T0, STORE, open_run=False).runs] == ["queued"]


def test_a_single_instant_further_in_the_past_is_refused_by_field_rule_and_fix():
    with pytest.raises(Refused) as refused:
        put(None, [MINUTELY, once(T0 - 61 * SECOND)], now=T0)
    [problem] = refused.value.problems
    assert problem.field == "triggers[1].at"
    assert problem.rule == "2026-03-02T08:58:59Z is in the past"
    assert "allow_past" in problem.fix


def test_the_place_of_a_refused_trigger_in_a_batch_is_named():
    draft = Draft(definition([once(T0 - HOUR)]), "ann", at="schedules[4]")
    with pytest.raises(Refused, match=r"schedules\[4\]\.triggers\[0\]\.at"):
        revise(draft, None, moment(T0), open_run=False)


def test_a_past_instant_is_accepted_on_request_and_runs():
    schedule = put(None, [once(T0 - DAY, allow_past=True)], now=T0).schedule
    assert [run.nominal_at for run in plan(schedule, T0, STORE, open_run=False).runs] == [T0 - DAY]


def test_a_past_instant_brings_back_no_past_of_a_recurring_neighbour():
    schedule = put(None, [MINUTELY | {"anchor": rfc3339(0)}, once(T0 - HOUR, allow_past=True)], now=T0).schedule
    ledger = Ledger()
    ledger.until(schedule, T0 + MINUTE)
    assert sorted(ledger.rows) == [T0 - HOUR, T0 + MINUTE]


def test_a_schedule_that_would_never_fire_is_refused():
    with pytest.raises(Refused, match="no occurrence is left"):
        put(None, [HOURLY], now=LATEST - SECOND)


def test_a_past_instant_beyond_the_catchup_window_is_refused_as_it_would_never_run():
    with pytest.raises(Refused) as refused:
        put(None, [MINUTELY, once(T0 - 366 * DAY, allow_past=True)], now=T0)
    (problem,) = refused.value.problems
    assert problem.field == "triggers[1].at"
    assert "is older than the catch-up window of 365d, so it would never run" in problem.rule
    assert problem.fix == "give a later time or a longer catchup_window"
    wide = put(None, [once(T0 - 366 * DAY, allow_past=True)], now=T0, catchup_window="367d").schedule
    assert [run.state for run in plan(wide, T0, STORE, open_run=False).runs] == ["queued"]
    narrow = put(None, [once(T0 - MINUTE)], now=T0, catchup_window="0s").schedule
    assert [run.state for run in plan(narrow, T0, STORE, open_run=False).runs] == ["queued"], "on time all the same"


def test_a_past_instant_that_has_outgrown_its_window_may_be_put_again():
    old = [once(T0 - DAY, allow_past=True)]
    current = put(None, old, now=T0, catchup_window="2d").schedule
    assert put(current, [*old, MINUTELY], now=T0 + 3 * DAY, catchup_window="2d").verb == "updated"


ENDED = {"kind": "rrule", "rule": "FREQ=DAILY;COUNT=2", "dtstart": "2026-01-05T09:00:00"}
MONDAYS = {"kind": "cron", "expression": "0 9 * * mon"}


@pytest.mark.parametrize(
    ("triggers", "fields", "field", "words"),
    [
        ([ENDED], {}, "triggers", "the rule ended with its COUNT or UNTIL, at 2026-01-06T09:00:00Z"),
        (
            [MONDAYS],
            {"end_at": "2026-03-03T00:00:00Z"},
            "end_at",
            "end_at is 2026-03-03T00:00:00Z, and the next would be 2026-03-09T09:00:00Z",
        ),
        (
            [once(T0 + HOUR)],
            {"start_at": "2026-03-03T00:00:00Z"},
            "start_at",
            "start_at is 2026-03-03T00:00:00Z, and the triggers give none from then on",
        ),
        (
            [once(T0 + HOUR)],
            {"exclusions": [{"kind": "date", "date": "2026-03-02"}]},
            "exclusions",
            "the exclusions take every one away",
        ),
        (
            [MONDAYS],
            {"end_at": "2026-03-10T00:00:00Z", "exclusions": [{"kind": "date", "date": "2026-03-09"}]},
            "exclusions",
            "the exclusions take every one away",
        ),
    ],
)
def test_a_schedule_that_would_never_fire_is_refused_with_the_cause(triggers, fields, field, words):
    with pytest.raises(Refused) as refused:
        put(None, triggers, now=T0, **fields)
    (problem,) = refused.value.problems
    assert (problem.field, problem.rule) == (field, f"no occurrence is left: {words}")


# --- unchanged --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "triggers",
    [
        [MINUTELY],
        [HOURLY, MINUTELY],
        [MINUTELY, MINUTELY | {"anchor": rfc3339(T0 + 7 * SECOND)}],
        [MINUTELY | {"anchor": rfc3339(T0 + 7 * SECOND)}, MINUTELY],
        [{"kind": "cron", "expression": "0 9 * * *", "timezone": "Europe/London"}],
        [once(T0 + HOUR)],
        [once(T0 - DAY, allow_past=True)],
    ],
)
@pytest.mark.parametrize("later", [0, 30 * SECOND, 3 * DAY])
def test_putting_the_same_definition_again_changes_nothing_ever(triggers, later):
    current = put(None, triggers, now=T0).schedule
    change = put(current, triggers, now=T0 + later)
    assert (change.verb, change.schedule, change.planned) == ("unchanged", current, ())


def test_an_interval_put_again_without_its_anchor_keeps_it_even_that_of_1970():
    current = put(None, [MINUTELY | {"anchor": rfc3339(0)}], now=T0 + SECOND).schedule
    assert put(current, [MINUTELY], now=T0 + HOUR).verb == "unchanged"


def test_the_order_of_fields_is_no_change_and_a_value_of_another_type_is_one():
    current = put(None, now=T0, input={"a": 1, "b": {"c": 2, "d": 3}}).schedule
    assert put(current, now=T0, input={"b": {"d": 3, "c": 2}, "a": 1}).verb == "unchanged"
    assert put(current, now=T0, input={"a": True, "b": {"c": 2, "d": 3}}).verb == "updated"


def test_a_completed_schedule_stays_completed_when_put_unchanged():
    current = put(None, [once(T0 + MINUTE)], now=T0).schedule._replace(state="completed", next_nominal_at=None)
    change = put(current, [once(T0 + MINUTE)], now=T0 + DAY)
    assert (change.verb, change.schedule.state) == ("unchanged", "completed")


def test_creating_what_exists_is_a_conflict():
    with pytest.raises(Conflict, match="exists already"):
        revise(Draft(definition(), "ann", only_create=True), made(), moment(T0), open_run=False)


@pytest.mark.parametrize(("current", "if_match"), [(made(), 2), (None, 1)])
def test_another_revision_than_the_one_seen_is_refused(current, if_match):
    with pytest.raises(PreconditionFailed):
        revise(Draft(definition(), "ann", if_match=if_match), current, moment(T0), open_run=False)


# --- update -----------------------------------------------------------------------------------------------------------


def test_an_edit_first_plans_the_old_rule_up_to_now():
    change = put(made(), [HOURLY], now=T0 + 90 * SECOND)
    assert [run.nominal_at for one in change.planned for run in one.runs] == [T0 + MINUTE]
    assert {run.revision for one in change.planned for run in one.runs} == {1}
    assert change.schedule.revision == 2


def test_an_edit_of_the_triggers_never_fires_a_nominal_time_at_or_before_the_cursor():
    every_second_from_1970 = SECONDLY | {"anchor": rfc3339(0)}
    now = T0 + 5 * MINUTE
    schedule = put(made(), [every_second_from_1970], now=now).schedule
    assert schedule.cursor_at == now
    assert schedule.next_nominal_at == now + SECOND


def test_an_edit_while_the_clock_went_back_does_not_fire_again_what_was_planned():
    planned = plan(made(), T0 + 10 * MINUTE, STORE, open_run=False).schedule
    schedule = put(planned, [SECONDLY | {"anchor": rfc3339(0)}], now=T0 + MINUTE).schedule
    assert schedule.cursor_at == T0 + 10 * MINUTE
    assert schedule.next_nominal_at == T0 + 10 * MINUTE + SECOND


def test_an_edit_outside_the_triggers_keeps_the_cursor_and_the_next_time():
    current = plan(made([HOURLY]), T0 + HOUR, STORE, open_run=False).schedule
    change = put(current, [HOURLY], now=T0 + HOUR + 10 * MINUTE, timeout="9m", overlap_policy="allow_all")
    kept = ("cursor_at", "next_nominal_at", "effective_at", "created_at")
    assert [getattr(change.schedule, k) for k in kept] == [getattr(current, k) for k in kept]
    assert (change.verb, change.schedule.overlap_policy) == ("updated", "allow_all")


def test_an_edit_ends_a_streak_of_failures():
    current = made(changes={"failure_streak": 4, "permanent_streak": 4, "streak_since_at": T0})
    schedule = put(current, now=T0, timeout="9m").schedule
    assert (schedule.failure_streak, schedule.permanent_streak, schedule.streak_since_at) == (0, 0, None)


def test_a_past_instant_that_stood_there_before_is_not_checked_again():
    current = put(None, [once(T0 + MINUTE), HOURLY], now=T0).schedule
    change = put(current, [once(T0 + MINUTE), MINUTELY], now=T0 + DAY)
    assert change.verb == "updated"
    with pytest.raises(Refused, match="in the past"):
        put(current, [once(T0 + 2 * MINUTE), MINUTELY], now=T0 + DAY)


@pytest.mark.parametrize("allow_past", [False, True])
def test_a_new_instant_that_the_schedule_has_passed_is_refused_as_it_would_never_fire(allow_past):
    current = put(None, [once(T0 + MINUTE)], now=T0).schedule
    current = plan(current, T0 + MINUTE, STORE, open_run=False).schedule
    both = [once(T0 + MINUTE), once(T0 + 40 * SECOND, allow_past=allow_past), HOURLY]
    with pytest.raises(Refused, match=r"triggers\[1\]\.at: .* is not after the schedule's last occurrence"):
        put(current, both, now=T0 + MINUTE + 30 * SECOND)
    assert put(current, [once(T0 + MINUTE), HOURLY], now=T0 + 2 * MINUTE).schedule.next_nominal_at == T0 + HOUR


def test_new_triggers_wake_a_completed_schedule():
    completed = put(None, [once(T0 + MINUTE)], now=T0).schedule._replace(state="completed", next_nominal_at=None)
    schedule = put(completed, [MINUTELY], now=T0 + DAY).schedule
    assert (schedule.state, schedule.next_nominal_at) == ("active", T0 + DAY + MINUTE)


def test_other_edits_leave_a_completed_schedule_completed():
    completed = put(None, [once(T0 + MINUTE)], now=T0).schedule._replace(
        state="completed", cursor_at=T0 + MINUTE, next_nominal_at=None, next_scheduled_at=None
    )
    assert put(completed, [once(T0 + MINUTE)], now=T0 + DAY, timeout="9m").schedule.state == "completed"


@pytest.mark.parametrize(("open_run", "state"), [(False, "completed"), (True, "active")])
def test_triggers_with_nothing_left_complete_a_schedule_once_no_run_is_open(open_run, state):
    current = put(None, [once(T0 + MINUTE), HOURLY], now=T0).schedule
    current = plan(current, T0 + MINUTE, STORE, open_run=False).schedule
    assert put(current, [once(T0 + MINUTE)], now=T0 + 2 * MINUTE, open_run=open_run).schedule.state == state


def test_a_paused_schedule_stays_paused_when_edited():
    paused = pause(made(), T0)
    for triggers in ([HOURLY], [MINUTELY]):
        schedule = put(paused, triggers, now=T0 + MINUTE, timeout="9m").schedule
        assert (schedule.state, schedule.note) == ("paused", "freeze")


def test_new_triggers_heal_a_schedule_in_error():
    broken = made(changes={"state": "error", "error": "boom", "error_count": 9, "triggers": "[{]"})
    schedule = put(broken, [HOURLY], now=T0 + HOUR).schedule
    assert (schedule.state, schedule.error, schedule.error_count) == ("active", None, 0)
    assert schedule.cursor_at == T0 + HOUR


@pytest.mark.parametrize("text", ["{}", '{"version": 99, "definition": {}}', "nonsense"])
def test_a_stored_definition_that_cannot_be_read_can_be_replaced(text):
    change = put(made(changes={"definition": text}), now=T0 + 90 * SECOND)
    assert change.verb == "updated"
    assert load_definition(change.schedule.definition).triggers


def test_what_was_missed_is_no_open_run_for_what_an_edit_catches_up():
    # More than one walk of missed occurrences, then the newest: it runs, for nothing else is open.
    change = put(made(), [HOURLY], now=T0 + 5_000 * MINUTE + 30 * SECOND)
    ledger = Ledger()
    for planned in change.planned:
        ledger.write(planned)
    assert len(change.planned) > 1
    assert [run.missed_count for run in ledger.accepted] == [4_999]
    assert ledger.dropped == {"missed": 4_999}


def test_an_edit_after_a_very_long_absence_asks_to_come_back():
    with pytest.raises(Conflict, match="still being caught up"):
        put(made([SECONDLY]), [HOURLY], now=T0 + 10 * DAY)


def test_an_edit_of_a_schedule_that_cannot_be_planned_records_where_it_stood():
    broken = made(changes={"triggers": "[]", "state": "error"})
    change = put(broken, [HOURLY], now=T0 + 90 * MINUTE)
    [row] = [run for planned in change.planned for run in planned.runs]
    assert (row.nominal_at, row.state, row.reason) == (T0 + MINUTE, "skipped", "error")
    assert change.schedule.state == "active"


def test_after_a_very_long_absence_a_schedule_can_still_be_paused():
    paused = pause(made([SECONDLY]), T0 + 10 * DAY)
    assert (paused.state, paused.next_scheduled_at) == ("paused", paused.next_nominal_at)
    row = plan(paused, T0 + 10 * DAY, STORE, open_run=False).runs[0]
    assert (row.state, row.reason) == ("skipped", "paused")


def test_after_a_very_long_absence_a_schedule_can_still_be_deleted_and_the_rest_is_recorded_as_deleted():
    change = drafts.delete(made([SECONDLY]), "ann", moment(T0 + 4 * DAY), open_run=False)
    ledger = Ledger()
    for planned in change.planned:
        ledger.write(planned)
    schedule = change.schedule
    while schedule.next_scheduled_at is not None:
        schedule = ledger.turn(schedule, T0 + 20 * DAY, open_run=False)
    assert sum(ledger.dropped.values()) == 4 * 86400
    assert set(ledger.dropped) == {"missed", "deleted"}
    assert schedule.deleted_at == T0 + 4 * DAY


# --- pause, resume, delete --------------------------------------------------------------------------------------------


def test_pausing_plans_up_to_now_and_keeps_author_time_and_note():
    change = drafts.pause(made(), "freeze", "ann", moment(T0 + 90 * SECOND), open_run=False)
    paused = change.schedule
    assert [run.state for one in change.planned for run in one.runs] == ["queued"]
    assert (paused.state, paused.note, paused.note_by, paused.note_at) == (
        "paused",
        "freeze",
        "ann",
        T0 + 90 * SECOND,
    )
    assert paused.paused_cursor_at == T0 + MINUTE


def test_pausing_again_renews_the_note_and_keeps_where_the_pause_began():
    paused = pause(made(), T0)
    again = pause(paused, T0 + 10 * MINUTE, "still")
    assert (again.note, again.paused_cursor_at) == ("still", paused.paused_cursor_at)


def test_a_pause_begins_a_range_of_its_own():
    current = made(changes={"skip_reason": "paused", "skip_count": 50, "skip_range_at": T0 - DAY})
    paused = pause(current, T0)
    assert (paused.skip_reason, paused.skip_count, paused.skip_range_at) == (None, 0, None)


def test_a_completed_schedule_can_be_neither_paused_nor_resumed():
    completed = made(changes={"state": "completed", "next_nominal_at": None, "next_scheduled_at": None})
    with pytest.raises(Conflict, match="completed"):
        pause(completed, T0)
    with pytest.raises(Conflict, match="completed"):
        resume(completed, T0)


def test_resuming_does_not_catch_up_unless_asked():
    change = resume(pause(made(), T0), T0 + 10 * MINUTE)
    rows = [run.reason for one in change.planned for run in one.runs]
    assert rows == ["paused"] * 10
    assert (change.schedule.state, change.schedule.next_nominal_at) == ("active", T0 + 11 * MINUTE)
    assert (change.schedule.note, change.schedule.note_by, change.replan_paused_after) == ("", "bob", None)
    assert change.schedule.paused_cursor_at is None


def test_resuming_with_catch_up_lets_the_misfire_policy_decide_about_the_pause():
    change = resume(pause(made(), T0), T0 + 10 * MINUTE + 30 * SECOND, catch_up=True)
    assert change.replan_paused_after == T0
    ledger = Ledger()
    ledger.until(change.schedule, T0 + 12 * MINUTE - 1)
    assert [(run.nominal_at, run.missed_count) for run in ledger.accepted] == [(T0 + 11 * MINUTE, 10)]


def test_a_single_instant_that_fell_into_a_pause_is_caught_up_when_asked():
    paused = pause(put(None, [once(T0 + MINUTE)], now=T0).schedule, T0)
    paused = plan(paused, T0 + 2 * MINUTE, STORE, open_run=False).schedule
    assert resume(paused, T0 + HOUR).schedule.state == "completed"
    resumed = resume(paused, T0 + HOUR, catch_up=True).schedule
    assert [run.state for run in plan(resumed, T0 + HOUR, STORE, open_run=False).runs] == ["queued"]


def test_catching_up_begins_with_the_rule_that_was_put_during_the_pause():
    paused = pause(made(), T0)
    edited = put(paused, [MINUTELY | {"anchor": rfc3339(T0 + 7 * SECOND)}], now=T0 + 10 * MINUTE).schedule
    change = resume(edited, T0 + 12 * MINUTE, catch_up=True)
    assert change.replan_paused_after == T0 + 10 * MINUTE
    assert change.schedule.next_nominal_at == T0 + 10 * MINUTE + 7 * SECOND


def test_resuming_what_is_active_changes_nothing():
    current = made()
    assert resume(current, T0 + HOUR) == Change("unchanged", current, "bob")


def test_what_is_not_paused_has_nothing_to_catch_up():
    with pytest.raises(Conflict, match="not paused"):
        resume(made(), T0 + HOUR, catch_up=True)


def test_resuming_ends_a_streak_of_failures():
    failing = {"failure_streak": 5, "permanent_streak": 5, "streak_since_at": T0}
    schedule = resume(pause(made(changes=failing), T0), T0).schedule
    assert (schedule.failure_streak, schedule.permanent_streak, schedule.streak_since_at) == (0, 0, None)


def test_resuming_a_schedule_in_error_plans_it_at_once():
    broken = made(changes={"state": "error", "error": "boom", "error_count": 9, "next_scheduled_at": T0 + DAY})
    schedule = resume(broken, T0 + 10 * MINUTE).schedule
    assert (schedule.state, schedule.error, schedule.error_count) == ("active", None, 0)
    assert schedule.next_scheduled_at == T0 + MINUTE


def test_resuming_what_cannot_be_planned_is_never_an_accident():
    unreadable = made(changes={"state": "error", "triggers": "[{]"})
    assert resume(unreadable, T0 + HOUR).schedule.state == "active"
    paused = pause(made(), T0)._replace(triggers="[{]")
    with pytest.raises(Conflict, match="cannot be planned"):
        resume(paused, T0 + HOUR, catch_up=True)


def test_deleting_plans_up_to_now_and_never_again():
    change = drafts.delete(made(), "ann", moment(T0 + 90 * SECOND), open_run=False)
    assert [run.nominal_at for one in change.planned for run in one.runs] == [T0 + MINUTE]
    gone = change.schedule
    assert (gone.deleted_at, gone.next_nominal_at, gone.next_scheduled_at) == (T0 + 90 * SECOND, None, None)


def test_a_schedule_that_cannot_be_planned_can_be_paused_and_deleted():
    broken = made(changes={"triggers": "[{]"})
    assert pause(broken, T0 + HOUR).state == "paused"
    assert drafts.delete(broken, "ann", moment(T0 + HOUR), open_run=False).schedule.deleted_at == T0 + HOUR
