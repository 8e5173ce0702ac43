"""Brings a PostgreSQL schema to the newest version: numbered files, each applied once, all in one transaction."""

from __future__ import annotations

from typing import Any

import asyncpg

from backend.errors import ConfigurationError
from backend.store.migrations import PROMISE, Migrations, load_migrations, promises_of, refuse_foreign, sha256_of
from backend.store.postgres.failures import opening
from backend.store.postgres.url import Target

PACKAGE = "backend.store.postgres.migrations"
PATIENCE = 300.0
LEDGER = """
create table if not exists schema_migrations (
  version integer primary key,
  name text not null,
  sha256 text not null
)
"""
NOTE = "insert into schema_migrations (version, name, sha256) values ($1, $2, $3)"
ORPHANS = {
    "runs": "select count(*) from runs r where r.lane <> 2 and "
    "not exists (select 1 from schedules s where s.key = r.schedule_key)",
    "attempts": "select count(*) from attempts a where not exists (select 1 from runs x where x.key = a.run_key)",
}


def migrations() -> Migrations:
    """Read all migrations, in order."""
    return load_migrations(PACKAGE)


async def migrate(target: Target) -> list[str]:
    """Apply what is missing and return the names applied; several processes may do so at once.

    Raises ConfigurationError when an applied migration differs from ours or the schema is newer than this code.
    """
    with opening():
        connection = await _connect(target)
        try:
            async with connection.transaction():
                return await _apply_missing(connection, target)
        finally:
            await connection.close(timeout=1)


async def check(target: Target) -> list[str]:
    """Name what is wrong with the database: missing or foreign migrations, rows that belong to nothing.

    StoreUnavailable when it does not answer, ConfigurationError when it does not let us in.
    """
    with opening():
        connection = await _connect(target)
        try:
            async with connection.transaction(readonly=True):
                return await _problems(connection, target)
        finally:
            await connection.close(timeout=1)


async def _connect(target: Target) -> asyncpg.Connection[Any]:
    cached = 0 if target.pooled else 100
    return await asyncpg.connect(
        target.dsn,
        timeout=target.connect_timeout,
        command_timeout=PATIENCE,
        statement_cache_size=cached,
        server_settings={"application_name": target.application},
    )


async def _apply_missing(connection: asyncpg.Connection[Any], target: Target) -> list[str]:
    # The lock ends with the transaction: behind a pooler there is no session that would end.
    await connection.execute(
        "select pg_advisory_xact_lock(hashtext('scheduler migrations'), hashtext($1))", target.schema
    )
    if not await connection.fetchval("select to_regnamespace($1) is not null", f'"{target.schema}"'):
        await connection.execute(f'create schema "{target.schema}"')
    await connection.execute(f'set local search_path = "{target.schema}"')
    await connection.execute(LEDGER)
    applied = await _applied(connection)
    await _refuse_foreign(connection, applied)
    names = []
    for version, (name, text) in migrations().items():
        if version not in applied:
            await connection.execute(text)
            row = (version, name, sha256_of(text))
            await connection.execute(NOTE, *row)
            for promise in promises_of(version, text):
                await connection.execute("insert into store_info (key, value) values ($1, $2)", *promise)
            names.append(name)
    return names


async def _refuse_foreign(connection: asyncpg.Connection[Any], applied: dict[int, str]) -> None:
    promises: dict[str, str] = {}
    if applied.keys() - migrations().keys():
        found = await connection.fetch("select key, value from store_info where starts_with(key, $1)", PROMISE)
        promises = {row[0]: row[1] for row in found}
    refuse_foreign(migrations(), applied, promises)


async def _applied(connection: asyncpg.Connection[Any]) -> dict[int, str]:
    rows = await connection.fetch("select version, sha256 from schema_migrations")
    return {row[0]: row[1] for row in rows}


async def _problems(connection: asyncpg.Connection[Any], target: Target) -> list[str]:
    await connection.execute(f'set local search_path = "{target.schema}"')
    known = await connection.fetchval("select to_regclass('schema_migrations') is not null")
    applied = await _applied(connection) if known else {}
    missing = [f"migration {name} is missing" for version, (name, _) in migrations().items() if version not in applied]
    try:
        await _refuse_foreign(connection, applied)
    except ConfigurationError as error:
        return [str(error)]
    if missing:
        return missing
    counted = {table: await connection.fetchval(text) for table, text in ORPHANS.items()}
    return [f"table {table}: {number} rows belong to nothing" for table, number in counted.items() if number]
