"""Bugs that somebody might make, put into the statements of one simulation; the product's own code is not touched."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from backend.engine.plan import plan_all, quarantine
from backend.model.plan import Planned, Standing
from backend.store.queries import load_queries
from backend.store.sqlite.connection import PACKAGE
from tests.simulation.database import Plant


def _without(name: str, *texts: str) -> dict[str, str]:
    """Take texts out of a statement, in which they must stand."""
    return _with(name, dict.fromkeys(texts, ""))


def _with(name: str, changes: dict[str, str]) -> dict[str, str]:
    statement = load_queries(PACKAGE)[name]
    for before, after in changes.items():
        assert before in statement, f"{name} no longer says {before!r}"
        statement = statement.replace(before, after)
    return {name: statement}


def the_cursor_moves_in_a_second_transaction() -> Plant:
    return Plant(deferred="advance_schedules")


def a_result_is_taken_without_its_token() -> Plant:
    return Plant(_without("finish_runs", "and lease_token = :token"))


def the_key_contains_the_revision() -> Plant:
    """The id that a run is sent under follows its ledger key; with the revision in it, it changes between attempts."""
    changed = {"attempt = attempt + 1": "attempt = attempt + 1, id = substr(id, 1, 32) || printf('%04x', revision)"}
    return Plant(_with("claim_runs", changed))


def nobody_lets_the_buffered_go_on() -> Plant:
    return Plant(_with("promote_buffered", {"where key in (": "where false and key in ("}))


def nobody_lets_the_chain_go_on() -> Plant:
    return Plant(_with("promote_held", {"where key in (": "where false and key in ("}))


def a_lease_is_taken_before_it_is_over() -> Plant:
    return Plant(_without("expired_leases", "and r.lease_until < :now"))


def what_may_be_sent_once_is_queued_again() -> Plant:
    return Plant(_with("expired_leases", {"r.delivery": "'at_least_once'"}))


def a_lost_attempt_is_not_counted() -> Plant:
    return Plant(_with("reap_runs", {"losses = :losses": "losses = min(losses, 3)"}))


def a_manual_run_counts_as_an_occurrence() -> Plant:
    trigger = """create trigger planted after insert on runs when new.trigger_type = 'manual'
    begin update schedules set runs_made = runs_made + 1 where key = new.schedule_key; end"""
    return Plant(schema=(trigger,))


def a_schedule_is_completed_while_a_run_is_open() -> Plant:
    return Plant(_with("complete_schedules", {"and not exists": "and true or false and exists"}))


def a_running_run_is_not_open() -> Plant:
    return Plant(_with("claim_due", {"('held', 'queued', 'running', 'retrying')": "('held', 'queued', 'retrying')"}))


def a_success_does_not_end_the_streak() -> Plant:
    return Plant(_with("end_streaks", {"failure_streak > 0": "false"}))


def a_range_row_does_not_grow() -> Plant:
    return Plant(_with("extend_range", {"missed_count + :added": "missed_count"}))


def a_resume_forgets_too_little() -> Plant:
    return Plant(_with("forget_paused", {"nominal_at > :after": "nominal_at > :after + 30000000"}))


def a_cancelled_run_comes_back() -> Plant:
    return Plant(_with("cancel_run", {"'cancelled'": "'queued'"}))


def nobody_asks_whether_the_clock_can_be_right() -> Plant:
    return Plant(unguarded=True)


def the_hour_that_does_not_exist_is_lost() -> Plant:
    def plan(due: Sequence[Standing], now: int, store_id: str) -> list[Planned]:
        kept = [one.schedule.triggers for one in due]
        lost = [_timed(one, one.schedule.triggers.replace('"shift"', '"skip"')) for one in due]
        planned = plan_all(lost, now, store_id)
        return [
            one._replace(schedule=one.schedule._replace(triggers=triggers))
            for one, triggers in zip(planned, kept, strict=False)
        ]

    return Plant(plan=plan)


def _timed(standing: Standing, triggers: str) -> Standing:
    return standing._replace(schedule=standing.schedule._replace(triggers=triggers))


def poison_stops_the_batch() -> Plant:
    def plan(due: Sequence[Standing], now: int, store_id: str) -> list[Planned]:
        planned = plan_all(due, now, store_id)
        for failure in (one.failure for one in planned if one.failure):
            raise ValueError(failure)
        return list(planned)

    return Plant(plan=plan)


def poison_sets_the_whole_batch_aside() -> Plant:
    def plan(due: Sequence[Standing], now: int, store_id: str) -> list[Planned]:
        planned = plan_all(due, now, store_id)
        failure = next((one.failure for one in planned if one.failure), None)
        return [quarantine(one.schedule, now, failure) for one in due] if failure else list(planned)

    return Plant(plan=plan)


PLANTS: tuple[Callable[[], Plant], ...] = (
    the_cursor_moves_in_a_second_transaction,
    a_result_is_taken_without_its_token,
    the_key_contains_the_revision,
    nobody_lets_the_buffered_go_on,
    nobody_lets_the_chain_go_on,
    a_lease_is_taken_before_it_is_over,
    what_may_be_sent_once_is_queued_again,
    a_lost_attempt_is_not_counted,
    a_manual_run_counts_as_an_occurrence,
    a_schedule_is_completed_while_a_run_is_open,
    a_running_run_is_not_open,
    a_success_does_not_end_the_streak,
    a_range_row_does_not_grow,
    a_resume_forgets_too_little,
    a_cancelled_run_comes_back,
    nobody_asks_whether_the_clock_can_be_right,
    the_hour_that_does_not_exist_is_lost,
    poison_stops_the_batch,
    poison_sets_the_whole_batch_aside,
)
