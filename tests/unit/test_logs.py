from __future__ import annotations

import io
import json
import logging
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from backend import events
from backend.errors import ConfigurationError
from backend.observe.logs import LEVELS, configure_logging, log_fact
from backend.observe.wording import WORDINGS

ATTEMPT = events.AttemptFinished(
    namespace="default",
    schedule_id="digest",
    run_id="run-1",
    attempt=2,
    target="http",
    outcome="succeeded",
    run_state="succeeded",
    error=None,
    nominal_at=1_000_000,
    scheduled_at=1_000_000,
    started_at=1_250_000,
    finished_at=2_000_000,
)


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    structlog.reset_defaults()
    for name in ("uvicorn.access", "aiohttp.access"):
        logging.getLogger(name).disabled = False


def all_facts() -> list[type[events.Fact]]:
    found = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.Fact)]
    return [kind for kind in found if kind is not events.Fact]


def sample(kind: type[events.Fact]) -> events.Fact:
    values = {
        "str": "text",
        "str | None": "text",
        "int": 7,
        "int | None": 7,
        "float": 1.25,
        "dict[str, int]": {"created": 3},
        "LoopFailure": events.LoopFailure.DEFECT,
    }
    return kind(**{field.name: values[str(field.type)] for field in fields(kind)})


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("kind", all_facts(), ids=lambda kind: kind.__name__)
def test_every_fact_has_a_wording_that_says_all_its_ids(kind, capsys):
    configure_logging("debug", "json")
    log_fact(sample(kind))
    (line,) = lines(capsys.readouterr().out)
    ids = {"service", "namespace", "schedule_id", "run_id", "attempt", "worker", "loop"}
    assert line["event"]
    assert line["level"] in LEVELS
    assert line["timestamp"].endswith("Z")
    assert ids & {field.name for field in fields(kind)} <= set(line)


def test_no_wording_is_about_a_fact_that_is_gone():
    assert set(WORDINGS) == set(all_facts())


def test_the_end_of_a_process_says_how_long_it_was_up(capsys):
    configure_logging(fmt="json")
    log_fact(events.ProcessStateChanged("Scheduler", "exited", 90_040))
    (line,) = lines(capsys.readouterr().out)
    assert (line["event"], line["service"], line["uptime_s"]) == ("exited", "Scheduler", 90.0)
    assert "milliseconds" not in line


@pytest.mark.parametrize(("state", "event"), [("initializing", "starting"), ("running", "ready")])
def test_the_life_of_a_process_is_told_in_the_contracts_words(state, event, capsys):
    configure_logging(fmt="json")
    log_fact(events.ProcessStateChanged("Scheduler", state, 12.345))
    (line,) = lines(capsys.readouterr().out)
    assert (line["event"], line["service"], line["milliseconds"]) == (event, "Scheduler", 12.3)


def test_a_finished_attempt_says_how_late_it_began(capsys):
    configure_logging(fmt="json")
    log_fact(replace(ATTEMPT, attempt=1))
    (line,) = lines(capsys.readouterr().out)
    assert line["level"] == "info"
    assert (line["run_id"], line["schedule_id"], line["attempt"]) == ("run-1", "digest", 1)
    assert (line["lateness_ms"], line["duration_ms"], line["outcome"]) == (250.0, 750.0, "succeeded")
    assert "error" not in line


def test_a_later_attempt_is_not_late_once_more_and_no_attempt_is_early(capsys):
    configure_logging(fmt="json")
    log_fact(ATTEMPT)
    log_fact(replace(ATTEMPT, attempt=1, started_at=ATTEMPT.scheduled_at - 5_000))
    later, early = lines(capsys.readouterr().out)
    assert (later["attempt"], "lateness_ms" in later) == (2, False)
    assert early["lateness_ms"] == 0.0


