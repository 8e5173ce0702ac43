"""The log: where lines go and what they look like, and all wording of facts."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from backend import events
from backend.errors import ConfigurationError
from backend.model.instants import rfc3339, rfc3339_or_none

LEVELS = {name: getattr(logging, name.upper()) for name in ("debug", "info", "warning", "error", "critical")}
COLOURS = dict(zip(LEVELS, ("\x1b[2m", "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[31;1m"), strict=True))
SILENCED = ("uvicorn.access", "aiohttp.access")  # one line per request tells an operator nothing that metrics do not
OURS = "backend"

_log = structlog.get_logger(OURS)


def configure_logging(
    level: str = "info",
    fmt: str = "console",
    file: Path | None = None,
    *,
    max_bytes: int = 10_485_760,
    backups: int = 5,
    service: str = "",
) -> None:
    """Send every line of this process to stdout, or to `file`, rotated at `max_bytes`; may be called again.

    `fmt` is `console` or `json`. `service` stands on every line. ConfigurationError: `file` cannot be written.
    """
    output = _to_stdout() if file is None else _to_file(file, max_bytes, backups)
    colours = file is None and sys.stdout.isatty()
    chain = _chain(service)
    render = _render_json if fmt == "json" else _console(colours=colours)
    structlog.configure(
        processors=[structlog.processors.add_log_level, *chain, render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: _Lines(output),
        cache_logger_on_first_use=False,
    )
    _bridge(_Bridge(output, [*chain, render]), LEVELS[level])


def log_fact(fact: events.Fact) -> None:
    """Write the line of a fact. Never raises: what goes wrong with the log must not stop what is logged."""
    try:
        line = WORDINGS[type(fact)](fact)
        getattr(_log, line.level)(line.event, **line.fields)
    except Exception as error:
        _complain(error)


def log_all_but_requests(fact: events.Fact) -> None:
    """Write the line of a fact, unless it is that a request was answered."""
    if not isinstance(fact, events.RequestAnswered):
        log_fact(fact)


class _Lines:
    """The end of structlog's chain: a rendered line becomes a record of the one handler that writes."""

    def __init__(self, output: logging.Handler) -> None:
        self._output = output

    def msg(self, line: str) -> None:
        self._output.handle(logging.LogRecord(OURS, logging.INFO, "", 0, line, None, None))

    debug = info = warning = error = critical = msg


class _Bridge(logging.Handler):
    """Gives the lines of libraries, which use the standard logging, the same shape and the same end."""

    def __init__(self, output: logging.Handler, chain: list[Processor]) -> None:
        super().__init__()
        self.output = output
        self._chain = chain

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line: Any = _foreign_event(record)
            for step in self._chain:
                line = step(None, record.levelname.lower(), line)
            self.output.handle(logging.LogRecord(record.name, record.levelno, "", 0, line, None, None))
        except Exception as error:
            _complain(error)

    def close(self) -> None:
        self.output.close()
        super().close()


