"""Planning one schedule from its cursor to now: what product.md's tables say, through the whole pure engine."""

from __future__ import annotations

from itertools import pairwise

import pytest

from backend.engine.due import RESERVE, WALK
from backend.engine.misfire import CATCH_UP_CAP
from backend.engine.plan import TURN, plan, plan_all, quarantine
from backend.model.instants import DAY, MINUTE, SECOND
from backend.model.plan import Standing
from tests.unit.engine_cases import MINUTELY, SECONDLY, STORE, T0, Ledger, at, made

HOUR = 60 * MINUTE
YEAR = 365 * DAY
ONCE = {"kind": "once", "at": "2026-03-02T09:30:00Z"}


def test_a_schedule_on_time_runs_and_waits_for_its_next_time():
    planned = plan(made(), T0 + MINUTE, STORE, open_run=False)
    assert [run.nominal_at for run in planned.runs] == [T0 + MINUTE]
    assert planned.schedule.cursor_at == T0 + MINUTE
    assert planned.schedule.next_nominal_at == planned.schedule.next_scheduled_at == T0 + 2 * MINUTE
    assert (planned.extension, planned.failure) == (None, None)


def test_planning_twice_from_the_same_cursor_names_the_same_runs():
    stale = made()
    first, second = (plan(stale, T0 + MINUTE, STORE, open_run=False) for _ in range(2))
    assert [run.id for run in first.runs] == [run.id for run in second.runs]


def test_a_deleted_schedule_and_its_successor_have_different_runs():
    ids = [
        plan(made(changes=changes), T0 + MINUTE, STORE, open_run=False).runs[0].id
        for changes in ({}, {"key": 8}, {"created_at": T0 - 1})
    ]
    assert len(set(ids)) == 3


def test_an_hour_off_under_fire_once_runs_the_occurrence_on_time_and_reports_the_others():
    ledger = Ledger()
    ledger.turn(made(), T0 + HOUR)
    # The last is on time; so is the one exactly 60 s late, and it comes first and stays alone under `skip`.
    [run] = ledger.accepted
    assert run.nominal_at == T0 + 59 * MINUTE
    assert (run.missed_count, run.missed_first_at, run.missed_last_at) == (58, T0 + MINUTE, T0 + 58 * MINUTE)
    assert ledger.dropped == {"missed": 58, "overlap": 1}


def test_an_hour_off_under_fire_once_runs_the_newest_when_none_is_on_time():
    ledger = Ledger()
    ledger.turn(made([{"kind": "interval", "every": "10m"}]), T0 + HOUR + 5 * MINUTE)
    [run] = ledger.accepted
    assert run.nominal_at == T0 + HOUR
    assert (run.missed_count, run.missed_first_at, run.missed_last_at) == (5, T0 + 10 * MINUTE, T0 + 50 * MINUTE)
    assert ledger.dropped == {"missed": 5}


def test_an_hour_off_under_skip_runs_only_what_is_on_time():
    ledger = Ledger()
    ledger.turn(made([{"kind": "interval", "every": "10m"}], misfire_policy="skip"), T0 + HOUR + 5 * MINUTE)
    assert ledger.accepted == []
    assert ledger.dropped == {"missed": 6}


def test_an_hour_off_under_fire_all_runs_everything_in_a_chain():
    ledger = Ledger()
    ledger.turn(made(misfire_policy="fire_all"), T0 + HOUR)
    assert [run.nominal_at for run in ledger.accepted] == [T0 + n * MINUTE for n in range(1, 61)]
    assert {(run.state, run.chained) for run in ledger.accepted} == {("held", 1)}
    assert [run.available_at - T0 - HOUR for run in ledger.accepted] == [n * SECOND for n in range(60)]


def test_fire_all_runs_a_thousand_of_an_absence_however_many_walks_it_takes():
    ledger = Ledger()
    now = T0 + 3 * WALK * MINUTE + 2 * MINUTE
    ledger.until(made(misfire_policy="fire_all", overlap_policy="allow_all"), now)
    late = [run for run in ledger.accepted if run.chained]
    assert len(late) == 1_000
    assert late[-1].nominal_at == now - 2 * MINUTE
    assert [b.nominal_at - a.nominal_at for a, b in pairwise(late)] == [MINUTE] * 999
    assert ledger.dropped == {"cap": 3 * WALK - 1_000}


def test_fire_once_reports_an_absence_of_many_walks_in_one_run():
    ledger = Ledger()
    schedule = ledger.until(made(), T0 + 10_000 * MINUTE + 90 * SECOND)
    [run] = ledger.accepted
    assert run.nominal_at == T0 + 10_000 * MINUTE + MINUTE
    assert (run.missed_count, run.missed_first_at) == (10_000, T0 + MINUTE)
    assert run.missed_last_at == T0 + 10_000 * MINUTE
    assert ledger.dropped == {"missed": 10_000}
    assert len(ledger.rows) == 2
    assert (schedule.missed_count, schedule.missed_first_at) == (0, None)