def test_a_run_that_is_given_back_again_and_again_is_told_when_it_begins_and_when_it_is_over(capsys):
    configure_logging(fmt="json")
    fact = events.RunDeclined("default", "digest", "run-1", "w1", "retrying", "commands are switched off", 1)
    for one in (fact, replace(fact, times=2), replace(fact, times=9, run_state="failed")):
        log_fact(one)
    first, last = lines(capsys.readouterr().out)
    assert (first["event"], first["level"], first["worker"]) == ("run_declined", "warning", "w1")
    assert (last["level"], last["error"]) == ("error", "commands are switched off")


@pytest.mark.parametrize(
    ("outcome", "level"), [("failed", "warning"), ("timed_out", "warning"), ("lost", "warning"), ("cancelled", "info")]
)
def test_a_failed_attempt_is_a_warning(outcome, level):
    changed = {field.name: getattr(ATTEMPT, field.name) for field in fields(ATTEMPT)} | {"outcome": outcome}
    assert WORDINGS[events.AttemptFinished](events.AttemptFinished(**changed)).level == level


def test_lines_below_the_level_are_not_written(capsys):
    configure_logging("warning", "json")
    log_fact(ATTEMPT)
    logging.getLogger("aiohttp.client").info("quiet")
    assert capsys.readouterr().out == ""


def test_claims_are_told_only_to_who_debugs(capsys):
    configure_logging("info", "json")
    log_fact(events.RunsClaimed("worker-1", 3))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["uvicorn.error", "aiohttp.server", "asyncio"])
def test_lines_of_libraries_take_the_same_shape(name, capsys):
    configure_logging("info", "json", service="Scheduler")
    logging.getLogger(name).warning("took %d ms", 5)
    (line,) = lines(capsys.readouterr().out)
    assert (line["event"], line["message"], line["level"]) == (name, "took 5 ms", "warning")
    assert line["service"] == "Scheduler"
    assert isinstance(line["pid"], int)


def test_our_own_standard_loggers_name_the_event(capsys):
    configure_logging(fmt="json")
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        logging.getLogger("backend.scheduler").exception("crashed")
    (line,) = lines(capsys.readouterr().out)
    assert line["event"] == "crashed"
    assert "Traceback" in line["exception"]
    assert "RuntimeError: boom" in line["exception"]


def test_the_access_logs_are_off(capsys):
    configure_logging("debug", "json")
    logging.getLogger("uvicorn.access").info("GET /")
    logging.getLogger("aiohttp.access").info("GET /")
    assert capsys.readouterr().out == ""


def test_ids_bound_to_the_context_are_on_every_line(capsys):
    configure_logging(fmt="json")
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        logging.getLogger("asyncio").warning("slow")
        log_fact(ATTEMPT)
    assert [line["request_id"] for line in lines(capsys.readouterr().out)] == ["r-1", "r-1"]


@pytest.mark.parametrize("text", ["lone \udcff surrogate", "nul \x00", "two\nlines", "é 漢"])
@pytest.mark.parametrize("fmt", ["json", "console"])
def test_no_text_loses_its_line_or_forges_another(text, fmt, tmp_path):
    path = tmp_path / "log"
    configure_logging(fmt=fmt, file=path)
    log_fact(events.SchedulePaused("default", "digest", text))
    assert len(path.read_text("utf-8").splitlines()) == 1
    assert "digest" in path.read_text("utf-8")


def test_a_number_beyond_64_bits_is_written(capsys):
    configure_logging(fmt="json")
    log_fact(events.AttemptsReaped(2**70, 0))
    assert lines(capsys.readouterr().out)[0]["requeued"] == 2**70


def test_the_console_shows_no_colours_and_no_control_characters_off_a_terminal(capsys):
    configure_logging(fmt="console")
    log_fact(events.SchedulePaused("default", "digest", "\x1b[2Jwiped"))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "wiped" in out


def test_the_console_has_colours_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    for level in LEVELS:
        configure_logging("debug")
        logging.getLogger("backend").log(LEVELS[level], "an_event")
    assert terminal.getvalue().count("\x1b[1man_event") == len(LEVELS)


