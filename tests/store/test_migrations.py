"""The schema is the sum of the migrations, and each is applied once, whoever tries."""

from __future__ import annotations

import multiprocessing
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from backend.errors import ConfigurationError, StoreUnavailable
from backend.store.open import check_database, migrate_database
from backend.store.sqlite import migrate as migration
from backend.store.sqlite.migrate import check, migrate, migrations

PROCESSES = 4
FILES = 30


def _schema(raw: apsw.Connection) -> set[tuple[Any, ...]]:
    return set(raw.execute("select type, name, tbl_name, sql from sqlite_schema where name <> 'schema_migrations'"))


def _sql(path: Path, statement: str) -> None:
    with closing(apsw.Connection(str(path))) as raw:
        raw.execute(statement).fetchall()


def test_the_schema_is_the_sum_of_the_migrations(path: Path) -> None:
    applied = migrate(path)
    with closing(apsw.Connection(str(path))) as migrated, closing(apsw.Connection(":memory:")) as summed:
        for _, text in migrations().values():
            summed.execute(text).fetchall()
        assert _schema(migrated) == _schema(summed)
        assert ("table", "runs") in {row[:2] for row in _schema(migrated)}
    assert applied == [name for name, _ in migrations().values()]


def test_migrations_are_numbered_without_a_gap() -> None:
    assert list(migrations()) == list(range(1, len(migrations()) + 1))


def test_migrating_again_applies_nothing(path: Path) -> None:
    migrate(path)
    assert migrate(path) == []


def test_a_later_migration_is_applied_to_a_database_in_use(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(path)
    more = {**migrations(), 2: ("0002_more.sql", "create table more (x integer) strict; insert into more values (1);")}
    monkeypatch.setattr(migration, "migrations", lambda: more)
    assert check(path) == ["migration 0002_more.sql is missing"]
    assert migrate(path) == ["0002_more.sql"]
    assert check(path) == []


def test_a_migration_that_fails_leaves_nothing_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(path)
    bad = {**migrations(), 2: ("0002_bad.sql", "create table half (x integer) strict; create table runs (y);")}
    monkeypatch.setattr(migration, "migrations", lambda: bad)
    with pytest.raises(StoreUnavailable, match="cannot be migrated"):
        migrate(path)
    monkeypatch.undo()
    assert check(path) == []
    with closing(apsw.Connection(str(path))) as raw:
        assert raw.execute("select 1 from sqlite_schema where name = 'half'").fetchall() == []


def test_a_migration_that_was_changed_after_it_was_applied_is_refused(path: Path) -> None:
    migrate(path)
    _sql(path, "update schema_migrations set sha256 = 'other' where version = 1")
    with pytest.raises(ConfigurationError, match=r"0001_initial\.sql was applied with another text"):
        migrate(path)
    assert any("another text" in problem for problem in check(path))


def test_a_schema_newer_than_the_program_is_refused(path: Path) -> None:
    migrate(path)
    _sql(path, "insert into schema_migrations values (99, '0099_future.sql', 'x')")
    with pytest.raises(ConfigurationError, match="version 99, newer than this program"):
        migrate(path)
    assert any("newer than this program" in problem for problem in check(path))


def _migrate_all_at_once(paths: list[Path], gate: Any, answers: Any) -> None:
    found: list[object] = []
    for path in paths:
        gate.wait(60)
        try:
            found.append(migrate(path))
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")
    answers.put(found)


def test_of_four_processes_that_migrate_a_new_file_at_once_exactly_one_applies(tmp_path: Path) -> None:
    # Many files, because the processes meet in the narrow place only now and then.
    paths = [tmp_path / str(number) / "scheduler.db" for number in range(FILES)]
    spawn = multiprocessing.get_context("spawn")
    gate, answers = spawn.Barrier(PROCESSES), spawn.SimpleQueue()
    crowd = [
        spawn.Process(target=_migrate_all_at_once, args=(paths, gate, answers), daemon=True) for _ in range(PROCESSES)
    ]
    for process in crowd:
        process.start()
    answered = [answers.get() for _ in crowd]
    for process in crowd:
        process.join(60)
    everything = [name for name, _ in migrations().values()]
    for number, path in enumerate(paths):
        assert sorted((found[number] for found in answered), key=len) == [[]] * (PROCESSES - 1) + [everything]
        assert check(path) == []


def test_a_sound_database_has_no_problems(path: Path) -> None:
    migrate_database(f"sqlite:///{path}")
    assert check_database(f"sqlite:///{path}") == []


def test_a_database_that_does_not_exist_is_named_and_not_made(path: Path) -> None:
    [problem] = check(path)
    assert "does not exist" in problem
    assert not path.exists()


def test_a_check_makes_no_database_of_an_empty_file(path: Path) -> None:
    path.touch()
    assert check(path) == [f"migration {name} is missing" for name, _ in migrations().values()]
    assert path.read_bytes() == b""


def test_a_missing_migration_is_named(path: Path) -> None:
    migrate(path)
    _sql(path, "delete from schema_migrations")
    assert check(path) == [f"migration {name} is missing" for name, _ in migrations().values()]


def test_a_file_that_is_no_database_is_named(path: Path) -> None:
    path.write_bytes(b"certainly not a database" * 200)
    [problem] = check(path)
    assert "not a database" in problem


def test_a_damaged_page_is_found(path: Path) -> None:
    migrate(path)
    with closing(apsw.Connection(str(path))) as raw:
        [[root]] = raw.execute("select rootpage from sqlite_schema where name = 'runs_ledger'")
        raw.execute("pragma wal_checkpoint(truncate)").fetchall()
    content = bytearray(path.read_bytes())
    content[(root - 1) * 4096 : (root - 1) * 4096 + 64] = b"\xff" * 64
    path.write_bytes(content)
    assert check(path) != []


def test_a_reference_to_nothing_is_found(path: Path) -> None:
    migrate(path)
    columns = "run_key, number, state, started_at, finished_at, worker"
    _sql(path, f"insert into attempts ({columns}) values (7, 1, 'lost', 0, 0, '')")
    assert any("refers to nothing" in problem for problem in check(path))


def test_a_file_that_cannot_be_opened_is_a_store_that_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        migrate(tmp_path / "folder.db")