def test_missed_occurrences_are_reported_once_also_when_the_walk_ends_among_those_on_time():
    ledger = Ledger()
    late, on_time = 500, WALK + 200
    schedule = made([SECONDLY], misfire_threshold=on_time - 1, overlap_policy="allow_all")
    ledger.until(schedule, T0 + (late + on_time) * SECOND)
    assert [run.missed_count for run in ledger.accepted if run.missed_count] == [late]
    assert len(ledger.accepted) == on_time
    assert ledger.dropped == {"missed": late}


def test_a_per_second_schedule_off_for_a_year_is_walked_in_bounded_steps():
    schedule, ledger = made([SECONDLY]), Ledger()
    for _ in range(5):
        before = schedule.cursor_at
        schedule = ledger.turn(schedule, T0 + YEAR)
        assert 0 < schedule.cursor_at - before <= WALK * SECOND
        assert schedule.next_scheduled_at is not None
        assert schedule.next_scheduled_at <= T0 + YEAR, "the next turn goes on at once"
    assert len(ledger.rows) == 1, "one range row, extended by every walk"


def test_what_is_older_than_the_catch_up_window_is_recorded_and_never_runs():
    ledger = Ledger()
    ledger.turn(made(catchup_window="10m"), T0 + HOUR + 30 * SECOND)
    assert ledger.dropped == {"catchup_window": 50, "missed": 9}
    assert [run.missed_count for run in ledger.accepted] == [9]


def test_while_a_run_is_open_occurrences_are_skipped_with_their_reason():
    ledger = Ledger()
    schedule = ledger.turn(made(), T0 + MINUTE)
    schedule = ledger.turn(schedule, T0 + 2 * MINUTE)
    assert ledger.dropped == {"overlap": 1}
    assert schedule.cursor_at == T0 + 2 * MINUTE


def test_allow_all_runs_beside_an_open_run():
    planned = plan(made(overlap_policy="allow_all"), T0 + MINUTE, STORE, open_run=True)
    assert [run.state for run in planned.runs] == ["queued"]


def test_a_paused_schedule_records_what_it_skips_and_moves_on():
    ledger = Ledger()
    schedule = ledger.turn(made(changes={"state": "paused"}), T0 + 5 * MINUTE)
    assert ledger.dropped == {"paused": 5}
    assert (schedule.state, schedule.cursor_at) == ("paused", T0 + 5 * MINUTE)


def test_a_single_instant_that_fell_into_a_pause_leaves_the_schedule_paused():
    ledger = Ledger()
    schedule = ledger.turn(made([ONCE], changes={"state": "paused"}), at("10:00:00"))
    assert ledger.dropped == {"paused": 1}
    assert (schedule.state, schedule.next_nominal_at) == ("paused", None)


def test_a_single_instant_stays_active_until_its_run_has_ended():
    schedule = plan(made([ONCE]), at("09:30:00"), STORE, open_run=False).schedule
    assert (schedule.state, schedule.next_nominal_at, schedule.next_scheduled_at) == ("active", None, None)


def test_a_single_instant_that_does_not_run_completes_the_schedule():
    planned = plan(made([ONCE], misfire_policy="skip"), at("11:00:00"), STORE, open_run=False)
    assert planned.schedule.state == "completed"
    assert planned.runs[0].reason == "missed"


def test_a_clock_that_went_back_plans_nothing_and_moves_nothing():
    schedule = plan(made(), T0 + 5 * MINUTE, STORE, open_run=False).schedule
    again = plan(schedule, T0 + MINUTE, STORE, open_run=False)
    assert (again.runs, again.schedule) == ([], schedule)


def test_a_schedule_that_cannot_be_planned_is_set_aside_and_its_neighbours_never_notice():
    broken = made(changes={"key": 1, "triggers": "[{]"})
    sound = made(changes={"key": 2})
    first, second, third = plan_all([Standing(one, False, 0) for one in (sound, broken, sound)], T0 + MINUTE, STORE)
    assert first == third
    assert len(first.runs) == 1
    assert (second.schedule.state, second.runs, second.extension) == ("error", (), None)
    assert second.failure is not None
    assert second.schedule.error == second.failure
    assert second.schedule.cursor_at == broken.cursor_at
    assert second.schedule.next_nominal_at == broken.next_nominal_at


@pytest.mark.parametrize(
    ("errors", "wait"), [(0, 10), (1, 20), (5, 320), (9, 3600), (20, 3600), (21, 3600), (5_000, 3600)]
)
def test_the_back_off_of_a_poison_schedule_grows_to_an_hour(errors, wait):
    planned = quarantine(made(changes={"error_count": errors}), T0, "boom")
    assert planned.schedule.next_scheduled_at == T0 + wait * SECOND
    assert planned.schedule.error_count == errors + 1


