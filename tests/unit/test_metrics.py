from __future__ import annotations

from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from backend import events
from backend.observe.metrics import Metrics


def attempt(*, number: int = 1, outcome: str = "succeeded", lateness: int = 250_000) -> events.AttemptFinished:
    return events.AttemptFinished(
        namespace="default",
        schedule_id="digest",
        run_id="run-1",
        attempt=number,
        target="http",
        outcome=outcome,
        run_state=outcome,
        error=None,
        nominal_at=1_000_000,
        scheduled_at=1_000_000,
        started_at=1_000_000 + lateness,
        finished_at=3_000_000 + lateness,
    )


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Index by name and label values, the labels in alphabetical order, as they are written."""
    text, _ = metrics.render()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_runs_and_dropped_occurrences_are_counted_and_the_turn_is_timed():
    metrics = Metrics()
    metrics.observe(events.OccurrencesRecorded(schedules=3, runs=2, dropped=5, milliseconds=40))
    metrics.observe(events.OccurrencesRecorded(schedules=1, runs=1, dropped=0, milliseconds=60))
    found = samples(metrics)
    assert found["scheduler_runs_recorded_total",] == 3
    assert found["scheduler_occurrences_dropped_total",] == 5
    assert found["scheduler_turn_seconds_count",] == 2
    assert abs(found["scheduler_turn_seconds_sum",] - 0.1) < 1e-9


def test_attempts_are_counted_by_target_and_outcome_and_timed():
    metrics = Metrics()
    for outcome in ("succeeded", "failed", "succeeded"):
        metrics.observe(attempt(outcome=outcome))
    found = samples(metrics)
    assert found["scheduler_attempts_total", "succeeded", "http"] == 2
    assert found["scheduler_attempts_total", "failed", "http"] == 1
    assert found["scheduler_attempt_seconds_sum", "http"] == 6


def test_only_a_first_attempt_has_a_lateness():
    metrics = Metrics()
    metrics.observe(attempt(number=1, lateness=250_000))
    metrics.observe(attempt(number=2, lateness=60_000_000))
    found = samples(metrics)
    assert found["scheduler_run_lateness_seconds_count",] == 1
    assert found["scheduler_run_lateness_seconds_sum",] == 0.25


def test_a_clock_that_stepped_back_gives_no_negative_lateness():
    metrics = Metrics()
    metrics.observe(attempt(lateness=-500_000))
    assert samples(metrics)["scheduler_run_lateness_seconds_sum",] == 0


def test_what_goes_wrong_is_counted():
    metrics = Metrics()
    metrics.observe(events.LeaseLost("run-1", 1, "worker-1"))
    metrics.observe(events.AttemptsReaped(requeued=3, dead=1))
    metrics.observe(events.ScheduleQuarantined("default", "digest", "boom", 0))
    metrics.observe(events.SchedulePaused("default", "digest", "10 failures"))
    metrics.observe(events.LoopFailed("engine", "boom", ""))
    for _ in range(50):
        metrics.observe(events.LoopFailed("engine", "no answer", reason=events.LoopFailure.DATABASE))
    found = samples(metrics)
    assert found["scheduler_lease_lost_total",] == 1
    assert found["scheduler_attempts_reaped_total", "requeued"] == 3
    assert found["scheduler_attempts_reaped_total", "dead"] == 1
    assert found["scheduler_schedules_quarantined_total",] == 1
    assert found["scheduler_schedules_auto_paused_total",] == 1
    assert found["scheduler_loop_failures_total", "engine", "defect"] == 1
    assert found["scheduler_loop_failures_total", "engine", "database"] == 50


def test_a_fact_that_no_metric_is_about_changes_nothing():
    metrics = Metrics()

    def ours() -> dict[tuple[str, ...], float]:
        return {key: value for key, value in samples(metrics).items() if key[0].startswith("scheduler_")}

    before = ours()
    metrics.observe(events.RunsClaimed("worker-1", 3))
    metrics.observe(events.ProcessDraining("Scheduler", "SIGTERM"))
    assert ours() == before


def test_the_backlog_is_what_it_was_last_told():
    metrics = Metrics()
    metrics.set_backlog(
        due=7, age_seconds=1.5, open_runs={"queued": 4, "running": 2}, schedules={"active": 9, "error": 1}
    )
    metrics.set_backlog(due=1, age_seconds=-1, open_runs={"running": 2}, schedules={"active": 10})
    found = samples(metrics)
    assert found["scheduler_due_backlog",] == 1
    assert found["scheduler_due_backlog_age_seconds",] == 0
    assert found["scheduler_open_runs", "running"] == 2
    assert found["scheduler_open_runs", "queued"] == 0
    assert found["scheduler_open_runs", "held"] == 0
    assert found["scheduler_schedules", "active"] == 10
    assert ("scheduler_schedules", "error") not in found


def test_no_label_names_a_schedule_or_a_run():
    metrics = Metrics()
    metrics.observe(attempt())
    metrics.observe(events.LeaseLost("run-1", 1, "worker-1"))
    text, _ = metrics.render()
    for name in (b"digest", b"run-1", b"worker-1"):
        assert name not in text


def test_two_servers_in_one_process_count_apart_and_nothing_is_global():
    first, second = Metrics(), Metrics()
    first.observe(attempt())
    assert ("scheduler_attempts_total", "succeeded", "http") not in samples(second)
    assert not any(family.name.startswith("scheduler") for family in REGISTRY.collect())


def test_the_process_itself_is_measured_and_the_format_is_named():
    text, content_type = Metrics().render()
    assert b"process_resident_memory_bytes" in text
    assert content_type.startswith("text/plain")


def test_workers_are_told_by_what_they_do_also_where_there_are_none():
    metrics = Metrics()
    metrics.set_workers({"working": 2, "silent": 1})
    found = samples(metrics)
    assert [found["scheduler_workers", state] for state in ("working", "draining", "silent")] == [2, 0, 1]
