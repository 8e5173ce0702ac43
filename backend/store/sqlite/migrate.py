"""Brings a SQLite file to the newest schema: numbered files, each applied once, in one transaction."""

from __future__ import annotations

from pathlib import Path

import apsw

from backend.errors import SchedulerError, StoreUnavailable
from backend.store.migrations import PROMISE, Migrations, load_migrations, promises_of, refuse_foreign, sha256_of
from backend.store.sqlite.connection import Connection

PACKAGE = "backend.store.sqlite.migrations"
LEDGER = """
create table if not exists schema_migrations (
  version integer primary key,
  name text not null,
  sha256 text not null
) strict
"""


def migrations() -> Migrations:
    """Read all migrations, in order."""
    return load_migrations(PACKAGE)


def migrate(path: Path) -> list[str]:
    """Apply what is missing and return the names applied; several processes may do so at once.

    Raises ConfigurationError when an applied migration differs from ours or the schema is newer than this code.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = Connection(path)
    try:
        return _apply_missing(connection.raw)
    except apsw.Error as error:
        raise StoreUnavailable(f"{path} cannot be migrated: {error}") from error
    finally:
        connection.close()


def check(path: Path) -> list[str]:
    """Name what is wrong with the file: pages, missing or foreign migrations, broken references."""
    if not path.exists():
        return [f"{path} does not exist; `scheduler db migrate` or the first start makes it"]
    try:
        connection = Connection(path, read_only=True)
    except StoreUnavailable as error:
        return [str(error)]
    try:
        return _problems(connection.raw)
    except (apsw.Error, SchedulerError) as error:
        return [str(error)]
    finally:
        connection.close()


def _problems(raw: apsw.Connection) -> list[str]:
    applied = _applied(raw) if _has_ledger(raw) else {}
    missing = [f"migration {name} is missing" for version, (name, _) in migrations().items() if version not in applied]
    _refuse_foreign(raw, applied)
    pages = [str(row[0]) for row in raw.execute("pragma integrity_check") if row[0] != "ok"]
    references = [f"table {row[0]}: row {row[1]} refers to nothing" for row in raw.execute("pragma foreign_key_check")]
    return missing + pages + references


def _has_ledger(raw: apsw.Connection) -> bool:
    return bool(raw.execute("select 1 from sqlite_schema where name = 'schema_migrations'").fetchall())


def _apply_missing(raw: apsw.Connection) -> list[str]:
    if _has_ledger(raw):
        applied = _applied(raw)
        _refuse_foreign(raw, applied)
        if not migrations().keys() - applied.keys():
            return []
    raw.execute("begin immediate")
    try:
        names = _apply(raw)
    except BaseException:
        if raw.in_transaction:
            raw.execute("rollback")
        raise
    raw.execute("commit")
    return names


def _apply(raw: apsw.Connection) -> list[str]:
    raw.execute(LEDGER).fetchall()
    applied = _applied(raw)
    _refuse_foreign(raw, applied)
    names = []
    for version, (name, text) in migrations().items():
        if version not in applied:
            raw.execute(text).fetchall()
            row = (version, name, sha256_of(text))
            raw.execute("insert into schema_migrations (version, name, sha256) values (?, ?, ?)", row)
            for promise in promises_of(version, text):
                raw.execute("insert into store_info (key, value) values (?, ?)", promise)
            names.append(name)
    return names


def _refuse_foreign(raw: apsw.Connection, applied: dict[int, str]) -> None:
    promises: dict[str, str] = {}
    if applied.keys() - migrations().keys():
        rows = raw.execute("select key, value from store_info where key glob ?", (f"{PROMISE}*",))
        promises = {str(key): str(value) for key, value in rows}
    refuse_foreign(migrations(), applied, promises)


def _applied(raw: apsw.Connection) -> dict[int, str]:
    rows = raw.execute("select version, sha256 from schema_migrations")
    return {int(str(version)): str(sha256) for version, sha256 in rows}