def test_a_paused_schedule_that_cannot_be_planned_stays_paused():
    planned = quarantine(made(changes={"state": "paused"}), T0, "x" * 900)
    assert planned.schedule.state == "paused"
    assert planned.schedule.error == "x" * 500


def test_a_schedule_that_can_be_planned_again_is_active_and_its_error_forgotten():
    healed = made(changes={"state": "error", "error": "boom", "error_count": 12})
    schedule = plan(healed, T0 + MINUTE, STORE, open_run=False).schedule
    assert (schedule.state, schedule.error, schedule.error_count) == ("active", None, 0)


def test_planning_changes_no_column_that_a_person_writes():
    schedule = made()
    after = plan(schedule, T0 + 90 * MINUTE, STORE, open_run=False).schedule
    moved = {name for name in schedule._fields if getattr(schedule, name) != getattr(after, name)}
    assert moved == {"cursor_at", "next_nominal_at", "next_scheduled_at", "skip_reason", "skip_count", "runs_made"}


@pytest.mark.parametrize("expression", ["30 1 * * *", "0 0 * * *", "*/7 * * * *"])
def test_a_day_with_a_repeated_hour_is_planned_without_doubles(expression):
    trigger = {"kind": "cron", "expression": expression, "timezone": "Europe/London", "dst_overlap": "both"}
    schedule = made([trigger], now=at("09:00:00"), overlap_policy="allow_all", misfire_threshold="30d")
    ledger = Ledger()
    start = schedule.cursor_at
    schedule = ledger.until(schedule, start + 300 * DAY)
    assert schedule.cursor_at <= start + 300 * DAY < (schedule.next_nominal_at or 0)


def test_the_bounds_of_a_walk_are_those_that_the_cap_rests_on():
    # What a walk leaves to the next one fills the cap by itself when it is late.
    assert RESERVE >= CATCH_UP_CAP
    assert WALK > RESERVE


def test_two_minutely_rules_in_one_schedule_run_once_per_minute():
    both = made([MINUTELY, {"kind": "cron", "expression": "* * * * *"}], overlap_policy="allow_all")
    ledger = Ledger()
    ledger.turn(both, T0 + MINUTE)
    assert len(ledger.rows) == 1


def test_a_turn_stops_after_so_many_instants_and_leaves_the_rest_due():
    away = [Standing(made([SECONDLY], changes={"key": n}), False, 0) for n in range(10)]
    planned = plan_all(away, T0 + DAY, STORE)
    assert [one.schedule.key for one in planned] == [0, 1]
    assert sum(one.walked for one in planned) <= TURN + WALK
    minutely = [Standing(made(changes={"key": n}), False, 0) for n in range(1000)]
    assert len(plan_all(minutely, T0 + MINUTE, STORE)) == 1000


ODD_SECONDS = {"kind": "cron", "expression": "1-59/2 * * * * *"}
NEARLY_ALL = [
    {"kind": "cron", "expression": "1-59/2 * */2 * * *"},
    {"kind": "cron", "expression": "1-59/2 0-58 1-23/2 * * *"},
    {"kind": "cron", "expression": "1-57/2 59 1-23/2 * * *"},
]


def test_a_turn_stops_after_so_many_questions_although_they_find_few_instants():
    costly = made([ODD_SECONDS], exclusions=NEARLY_ALL)
    due = costly.next_nominal_at
    assert due is not None
    away = [Standing(costly._replace(key=n), False, 0) for n in range(100)]
    planned = plan_all(away, due, STORE)
    assert 1 <= len(planned) < 20
    assert all(one.runs for one in planned)


def test_a_turn_stops_after_a_schedule_that_asked_as_much_as_a_walk_may(monkeypatch):
    monkeypatch.setattr("backend.engine.due.MOST_ASKED_IN_WALK", 50)
    costly = [Standing(made([SECONDLY], changes={"key": n}), False, 0) for n in range(3)]
    [planned] = plan_all(costly, T0 + DAY, STORE)
    assert planned.schedule.state == "error"
    assert "too long" in (planned.failure or "")


def test_what_was_missed_is_reported_by_the_next_run_also_when_overlap_dropped_the_one_chosen():
    schedule = made()
    first = plan(schedule, T0 + 60 * MINUTE, STORE, open_run=True)
    assert all(run.state in {"missed", "skipped"} for run in first.runs)
    second = plan(first.schedule, T0 + 61 * MINUTE, STORE, open_run=False)
    [run] = second.runs
    assert (run.missed_count, run.missed_first_at, run.missed_last_at) == (58, T0 + MINUTE, T0 + 58 * MINUTE)
    assert plan(second.schedule, T0 + 62 * MINUTE, STORE, open_run=False).runs[0].missed_count == 0
