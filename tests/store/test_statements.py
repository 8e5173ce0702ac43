"""The named SQL: every statement is valid, used, explained, and in step with the values made from its rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import apsw
import pytest

from backend.model.run import ClaimedRun
from backend.model.schedule import Schedule
from backend.store.queries import load_queries
from backend.store.runs import AttemptRow, RunRow
from backend.store.sqlite.connection import PACKAGE, Connection
from backend.store.sqlite.migrate import migrate

STATEMENTS = load_queries(PACKAGE)
BACKEND = Path(__file__).parents[2] / "backend"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apsw.Connection]:
    path = tmp_path_factory.mktemp("statements") / "scheduler.db"
    migrate(path)
    connection = Connection(path)
    yield connection.raw
    connection.close()


class _Nothing(dict[str, Any]):
    """Answers every parameter with null."""

    def __missing__(self, _: str) -> None:
        return None


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_is_valid_on_the_migrated_schema(raw: apsw.Connection, name: str) -> None:
    assert raw.execute(f"explain {STATEMENTS[name]}", _Nothing()).fetchall()


def test_an_invalid_statement_would_have_been_noticed(raw: apsw.Connection) -> None:
    with pytest.raises(apsw.SQLError):
        raw.execute("explain select no_such_column from runs", _Nothing())


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_is_used(name: str) -> None:
    code = "".join(path.read_text() for path in BACKEND.rglob("*.py"))
    assert f'"{name}"' in code


def test_every_name_that_the_code_asks_for_is_a_statement() -> None:
    code = "".join(path.read_text() for path in (BACKEND / "store").rglob("*.py"))
    asked = set(re.findall(r'(?:Query|Batch)\(\s*"(\w+)"', code))  # the first name, where there is a choice
    assert asked
    assert asked <= set(STATEMENTS)


def _blocks() -> Iterator[tuple[str, str]]:
    for entry in files(PACKAGE).iterdir():
        if entry.name.endswith(".sql"):
            for block in re.split(r"^-- name: ", entry.read_text(), flags=re.MULTILINE)[1:]:
                name, body = block.split("\n", 1)
                yield name, body


def test_every_statement_begins_with_a_line_of_intent() -> None:
    without = [name for name, body in _blocks() if not re.match(r"-- [A-Z].+[.]\n", body)]
    assert without == []


def test_only_the_clock_statement_reads_time() -> None:
    reading = [
        name
        for name, text in STATEMENTS.items()
        if re.search(r"unixepoch|julianday|strftime|datetime\(|current_time|'now'", text)
    ]
    assert reading == ["clock"]


@pytest.mark.parametrize(
    ("statement", "kind", "more"),
    [
        ("claim_due", Schedule, 2),
        ("claim_due_latest", Schedule, 2),
        ("schedules_by_id", Schedule, 2),
        ("schedule_by_id", Schedule, 0),
        ("list_schedules", Schedule, 1),
        ("list_schedules_of_owner", Schedule, 1),
        ("list_schedules_named", Schedule, 1),
        ("list_schedules_of_tag", Schedule, 1),
        ("list_schedules_at_rest", Schedule, 1),
        ("run_by_id", RunRow, 0),
        ("list_runs", RunRow, 0),
        ("list_schedule_runs", RunRow, 0),
        ("attempts_of", AttemptRow, 0),
    ],
)
def test_the_columns_of_a_statement_are_the_fields_it_fills(
    raw: apsw.Connection, statement: str, kind: Any, more: int
) -> None:
    columns = _columns(raw, STATEMENTS[statement])
    assert columns[: len(columns) - more] == _expected(kind)


def test_a_claim_answers_the_fields_of_a_claimed_run() -> None:
    # SQLite names no columns of `returning` before it runs, so the text is read.
    returned = STATEMENTS["claim_runs"].rsplit("returning", 1)[1].replace("\n", " ")
    columns = [column.strip() for column in returned.split(",")]
    renamed = {"attempt_started_at": "started_at"}
    assert tuple(renamed.get(column, column) for column in columns) == ClaimedRun._fields


def _columns(raw: apsw.Connection, text: str) -> list[str]:
    """Which column of which table stands at each place, by SQLite itself."""
    found: list[str] = []

    def note(cursor: apsw.Cursor, _statement: str, _bindings: object) -> bool:
        found.extend(f"{table}.{origin}" for _, _, _, table, origin in cursor.description_full)
        return False

    cursor = raw.cursor()
    cursor.exec_trace = note
    with pytest.raises(apsw.ExecTraceAbort):
        cursor.execute(text, _Nothing())
    return found


def _expected(kind: Any) -> list[str]:
    table = {Schedule: "schedules", RunRow: "runs", AttemptRow: "attempts"}[kind]
    return [
        "schedules.id" if (kind, field) == (RunRow, "schedule_id") else f"{table}.{field}" for field in kind._fields
    ]


def test_the_columns_of_a_schedule_row_are_the_columns_of_its_table(raw: apsw.Connection) -> None:
    columns = [row[1] for row in raw.execute("pragma table_info(schedules)")]
    assert columns == list(Schedule._fields)


def test_updating_a_schedule_writes_every_column_but_its_identity() -> None:
    written = set(re.findall(r"(\w+) = :(?:\w+)", STATEMENTS["update_schedules"].split("where")[0]))
    assert set(Schedule._fields) - written == {"key", "namespace", "id", "created_at", "created_by"}