class _RotatingFile(RotatingFileHandler):
    """A rotating file that several processes may share: who finds it rotated by another follows."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError):  # what is wrong with the file is for the write itself to tell
            if self.stream is not None and self._was_rotated(self.stream.fileno()):
                self.stream.close()
                self.stream = self._open()
        super().emit(record)

    def _was_rotated(self, descriptor: int) -> bool:
        try:
            return not os.path.samestat(os.stat(self.baseFilename), os.fstat(descriptor))
        except FileNotFoundError:
            return True


def _to_stdout() -> logging.Handler:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    return logging.StreamHandler(sys.stdout)


def _to_file(path: Path, max_bytes: int, backups: int) -> logging.Handler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _RotatingFile(path, maxBytes=max_bytes, backupCount=backups, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        rule = f"SCHEDULER_LOG_FILE: {str(path)!r} cannot be written ({error.strerror})"
        raise ConfigurationError(f"{rule}, so give a file in a folder that can") from error


def _bridge(bridge: _Bridge, level: int) -> None:
    root = logging.getLogger()
    for former in [handler for handler in root.handlers if isinstance(handler, _Bridge)]:
        root.removeHandler(former)
        former.close()
    root.addHandler(bridge)
    root.setLevel(level)
    for name in SILENCED:
        logging.getLogger(name).disabled = True


def _complain(error: Exception) -> None:
    with suppress(Exception):  # stderr may be closed too, and then there is nobody left to tell
        sys.stderr.write(f"a log line was lost: {error!r}\n")


def _foreign_event(record: logging.LogRecord) -> EventDict:
    """Shape a library's record; the event is named by its logger, since its text has no stable words."""
    text = record.getMessage()
    ours = record.name.split(".")[0] == OURS
    line: EventDict = {"level": record.levelname.lower(), "event": text if ours else record.name}
    if not ours:
        line["message"] = text
    fields: EventDict = getattr(record, "fields", {})
    line.update(fields)
    if record.exc_info:
        line["exc_info"] = record.exc_info
    return line


def _chain(service: str) -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        _stamp(service),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]


def _stamp(service: str) -> Processor:
    def stamp(_logger: WrappedLogger, _name: str, line: EventDict) -> EventDict:
        if service:
            line.setdefault("service", service)
        line["pid"] = os.getpid()
        return line

    return stamp


def _render_json(_logger: WrappedLogger, _name: str, line: EventDict) -> str:
    try:
        return orjson.dumps(line, default=str).decode()
    except (TypeError, ValueError):
        # orjson refuses lone surrogates and integers over 64 bits; a line must not be lost for that.
        return json.dumps(line, default=str, skipkeys=True)


def _console(*, colours: bool) -> Processor:
    """Build a renderer for people: time, level, event, then the rest in the order it was given."""

    def render(_logger: WrappedLogger, _name: str, line: EventDict) -> str:
        stamp, level, event = line.pop("timestamp"), line.pop("level"), _visible(str(line.pop("event")))
        line.pop("pid", None)
        trace = line.pop("exception", None)
        rest = " ".join(f"{key}={_value(value)}" for key, value in line.items())
        if colours:
            level, event = f"{COLOURS.get(level, '')}{level:<8}\x1b[0m", f"\x1b[1m{event:<22}\x1b[0m"
        text = f"{stamp} {level:<8} {event:<22} {rest}".rstrip()
        return text if trace is None else f"{text}\n{_indented(str(trace))}"

    return render


def _value(value: object) -> str:
    text = _visible(str(value))
    return repr(text) if not text or " " in text or "=" in text else text


def _visible(text: str) -> str:
    """Escape control characters, which could forge lines or drive the terminal."""
    return text if text.isprintable() else repr(text)[1:-1]


def _indented(trace: str) -> str:
    return "\n".join("  " + _visible(part.expandtabs()) for part in trace.rstrip().split("\n"))


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


def _attempt_finished(fact: events.AttemptFinished) -> Line:
    error = {} if fact.error is None else {"error": fact.error}
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
        lateness_ms=round((fact.started_at - fact.scheduled_at) / 1000, 1),
        duration_ms=round((fact.finished_at - fact.started_at) / 1000, 1),
        **error,
    )


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
    return _line("error", "loop_failed", loop=fact.loop, error=fact.error, exception=fact.traceback)


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
    events.LeaseLost: _lease_lost,
    events.AttemptsReaped: _attempts_reaped,
    events.LedgerAudited: _ledger_audited,
    events.ClockHeld: _clock_held,
    events.ClockTrusted: _clock_trusted,
    events.LoopFailed: _loop_failed,
    events.RequestAnswered: _request_answered,
    events.LimitReached: _limit_reached,
    events.TracesUnavailable: _traces_unavailable,
    events.DatabaseAwaited: _database_awaited,
}