def test_the_console_tells_a_value_with_spaces_from_two_values(capsys):
    configure_logging()
    log_fact(events.SchedulePaused("default", "digest", "note run_id=forged"))
    assert capsys.readouterr().out.endswith("schedule_id=digest note='note run_id=forged'\n")


def test_the_console_shows_a_traceback_line_by_line(capsys):
    configure_logging(fmt="console")
    log_fact(events.LoopFailed("engine", "ZeroDivisionError()", "Traceback:\n  File x\n\x1b[2JZeroDivisionError"))
    out = capsys.readouterr().out
    assert "loop_failed" in out
    assert "\n    File x\n" in out
    assert "\x1b" not in out


def test_a_database_that_does_not_answer_is_a_line_at_its_begin_and_one_at_its_end(capsys):
    configure_logging(fmt="console")
    log_fact(events.DatabaseUnavailable("engine", "the database did not answer: Connection refused"))
    log_fact(events.LoopFailed("engine", "no answer", reason=events.LoopFailure.DATABASE))
    log_fact(events.LoopRecovered("engine"))
    log_fact(events.DatabaseAvailable(61.24, 40))
    begin, end = capsys.readouterr().out.splitlines()
    assert "database_unavailable" in begin
    assert "Connection refused" in begin
    assert "database_available" in end
    assert "after_seconds=61.2" in end


def test_tracebacks_do_not_show_local_variables(capsys):
    configure_logging(fmt="console")
    password = "hu" + "sh"
    try:
        raise RuntimeError(len(password))
    except RuntimeError:
        logging.getLogger("backend").exception("crashed")
    out = capsys.readouterr().out
    assert "RuntimeError: 4" in out
    assert "hush" not in out


def test_the_log_file_is_rotated_and_old_ones_are_dropped(tmp_path):
    path = tmp_path / "logs" / "scheduler.log"
    configure_logging(fmt="json", file=path, max_bytes=4096, backups=2)
    for _ in range(100):
        log_fact(ATTEMPT)
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, f"{path.name}.1", f"{path.name}.2"]
    assert all(file.stat().st_size <= 4096 for file in path.parent.iterdir())
    assert all(line["run_id"] == "run-1" for line in lines(path.read_text()))


def test_a_file_rotated_by_another_process_is_followed(tmp_path):
    path = tmp_path / "scheduler.log"
    configure_logging(fmt="json", file=path)
    log_fact(ATTEMPT)
    path.rename(tmp_path / "scheduler.log.1")
    log_fact(ATTEMPT)
    assert len(lines(path.read_text())) == 1


def test_a_file_that_cannot_be_written_is_refused_by_name(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"SCHEDULER_LOG_FILE: .* cannot be written"):
        configure_logging(file=tmp_path / "file" / "log")


def test_configuring_again_replaces_the_former_output(tmp_path, capsys):
    configure_logging(fmt="json", file=tmp_path / "first")
    configure_logging(fmt="json", file=tmp_path / "second")
    log_fact(ATTEMPT)
    logging.getLogger("asyncio").warning("once")
    assert (tmp_path / "first").read_text() == ""
    assert len(lines((tmp_path / "second").read_text())) == 2
    assert capsys.readouterr().out == ""


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_log_that_cannot_be_written_stops_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Broken())
    monkeypatch.setattr(sys, "stderr", Broken())
    configure_logging(fmt="json")
    log_fact(ATTEMPT)
    log_fact(events.Fact())
    logging.getLogger("asyncio").warning("lost")


def test_a_fact_without_wording_is_told_on_stderr(capsys):
    configure_logging(fmt="json")
    log_fact(events.Fact())
    assert "a log line was lost" in capsys.readouterr().err


def test_importing_the_module_sets_nothing_up():
    import subprocess

    code = (
        "import logging, structlog, backend.observe.logs as _; print(logging.root.handlers, structlog.is_configured())"
    )
    root = Path(__file__).parents[2]
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[] False"
