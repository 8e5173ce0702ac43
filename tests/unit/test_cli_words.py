"""How instants, lengths and tables read."""

from __future__ import annotations

import doctest
import io
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len
from rich.console import Console

from backend.cli import output, schedule_rows, times
from backend.cli.output import Column, Row, print_rows
from backend.cli.run_rows import COLUMNS, lateness, run_row
from backend.cli.schedule_rows import trigger_text
from tests.unit.cli_server import run_of, schedule

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def cairo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Africa/Cairo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("module", [times, output, schedule_rows])
def test_the_examples_in_docstrings_are_true(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2026-11-22T12:00:00Z", "now"),
        ("2026-11-22T12:00:40Z", "in 40 s"),
        ("2026-11-22T11:58:00Z", "2 min ago"),
        ("2026-11-22T23:30:00Z", "in 11 h"),
        ("2026-11-22T12:59:58Z", "in 1 h"),
        ("2026-11-22T12:00:59Z", "in 59 s"),
        ("2026-11-23T11:59:50Z", "in 1 d"),
        ("2026-11-25T12:00:00Z", "in 3 d"),
        (None, "–"),
    ],
)
def test_distances_are_said_in_one_unit(text: str | None, words: str):
    assert times.relative(text, NOW) == words


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(0), "0 ms"),
        (timedelta(seconds=1.25), "1.2 s"),
        (timedelta(seconds=75), "1 min 15 s"),
        (timedelta(seconds=60), "1 min"),
        (timedelta(hours=25), "1 d 1 h"),
        (timedelta(days=2, seconds=5), "2 d"),
        (timedelta(seconds=-3), "-3.0 s"),
        (timedelta(seconds=9.99), "10.0 s"),
        (None, "–"),
    ],
)
def test_lengths_have_two_units_at_most(span: timedelta | None, words: str):
    assert times.length(span) == words


def test_times_are_local_with_zone_and_utc_beside(cairo: None):
    assert times.local("2026-11-22T07:00:00Z") == "2026-11-22 09:00 EET"
    assert times.both("2026-11-22T07:00:00Z", NOW) == "09:00:00 EET (07:00:00Z)"
    assert times.both("2026-11-21T22:30:00Z", NOW) == "00:30:00 EET (11-21 22:30:00Z)"
    assert times.both("2026-07-01T07:00:01Z", NOW) == "2026-07-01 10:00:01 EEST (07:00:01Z)"


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        ({"kind": "cron", "expression": "@daily", "timezone": "UTC"}, "@daily UTC"),
        (
            {"kind": "once", "at": "2026-12-01T09:00:00", "timezone": "Africa/Cairo"},
            "at 2026-12-01T09:00:00 Africa/Cairo",
        ),
        ({"kind": "once", "at": "2026-12-01T09:00:00Z"}, "at 2026-12-01T09:00:00Z"),
        ({"kind": "once", "at": "2026-12-01T09:00:00-05:00"}, "at 2026-12-01T09:00:00-05:00"),
        ({"kind": "moon"}, "moon"),
    ],
)
def test_triggers_are_said_in_a_few_characters(trigger: dict[str, str], words: str):
    assert trigger_text(trigger) == words


def printed(columns: list[Column], rows: list[Row], *, width: int, terminal: bool = True) -> list[str]:
    screen = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    print_rows(screen, columns, rows, title=True)
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue().splitlines()


def test_a_table_fits_a_terminal_by_cutting_what_is_longest():
    columns = [Column("A", flexible=True), Column("B"), Column("C", flexible=True, right=True)]
    lines = printed(columns, [Row(("a" * 60, "b" * 10, "c" * 20)), Row(("x", "y", "z"))], width=60)
    assert max(map(len, lines)) == 60
    assert lines[1] == f"{'a' * 25}…  {'b' * 10}  {'c' * 20}"
    assert lines[2] == f"x{' ' * 27}y{' ' * 11}{' ' * 19}z"


def test_nothing_is_cut_for_a_pipe(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = printed([Column("A", flexible=True)], [Row(("a" * 300,), "n" * 300)], width=80, terminal=False)
    assert lines == ["A", f"{'a' * 300}  {'n' * 300}"]


def test_a_note_that_does_not_fit_stands_beneath():
    lines = printed([Column("A")], [Row(("a" * 30,), "why it failed " * 30)], width=40)
    assert lines[1] == "a" * 30
    assert lines[2] == "    why it failed why it failed why it"
    assert len(lines) == 5
    assert lines[4].endswith("…")


def test_a_table_of_runs_fits_80_columns_also_with_wide_names(cairo: None):
    run = run_of(1, "timed_out", schedule_id="a-rather-long-id-of-a-schedule-日本語-日本語", error="boom " * 40)
    run["nominal_time"] = "2025-06-01T07:00:00Z"
    lines = printed(list(COLUMNS), [run_row(run, NOW)], width=80)
    assert all(cell_len(line) <= 80 for line in lines)
    assert "timed_out" in lines[1]


def test_a_table_of_schedules_fits_80_columns(capsys: pytest.CaptureFixture[str]):
    row = Row(
        ("nightly-report", "active", "0 9 * * mon-fri Europe/London", "2026-11-23 09:00 UTC", "in 21 h", "succeeded")
    )
    lines = printed(list(schedule_rows.COLUMNS), [row], width=80)
    assert max(map(len, lines)) <= 80
    assert "2026-11-23 09:00 UTC  in 21 h  succeeded" in lines[1]
    schedule_rows.print_schedules([schedule(note="paused for the move")], NOW)
    assert "paused for the move" in capsys.readouterr().out


def test_a_run_that_started_before_its_time_by_a_clock_that_stepped_back_is_not_late():
    run = {"scheduled_time": "2026-12-01T09:00:00Z", "started_at": "2026-12-01T08:59:59.995Z"}
    assert lateness(run) == "0 ms"
    assert lateness(run | {"started_at": None}) == "–"
