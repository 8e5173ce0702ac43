"""The named SQL of PostgreSQL: the same names as on SQLite, each valid, explained, and in step with what it fills."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from backend.model.run import ClaimedRun
from backend.model.schedule import Schedule
from backend.store.postgres.statements import LOCKED, PACKAGE, ROWS, Compiled, dumped, load_statements
from backend.store.queries import load_queries
from backend.store.runs import AttemptRow, RunRow
from backend.store.sqlite.connection import PACKAGE as SQLITE_PACKAGE
from tests.databases import POSTGRES, database, in_thread

STATEMENTS = load_statements()
EVERY = {**STATEMENTS.named, **{f"lock {name}": lock for name, lock in STATEMENTS.locks.items()}}
Prepared = dict[str, tuple[list[str], list[str]]]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """Names of the columns and types of the parameters of each statement, by the server itself."""

    async def prepare(url: str) -> Prepared:
        connection = await asyncpg.connect(url, server_settings={"search_path": "scheduler"})
        found: Prepared = {}
        for name, statement in EVERY.items():
            try:
                one = await connection.prepare(statement.text)
            except asyncpg.PostgresError as error:
                found[name] = ([f"{type(error).__name__}: {error}"], ["invalid"])
            else:
                columns = [column.name for column in one.get_attributes()] if "lock table" not in statement.text else []
                found[name] = (columns, [parameter.name for parameter in one.get_parameters()])
        await connection.close()
        return found

    with database(POSTGRES, tmp_path_factory.mktemp("statements")) as url:
        yield in_thread(lambda: prepare(url))


def test_both_databases_know_the_same_statements() -> None:
    assert set(STATEMENTS.named) == set(load_queries(SQLITE_PACKAGE))


def test_every_lock_is_that_of_a_statement() -> None:
    assert set(STATEMENTS.locks) <= set(STATEMENTS.named)


@pytest.mark.parametrize("name", EVERY)
def test_a_statement_is_valid_on_the_migrated_schema(prepared: Prepared, name: str) -> None:
    columns, parameters = prepared[name]
    assert parameters != ["invalid"], columns
    assert len(parameters) == len(EVERY[name].names)


@pytest.mark.parametrize("name", STATEMENTS.named)
def test_a_statement_takes_the_parameters_that_its_twin_takes(name: str) -> None:
    twin = set(re.findall(r"(?<!:):([a-z]\w*)", load_queries(SQLITE_PACKAGE)[name]))
    statement, lock = STATEMENTS.named[name], STATEMENTS.locks.get(name)
    known = set(statement.names) | set(statement.columns) | set(lock.names if lock else ())
    if name not in {"hold_namespace", "hold_schedules", "hold_open_runs", "keep_ranges"}:
        assert known - {ROWS, LOCKED} == twin


def test_every_statement_begins_with_a_line_of_intent() -> None:
    texts = [entry.read_text() for entry in files(PACKAGE).iterdir() if entry.name.endswith(".sql")]
    blocks = [block for text in texts for block in re.split(r"^-- (?:name|lock): ", text, flags=re.MULTILINE)[1:]]
    assert [block.split("\n")[0] for block in blocks if not re.match(r"\w+\n-- [A-Z].+[.;]\n", block)] == []


def test_only_the_clock_statement_reads_time() -> None:
    reading = [name for name, one in EVERY.items() if re.search(r"now\(\)|current_t|_timestamp\(|'now'", one.text)]
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
        ("claim_runs", ClaimedRun, 0),
    ],
)
def test_the_columns_of_a_statement_are_the_fields_it_fills(
    prepared: Prepared, statement: str, kind: Any, more: int
) -> None:
    columns = prepared[statement][0]
    renamed = {"attempt_started_at": "started_at"} if kind is ClaimedRun else {}
    fields = ["id" if field == "schedule_id" else field for field in kind._fields]
    assert [renamed.get(column, column) for column in columns[: len(columns) - more]] == fields


def test_updating_a_schedule_writes_every_column_but_its_identity() -> None:
    text = STATEMENTS.named["update_schedules"].text
    written = set(re.findall(r"(\w+) = x\.\w+", text.split("from json")[0]))
    assert set(Schedule._fields) - written == {"key", "namespace", "id", "created_at", "created_by"}


def test_a_batch_carries_only_the_columns_that_are_read() -> None:
    statement = STATEMENTS.named["extend_leases"]
    assert statement.batch([{"key": 1, "token": "t", "until": 2, "more": 3}]) == '[{"key":1,"token":"t","until":2}]'


def test_a_nul_is_replaced_because_postgresql_keeps_none() -> None:
    assert dumped([{"output": "a\x00b\\u0000"}]) == '[{"output":"a\ufffdb\\\\u0000"}]'
    assert Compiled("", ("text",), ()).arguments({"text": "a\x00"}) == ["a\ufffd"]
    assert Compiled("", ("ids",), ()).arguments({"ids": ["b", "a\x00"]}) == [["b", "a\ufffd"]]


def test_the_package_of_statements_is_where_the_migrations_are() -> None:
    assert (Path(str(files(PACKAGE))) / "migrations" / "0001_initial.sql").is_file()
