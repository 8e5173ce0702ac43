"""Opens the database that a URL names; the only place that knows which kinds there are."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

from backend.clock import Clock
from backend.errors import ConfigurationError
from backend.store.admin import ensure_info
from backend.store.history import begin_ledger
from backend.store.port import Store
from backend.store.sqlite.migrate import check, migrate
from backend.store.sqlite.runner import SqliteRunner

SQLITE = "sqlite:///"


def sqlite_path(url: str) -> Path:
    """Read the file's path from `sqlite:///relative` or `sqlite:////absolute`."""
    if not url.startswith(SQLITE) or url == SQLITE:
        raise ConfigurationError("SCHEDULER_DATABASE_URL is not of the form sqlite:///PATH")
    return Path(url.removeprefix(SQLITE))


async def open_store(url: str, *, clock: Clock | None = None) -> Store:
    """Open the database, made and migrated first if need be. `clock` replaces the database's clock in tests."""
    path = sqlite_path(url)
    # In a thread: another process may hold the file's lock for seconds, in which health still has to be answered.
    await asyncio.to_thread(migrate, path)
    runner = SqliteRunner(path, clock=clock)
    try:
        store_id = await runner.write(ensure_info("store_id", secrets.token_hex(16)))
        await runner.write(begin_ledger())
    except BaseException:
        runner.close()
        raise
    return Store(runner, store_id, runner.close)


def migrate_database(url: str) -> list[str]:
    """Bring the database to the newest schema; answers the migrations applied."""
    return migrate(sqlite_path(url))


def check_database(url: str) -> list[str]:
    """Name what is wrong with the database."""
    return check(sqlite_path(url))
