"""The log: where lines go and what they look like. What they say of facts is in wording.py."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from backend import events
from backend.errors import ConfigurationError
from backend.observe.wording import WORDINGS

LEVELS = {name: getattr(logging, name.upper()) for name in ("debug", "info", "warning", "error", "critical")}
COLOURS = dict(zip(LEVELS, ("\x1b[2m", "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[31;1m"), strict=True))
# One line per request tells an operator nothing that metrics do not; a traceback per try, nothing but that the database
# is away, which is told once.
SILENCED = ("uvicorn.access", "aiohttp.access", "asyncpg.pool")
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
