"""Metrics of one process, made from facts. No label is per schedule, so their number stays bounded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from backend import events
from backend.clock import Clock, SystemClock
from backend.errors import StoreUnavailable
from backend.model.instants import SECOND
from backend.model.run import FINAL_STATES, RunState

LATENESS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)
ATTEMPT_BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600)
TURN_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


STORE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 20)
UNKNOWN = math.nan


class Metrics:
    """Counts facts, and is told the backlog just before it is scraped. It has a registry of its own."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._counters()
        self._histograms()
        self._gauges()
        self._attempts: dict[tuple[str, str], Counter] = {}
        self._durations: dict[str, Histogram] = {}
        self._observers: dict[type[events.Fact], Callable[[Any], None]] = {
            events.OccurrencesRecorded: self._occurrences_recorded,
            events.AttemptFinished: self._attempt_finished,
            events.LeaseLost: lambda _: self._leases_lost.inc(),
            events.AttemptsReaped: self._attempts_reaped,
            events.ScheduleQuarantined: lambda _: self._quarantined.inc(),
            events.OverlapStreak: lambda _: self._overlap_streaks.inc(),
            events.SchedulePaused: lambda _: self._auto_paused.inc(),
            events.LedgerAudited: self._ledger_audited,
            events.ClockHeld: lambda fact: self._clock_ahead.set(fact.ahead_seconds),
            events.ClockTrusted: lambda _: self._clock_ahead.set(0),
            events.LoopFailed: lambda fact: self._loop_failures.labels(fact.loop).inc(),
        }

    def observe(self, fact: events.Fact) -> None:
        """Count a fact; facts that no metric is about are ignored."""
        observer = self._observers.get(type(fact))
        if observer is not None:
            observer(fact)

    def set_backlog(
        self, *, due: int, age_seconds: float, open_runs: Mapping[str, int], schedules: Mapping[str, int]
    ) -> None:
        """Take over what the database says: due and unplanned schedules, the oldest one's age, and counts by state."""
        self._database_up.set(1)
        self._due.set(due)
        self._due_age.set(max(age_seconds, 0))
        _replace(self._open_runs, dict.fromkeys(frozenset(RunState) - FINAL_STATES, 0) | dict(open_runs))
        _replace(self._schedules, dict(schedules))

    def set_workers(self, counts: Mapping[str, int]) -> None:
        """Take over how many workers the database knows, by what they are doing."""
        _replace(self._workers, dict.fromkeys(("working", "draining", "silent"), 0) | dict(counts))

    def forget_database(self) -> None:
        """Note that the database does not answer, and that so nobody knows what waits."""
        self._database_up.set(0)
        self._due.set(UNKNOWN)
        self._due_age.set(UNKNOWN)
        for gauge in (self._open_runs, self._schedules, self._workers):
            gauge.clear()

    def set_silence(self, seconds: Mapping[str, float]) -> None:
        """Take over how long ago each loop's last turn ended."""
        _replace(self._silence, seconds)

    def set_free(self, size: int) -> None:
        """Take over how many bytes are free under the data."""
        self._free.set(size)

    def set_wal(self, size: int) -> None:
        """Take over how many bytes SQLite's write-ahead log holds."""
        self._wal.set(size)

    @contextmanager
    def stopwatch(self, access: str) -> Iterator[None]:
        """Measure one operation of the store, and count it if the store was away."""
        began = self._clock.monotonic()
        try:
            yield
        except StoreUnavailable:
            self._store_away[access].inc()
            raise
        finally:
            self._store[access].observe(self._clock.monotonic() - began)

    def render(self) -> tuple[bytes, str]:
        """Write all metrics in Prometheus' text format, with its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def _counters(self) -> None:
        registry = self.registry
        self._runs = Counter("scheduler_runs_recorded", "Runs written by the engine.", registry=registry)
        self._dropped = Counter(
            "scheduler_occurrences_dropped", "Occurrences recorded as not run, with a reason.", registry=registry
        )
        self._attempts_family = Counter(
            "scheduler_attempts", "Attempts that ended.", ["target", "outcome"], registry=registry
        )
        self._leases_lost = Counter(
            "scheduler_lease_lost", "Results refused because the lease had passed on.", registry=registry
        )
        reaped = Counter(
            "scheduler_attempts_reaped", "Attempts taken from silent workers.", ["result"], registry=registry
        )
        self._requeued, self._dead = reaped.labels("requeued"), reaped.labels("dead")
        self._quarantined = Counter(
            "scheduler_schedules_quarantined", "Schedules whose planning raised.", registry=registry
        )
        self._overlap_streaks = Counter(
            "scheduler_overlap_streaks", "Times that overlap skipped three occurrences in a row.", registry=registry
        )
        self._auto_paused = Counter(
            "scheduler_schedules_auto_paused", "Schedules that paused themselves after failures.", registry=registry
        )
        away = Counter(
            "scheduler_store_unavailable", "Operations that the database did not answer.", ["access"], registry=registry
        )
        self._store_away = {access: away.labels(access) for access in ("read", "write")}
        self._audits = Counter("scheduler_audits", "Audits of all ledgers that were completed.", registry=registry)
        self._loop_failures = Counter(
            "scheduler_loop_failures", "Turns of a loop that raised.", ["loop"], registry=registry
        )

    def _histograms(self) -> None:
        self._lateness = Histogram(
            "scheduler_run_lateness_seconds",
            "From the scheduled time to the start of the first attempt.",
            buckets=LATENESS_BUCKETS,
            registry=self.registry,
        )
        self._durations_family = Histogram(
            "scheduler_attempt_seconds",
            "Length of attempts.",
            ["target"],
            buckets=ATTEMPT_BUCKETS,
            registry=self.registry,
        )
        store = Histogram(
            "scheduler_store_seconds",
            "Length of operations on the database, waiting included.",
            ["access"],
            buckets=STORE_BUCKETS,
            registry=self.registry,
        )
        self._store = {access: store.labels(access) for access in ("read", "write")}
        self._turns = Histogram(
            "scheduler_turn_seconds",
            "Length of the engine's turns that wrote something.",
            buckets=TURN_BUCKETS,
            registry=self.registry,
        )

    def _gauges(self) -> None:
        registry = self.registry
        self._server_gauges(registry)
        self._due = Gauge("scheduler_due_backlog", "Schedules that are due and not yet planned.", registry=registry)
        self._due_age = Gauge("scheduler_due_backlog_age_seconds", "Age of the oldest of them.", registry=registry)
        self._open_runs = Gauge("scheduler_open_runs", "Runs that have not ended.", ["state"], registry=registry)
        self._schedules = Gauge("scheduler_schedules", "Schedules.", ["state"], registry=registry)

        self._clock_ahead = Gauge(
            "scheduler_clock_ahead_seconds",
            "How far the database's clock has jumped ahead while the engine is held for that; else 0.",
            registry=registry,
        )
        self._workers = Gauge(
            "scheduler_workers", "Workers on the database; silent: not seen for a lease.", ["state"], registry=registry
        )
        self._missing = Gauge(
            "scheduler_audit_missing", "Occurrences without a record in the hour last audited.", registry=registry
        )
        self._doubled = Gauge(
            "scheduler_audit_doubled", "Records without an occurrence in the hour last audited.", registry=registry
        )

    def _server_gauges(self, registry: CollectorRegistry) -> None:
        self._database_up = Gauge(
            "scheduler_database_up", "1 when the database answered at this scrape, else 0.", registry=registry
        )
        self._silence = Gauge(
            "scheduler_loop_silence_seconds", "Time since a loop's last good turn.", ["loop"], registry=registry
        )
        self._free = Gauge("scheduler_data_free_bytes", "Free on the disk of the data folder.", registry=registry)
        self._wal = Gauge("scheduler_sqlite_wal_bytes", "SQLite's write-ahead log; else 0.", registry=registry)

    def _ledger_audited(self, fact: events.LedgerAudited) -> None:
        self._audits.inc()
        self._missing.set(fact.missing)
        self._doubled.set(fact.doubled)

    def _occurrences_recorded(self, fact: events.OccurrencesRecorded) -> None:
        self._runs.inc(fact.runs)
        self._dropped.inc(fact.dropped)
        self._turns.observe(fact.milliseconds / 1000)

    def _attempt_finished(self, fact: events.AttemptFinished) -> None:
        self._attempt_counter(fact.target, fact.outcome).inc()
        self._duration_of(fact.target).observe(_seconds(fact.started_at, fact.finished_at))
        if fact.attempt == 1:
            self._lateness.observe(_seconds(fact.scheduled_at, fact.started_at))

    def _attempts_reaped(self, fact: events.AttemptsReaped) -> None:
        self._requeued.inc(fact.requeued)
        self._dead.inc(fact.dead)

    def _attempt_counter(self, target: str, outcome: str) -> Counter:
        # Looking a child up by labels costs twice the increment, and this is once per attempt.
        key = target, outcome
        if key not in self._attempts:
            self._attempts[key] = self._attempts_family.labels(target, outcome)
        return self._attempts[key]

    def _duration_of(self, target: str) -> Histogram:
        if target not in self._durations:
            self._durations[target] = self._durations_family.labels(target)
        return self._durations[target]


def _replace(gauge: Gauge, counts: Mapping[str, float]) -> None:
    """Set a gauge by state, and forget states that are gone."""
    gauge.clear()
    for state, count in counts.items():
        gauge.labels(str(state)).set(count)


def _seconds(start: int, end: int) -> float:
    """Measure between two instants; a clock that stepped back counts as zero."""
    return max(end - start, 0) / SECOND
