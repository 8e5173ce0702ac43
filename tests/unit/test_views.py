"""What callers see of schedules and runs, and the runs that a person makes."""

from __future__ import annotations

import pytest

from backend.model.instants import DAY, MINUTE, SECOND
from backend.service.runs import _beside_the_rule
from backend.service.views import ScheduleView, run_view, schedule_view
from backend.store.runs import AttemptRow, RunRecord, RunRow
from backend.store.schedules import LastRun, Listed
from tests.unit.engine_cases import T0, made

RUN = RunRow(
    key=1,
    id="run-1",
    schedule_id="digest",
    namespace="default",
    nominal_at=T0,
    backfill_id="",
    trigger_type="schedule",
    state="running",
    reason=None,
    scheduled_at=T0,
    queued_at=T0,
    available_at=T0,
    started_at=T0 + SECOND,
    finished_at=None,
    attempt=2,
    losses=0,
    attempt_started_at=T0 + 2 * SECOND,
    worker="w1",
    missed_count=2,
    missed_first_at=T0 - 2 * MINUTE,
    missed_last_at=T0 - MINUTE,
    input='{"a":1}',
    revision=1,
    error=None,
    schedule_key=7,
    lease_until=T0,
)
FAILED = AttemptRow(1, 1, "failed", T0 + SECOND, T0 + SECOND, "w1", "503", 503, "oops", 1)


def test_a_schedule_is_shown_with_its_definition_and_its_state():
    shown = schedule_view(Listed(made(tags={"team": "growth"}), None))
    assert set(ScheduleView.model_fields) <= set(shown), "what the documentation promises"
    assert (shown["id"], shown["state"], shown["revision"], shown["tags"]) == (
        "digest",
        "active",
        1,
        {"team": "growth"},
    )
    assert shown["next_nominal_time"] == shown["next_scheduled_time"] == "2026-03-02T09:01:00Z"
    assert shown["triggers"][0]["anchor"] == "2026-03-02T09:00:00Z"
    assert shown["last_run"] is None


def test_a_schedule_is_told_in_words_and_with_its_warnings():
    uneven = {"kind": "cron", "expression": "*/45 * * * *"}
    shown = schedule_view(Listed(made([uneven], exclusions=[{"kind": "date", "date": "2026-12-25"}]), None))
    assert shown["description"] == "at minutes 0 and 45 of every hour (UTC); except 2026-12-25 (UTC)"
    assert [text.partition(":")[0] for text in shown["warnings"]] == ["*/45 is uneven"]
    hashed = schedule_view(Listed(made([{"kind": "cron", "expression": "H 7 * * *"}]), None))
    assert hashed["description"].startswith("at 07:")
    assert schedule_view(Listed(made(changes={"triggers": '[{"kind":"moon"}]'}), None))["description"] == ""


@pytest.mark.parametrize("state", ["paused", "completed", "error"])
def test_a_schedule_that_will_not_fire_promises_no_next_time(state):
    shown = schedule_view(Listed(made(changes={"state": state, "error": "boom"}), None))
    assert (shown["next_nominal_time"], shown["next_scheduled_time"]) == (None, None)


def test_the_last_run_is_shown():
    shown = schedule_view(Listed(made(), LastRun(7, "run-1", "failed", T0)))
    assert shown["last_run"] == {"id": "run-1", "state": "failed", "nominal_time": "2026-03-02T09:00:00Z"}


def test_a_definition_of_another_version_is_no_obstacle_to_being_shown():
    assert schedule_view(Listed(made(changes={"definition": '{"version":99}'}), None))["id"] == "digest"


def test_a_running_run_shows_the_attempt_that_is_going_on():
    shown = run_view(RunRecord(RUN, [FAILED]))
    assert [(a.number, a.state, a.finished_at is None) for a in shown.attempts] == [
        (1, "failed", False),
        (2, "running", True),
    ]
    assert (shown.output, shown.output_truncated, shown.input) == ("oops", True, {"a": 1})
    assert (shown.missed.count, shown.missed.first, shown.missed.last) == (
        2,
        "2026-03-02T08:58:00Z",
        "2026-03-02T08:59:00Z",
    )


def test_a_run_that_waits_shows_no_attempt():
    waiting = RUN._replace(state="queued", attempt=0, attempt_started_at=None, started_at=None, input=None)
    shown = run_view(RunRecord(waiting, ()))
    assert (shown.attempts, shown.output, shown.input, shown.started_at) == ([], None, None, None)


@pytest.mark.parametrize(
    ("next_nominal_at", "until"),
    [
        (T0 + MINUTE, T0 + MINUTE),
        (T0 + 3 * DAY, T0 + DAY),
        (None, T0 + DAY),
        (T0, T0 + DAY),
        (T0 - 5 * MINUTE, T0 + DAY),
    ],
)
def test_a_run_on_request_is_retried_until_the_next_time_to_come(next_nominal_at, until):
    schedule = made(changes={"next_nominal_at": next_nominal_at})
    run = _beside_the_rule(schedule, "run-1", T0, T0)
    assert (run.retry_until_at, run.state, run.revision) == (until, "queued", 1)
