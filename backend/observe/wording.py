"""The words of every fact, as a line of the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from backend import events
from backend.model.instants import rfc3339, rfc3339_or_none


class Line(NamedTuple):
    """One line of the log."""

    level: str
    event: str
    fields: Mapping[str, object]


def _line(level: str, event: str, **fields: object) -> Line:
    return Line(level, event, fields)


def _process_state_changed(fact: events.ProcessStateChanged) -> Line:
    names = {"initializing": "starting", "running": "ready"}
    event = names.get(fact.state, fact.state)
    if event == "exited":
        return _line("info", event, service=fact.service, uptime_s=round(fact.milliseconds / 1000, 1))
    return _line("info", event, service=fact.service, milliseconds=round(fact.milliseconds, 1))


def _process_draining(fact: events.ProcessDraining) -> Line:
    return _line("info", "draining", service=fact.service, reason=fact.reason)


def _process_died(fact: events.ProcessDied) -> Line:
    return _line("error", "process_died", service=fact.service, exit_code=fact.exit_code)


def _process_restarting(fact: events.ProcessRestarting) -> Line:
    return _line("warning", "process_restarting", service=fact.service, deaths=fact.deaths, after_seconds=fact.pause)


def _process_killed(fact: events.ProcessKilled) -> Line:
    return _line("warning", "process_killed", service=fact.service, after_seconds=round(fact.after_seconds, 3))


def _listening(fact: events.Listening) -> Line:
    return _line("info", "listening", url=fact.url, admin_key_file=fact.key_file)


def _worker_listening(fact: events.WorkerListening) -> Line:
    return _line("info", "worker_listening", url=fact.url)


def _schedule_changed(fact: events.ScheduleChanged) -> Line:
    ids = {"namespace": fact.namespace, "schedule_id": fact.schedule_id}
    return _line("info", "schedule_changed", **ids, change=fact.change, by=fact.by)


def _calendar_changed(fact: events.CalendarChanged) -> Line:
    ids = {"namespace": fact.namespace, "calendar_id": fact.calendar_id}
    return _line("info", "calendar_changed", **ids, days=fact.days, schedules_replanned=fact.schedules, by=fact.by)


def _secret_changed(fact: events.SecretChanged) -> Line:
    return _line("info", "secret_changed", namespace=fact.namespace, secret=fact.secret, change=fact.change, by=fact.by)


def _egress_changed(fact: events.EgressChanged) -> Line:
    return _line("info", "allowed_hosts_changed", namespace=fact.namespace, hosts=fact.hosts, by=fact.by)


def _namespace_changed(fact: events.NamespaceChanged) -> Line:
    return _line("info", f"namespace_{fact.verb}", namespace=fact.namespace, by=fact.by)


def _key_changed(fact: events.KeyChanged) -> Line:
    return _line("info", f"key_{fact.verb}", namespace=fact.namespace, key=fact.key_id, by=fact.by)


def _schedule_retimed(fact: events.ScheduleRetimed) -> Line:
    ids = {"namespace": fact.namespace, "schedule_id": fact.schedule_id}
    before, after = rfc3339_or_none(fact.before), rfc3339_or_none(fact.after)
    return _line("warning", "next_time_changed", **ids, before=before, after=after, tzdata=fact.tzdata)


def _tzdata_changed(fact: events.TzdataChanged) -> Line:
    return _line("info", "tzdata_changed", before=fact.before, after=fact.after, next_times_changed=fact.schedules)


def _schedules_changed(fact: events.SchedulesChanged) -> Line:
    return _line("info", "schedules_changed", namespace=fact.namespace, **fact.verbs, by=fact.by)


def _occurrences_recorded(fact: events.OccurrencesRecorded) -> Line:
    return _line(
        "info" if fact.dropped else "debug",
        "occurrences_recorded",
        schedules=fact.schedules,
        runs=fact.runs,
        dropped=fact.dropped,
        milliseconds=round(fact.milliseconds, 1),
    )


def _schedule_quarantined(fact: events.ScheduleQuarantined) -> Line:
    ids = {"namespace": fact.namespace, "schedule_id": fact.schedule_id}
    return _line("error", "schedule_quarantined", **ids, error=fact.error, retry_at=rfc3339(fact.retry_at))


def _overlap_streak(fact: events.OverlapStreak) -> Line:
    ids = {"namespace": fact.namespace, "schedule_id": fact.schedule_id}
    return _line("warning", "overlap_streak", **ids, skips=fact.skips)


def _backfill_started(fact: events.BackfillStarted) -> Line:
    ids = {"namespace": fact.namespace, "schedule_id": fact.schedule_id, "backfill_id": fact.backfill_id}
    return _line("info", "backfill_started", **ids, runs=fact.runs, by=fact.by)


def _schedule_paused(fact: events.SchedulePaused) -> Line:
    ids = {"namespace": fact.namespace, "schedule_id": fact.schedule_id}
    return _line("warning", "schedule_auto_paused", **ids, note=fact.note)


def _runs_claimed(fact: events.RunsClaimed) -> Line:
    return _line("debug", "runs_claimed", worker=fact.worker, runs=fact.runs)


def _milliseconds(start: int, end: int) -> float:
    return round((end - start) / 1000, 1)


def _run_declined(fact: events.RunDeclined) -> Line:
    # Once when it begins and once when it is over; it may be given back every few seconds for hours.
    return _line(
        "error" if fact.run_state == "failed" else "warning" if fact.times == 1 else "debug",
        "run_declined",
        run_id=fact.run_id,
        schedule_id=fact.schedule_id,
        namespace=fact.namespace,
        worker=fact.worker,
        run_state=fact.run_state,
        error=fact.error,
    )


def _attempt_finished(fact: events.AttemptFinished) -> Line:
    error = {} if fact.error is None else {"error": fact.error}
    # The run was late once: a later attempt waited for its turn, which is no lateness. A clock may have stepped back.
    late = {"lateness_ms": max(_milliseconds(fact.scheduled_at, fact.started_at), 0.0)} if fact.attempt == 1 else {}
    return _line(
        "info" if fact.outcome in {"succeeded", "released", "cancelled"} else "warning",
        "attempt_finished",
        run_id=fact.run_id,
        schedule_id=fact.schedule_id,
        namespace=fact.namespace,
        attempt=fact.attempt,
        target=fact.target,
        outcome=fact.outcome,
        run_state=fact.run_state,
        **late,
        duration_ms=max(_milliseconds(fact.started_at, fact.finished_at), 0.0),
        **error,
    )


def _run_handed_over(fact: events.RunHandedOver) -> Line:
    ids = {"run_id": fact.run_id, "schedule_id": fact.schedule_id, "namespace": fact.namespace}
    return _line("info", "run_handed_over", **ids, attempt=fact.attempt)


def _lease_lost(fact: events.LeaseLost) -> Line:
    return _line("warning", "lease_lost", run_id=fact.run_id, attempt=fact.attempt, worker=fact.worker)


def _attempts_reaped(fact: events.AttemptsReaped) -> Line:
    return _line("warning", "attempts_reaped", requeued=fact.requeued, dead=fact.dead)


def _ledger_audited(fact: events.LedgerAudited) -> Line:
    return _line(
        "error" if fact.missing or fact.doubled else "debug",
        "ledger_audited",
        schedules=fact.schedules,
        expected=fact.expected,
        missing=fact.missing,
        doubled=fact.doubled,
        examples=fact.examples,
        milliseconds=round(fact.milliseconds, 1),
    )


def _clock_held(fact: events.ClockHeld) -> Line:
    return _line(
        "error",
        "clock_held",
        database_time=rfc3339(fact.now),
        ahead_s=round(fact.ahead_seconds),
        fix="set the database's clock right; if it is right, restart this server",
    )


def _clock_trusted(_: events.ClockTrusted) -> Line:
    return _line("warning", "clock_trusted")


def _loop_failed(fact: events.LoopFailed) -> Line:
    if fact.reason is events.LoopFailure.DATABASE:  # told once for all loops and turns, as database_unavailable
        return _line("debug", "loop_failed", loop=fact.loop, error=fact.error)
    return _line("error", "loop_failed", loop=fact.loop, error=fact.error, exception=fact.traceback)


def _loop_recovered(fact: events.LoopRecovered) -> Line:
    return _line("debug", "loop_recovered", loop=fact.loop)


def _database_unavailable(fact: events.DatabaseUnavailable) -> Line:
    return _line("warning", "database_unavailable", loop=fact.loop, error=fact.error)


def _database_available(fact: events.DatabaseAvailable) -> Line:
    return _line("warning", "database_available", after_seconds=round(fact.seconds, 1), failed_turns=fact.failures)


def _request_answered(fact: events.RequestAnswered) -> Line:
    run = {"run_id": fact.run_id} if fact.run_id else {}
    return _line(
        "info" if fact.status < 500 else "warning",
        "request_answered",
        method=fact.method,
        route=fact.route or "none",
        status=fact.status,
        milliseconds=round(fact.milliseconds, 1),
        by=fact.by or "nobody",
        request_id=fact.request_id,
        **run,
    )


def _limit_reached(fact: events.LimitReached) -> Line:
    return _line("debug", "limit_reached", namespace=fact.namespace, limit=fact.limit)


def _traces_unavailable(fact: events.TracesUnavailable) -> Line:
    return _line("warning", "traces_unavailable", fix=fact.fix)


def _database_awaited(fact: events.DatabaseAwaited) -> Line:
    return _line("warning", "database_awaited", error=fact.error, after_seconds=fact.pause)


WORDINGS: dict[type[events.Fact], Callable[[Any], Line]] = {
    events.ProcessStateChanged: _process_state_changed,
    events.ProcessDraining: _process_draining,
    events.ProcessDied: _process_died,
    events.ProcessRestarting: _process_restarting,
    events.ProcessKilled: _process_killed,
    events.Listening: _listening,
    events.WorkerListening: _worker_listening,
    events.ScheduleChanged: _schedule_changed,
    events.CalendarChanged: _calendar_changed,
    events.SecretChanged: _secret_changed,
    events.EgressChanged: _egress_changed,
    events.NamespaceChanged: _namespace_changed,
    events.KeyChanged: _key_changed,
    events.ScheduleRetimed: _schedule_retimed,
    events.TzdataChanged: _tzdata_changed,
    events.SchedulesChanged: _schedules_changed,
    events.OccurrencesRecorded: _occurrences_recorded,
    events.ScheduleQuarantined: _schedule_quarantined,
    events.OverlapStreak: _overlap_streak,
    events.BackfillStarted: _backfill_started,
    events.SchedulePaused: _schedule_paused,
    events.RunsClaimed: _runs_claimed,
    events.AttemptFinished: _attempt_finished,
    events.RunDeclined: _run_declined,
    events.RunHandedOver: _run_handed_over,
    events.LeaseLost: _lease_lost,
    events.AttemptsReaped: _attempts_reaped,
    events.LedgerAudited: _ledger_audited,
    events.ClockHeld: _clock_held,
    events.ClockTrusted: _clock_trusted,
    events.LoopFailed: _loop_failed,
    events.LoopRecovered: _loop_recovered,
    events.DatabaseUnavailable: _database_unavailable,
    events.DatabaseAvailable: _database_available,
    events.RequestAnswered: _request_answered,
    events.LimitReached: _limit_reached,
    events.TracesUnavailable: _traces_unavailable,
    events.DatabaseAwaited: _database_awaited,
}
