"""Rows for the ledger: a run each, or one row for many in a row that did not run."""

from __future__ import annotations

import pytest

from backend.engine.ledger import SINGLE_ROWS, RowMaker, Rows, SkipStreak
from backend.engine.misfire import Action, Missed, Verdict
from backend.model.instants import DAY, MINUTE, SECOND
from backend.model.policies import Reason
from tests.unit.engine_cases import T0, made

NOW = T0 + 10 * DAY


def maker(**changes) -> RowMaker:
    return RowMaker(made(changes=changes), NOW, lambda nominal_at: f"run-{nominal_at}")


def dropped(count: int, reason: Reason = Reason.MISSED, first: int = T0) -> list[Verdict]:
    return [Verdict(first + n * MINUTE, Action.DROP, reason) for n in range(count)]


def chain(count: int, step: int) -> list[Verdict]:
    return [Verdict(T0 + n * step, Action.CHAIN) for n in range(count)]


def kinds(rows: Rows) -> list[tuple[str, str | None, int]]:
    return [(str(run.state), run.reason, run.missed_count) for run in rows.runs]


def test_a_run_is_queued_at_once_under_its_own_nominal_time():
    [run] = maker().rows([Verdict(T0, Action.RUN)], NOW + MINUTE).runs
    assert (run.state, run.reason, run.nominal_at, run.scheduled_at) == ("queued", None, T0, T0)
    assert (run.queued_at, run.available_at, run.finished_at) == (NOW, NOW, None)
    assert (run.id, run.backfill_id, run.trigger_type, run.chained) == (f"run-{T0}", "", "schedule", 0)


def test_a_run_carries_what_was_missed():
    [run] = maker().rows([Verdict(T0, Action.RUN, missed=Missed(3, 1, 2))], None).runs
    assert (run.missed_count, run.missed_first_at, run.missed_last_at) == (3, 1, 2)


@pytest.mark.parametrize(
    ("following", "until"),
    [(NOW + MINUTE, NOW + MINUTE), (NOW + DAY, NOW + DAY), (NOW + 3 * DAY, NOW + DAY), (None, NOW + DAY)],
)
def test_retries_end_at_the_next_nominal_time_and_after_a_day_at_the_latest(following, until):
    assert maker().rows([Verdict(T0, Action.RUN)], following).runs[0].retry_until_at == until


def test_retries_of_a_run_end_at_the_next_one_planned_with_it():
    pair = [Verdict(NOW - MINUTE, Action.RUN), Verdict(NOW, Action.RUN)]
    assert [run.retry_until_at for run in maker().rows(pair, NOW + MINUTE).runs] == [NOW, NOW + MINUTE]


@pytest.mark.parametrize(
    ("step", "spacing"),
    [(3600 * SECOND, SECOND), (2 * SECOND, SECOND), (SECOND, SECOND // 2), (SECOND * 3 // 2, SECOND * 3 // 4)],
)
def test_a_chain_is_spread_at_one_a_second_but_never_slower_than_twice_its_own_rate(step, spacing):
    runs = maker().rows(chain(4, step), None).runs
    assert [run.available_at - NOW for run in runs] == [0, spacing, 2 * spacing, 3 * spacing]
    assert {run.state for run in runs} == {"held"}
    assert {run.chained for run in runs} == {1}


def test_a_chain_of_one_runs_at_once():
    assert maker().rows(chain(1, MINUTE), None).runs[0].available_at == NOW


def test_members_of_a_chain_may_be_retried_although_the_next_nominal_time_has_come():
    assert {run.retry_until_at for run in maker().rows(chain(3, MINUTE), NOW + 1).runs} == {NOW + DAY}


def test_what_runs_on_time_beside_a_chain_does_not_wait_for_it():
    rows = maker().rows([*chain(3, MINUTE), Verdict(T0 + 3 * MINUTE, Action.RUN)], None)
    assert (rows.runs[-1].state, rows.runs[-1].available_at) == ("queued", NOW)


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        ("missed", "missed"),
        ("cap", "missed"),
        ("catchup_window", "missed"),
        ("paused", "skipped"),
        ("overlap", "skipped"),
    ],
)
def test_what_does_not_run_is_recorded_with_its_reason(reason, state):
    rows = maker().rows(dropped(1, Reason(reason)), None)
    assert kinds(rows) == [(state, reason, 0)]
    assert rows.runs[0].finished_at == NOW


def test_twenty_in_a_row_are_single_rows_and_one_more_makes_a_range():
    assert len(maker().rows(dropped(SINGLE_ROWS), None).runs) == 20
    rows = maker().rows(dropped(SINGLE_ROWS + 1), None)
    assert kinds(rows) == [("missed", "missed", 21)]
    assert (rows.runs[0].missed_first_at, rows.runs[0].missed_last_at) == (T0, T0 + 20 * MINUTE)
    assert rows.streak == SkipStreak("missed", 21, T0)


def test_singles_of_earlier_turns_count_before_a_range_begins():
    rows = maker(skip_reason="missed", skip_count=20).rows(dropped(1), None)
    assert kinds(rows) == [("missed", "missed", 1)]
    assert rows.streak == SkipStreak("missed", 21, T0)


def test_an_open_range_is_extended_and_no_row_is_added():
    rows = maker(skip_reason="missed", skip_count=30, skip_range_at=5).rows(dropped(3), None)
    assert rows.runs == []
    assert rows.extension == (7, 5, 3, T0 + 2 * MINUTE)
    assert rows.streak == SkipStreak("missed", 33, 5)


def test_another_reason_begins_anew():
    rows = maker(skip_reason="missed", skip_count=30, skip_range_at=5).rows(dropped(2, Reason.OVERLAP), None)
    assert kinds(rows) == [("skipped", "overlap", 0)] * 2
    assert rows.extension is None
    assert rows.streak == SkipStreak("overlap", 2, None)


def test_a_run_ends_the_row_of_skips_and_what_follows_begins_anew():
    verdicts = [*dropped(2), Verdict(T0 + 2 * MINUTE, Action.RUN), *dropped(1, Reason.OVERLAP, T0 + 3 * MINUTE)]
    rows = maker(skip_reason="missed", skip_count=30, skip_range_at=5).rows(verdicts, None)
    assert rows.extension == (7, 5, 2, T0 + MINUTE)
    assert [run.state for run in rows.runs] == ["queued", "skipped"]
    assert rows.streak == SkipStreak("overlap", 1, None)


def test_a_turn_without_occurrences_leaves_the_streak_alone():
    rows = maker(skip_reason="paused", skip_count=30, skip_range_at=5).rows([], None)
    assert rows == ([], None, SkipStreak("paused", 30, 5))
