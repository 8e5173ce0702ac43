"""Opens the database that a URL names; the only place that knows which kinds there are."""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from backend.clock import Clock
from backend.errors import ConfigurationError, StoreUnavailable
from backend.store.admin import ensure_info, noted_clock
from backend.store.history import begin_ledger
from backend.store.port import Store
from backend.store.postgres.url import is_postgres, read_url
from backend.store.retention import keep_ranges
from backend.store.sqlite.migrate import check, migrate
from backend.store.sqlite.runner import SqliteRunner

if TYPE_CHECKING:
    from backend.store.postgres.runner import PostgresRunner

SQLITE = "sqlite:///"


def sqlite_path(url: str) -> Path:
    """Read the file's path from `sqlite:///relative` or `sqlite:////absolute`."""
    if not url.startswith(SQLITE) or url == SQLITE:
        raise ConfigurationError(
            "SCHEDULER_DATABASE_URL is of neither form: sqlite:///PATH, postgresql://USER:PASSWORD@HOST/DATABASE"
        )
    return Path(url.removeprefix(SQLITE))


async def open_store(url: str, *, clock: Clock | None = None) -> Store:
    """Open the database, made and migrated first if need be. `clock` replaces the database's clock in tests."""
    # In a thread: another process may hold the file's lock for seconds, in which health still has to be answered.
    await asyncio.to_thread(migrate_database, url)
    runner = await _open_postgres(url, clock) if is_postgres(url) else SqliteRunner(sqlite_path(url), clock=clock)
    try:
        store_id = await runner.write(ensure_info("store_id", secrets.token_hex(16)))
        await runner.write(begin_ledger())
        await runner.write(keep_ranges())
        known_at = await runner.read(noted_clock())
    except BaseException:
        runner.close()
        raise
    return Store(runner, store_id, runner.close, runner.hear, known_at)


async def _open_postgres(url: str, clock: Clock | None) -> PostgresRunner:
    from backend.store.postgres.runner import open_runner  # noqa: PLC0415 - only where it is needed

    return await open_runner(read_url(url), clock=clock)


def migrate_database(url: str) -> list[str]:
    """Bring the database to the newest schema; answers the migrations applied."""
    if is_postgres(url):
        from backend.store.postgres.migrate import migrate as migrate_postgres  # noqa: PLC0415 - likewise

        return asyncio.run(migrate_postgres(read_url(url)))
    path = sqlite_path(url)
    try:
        _make_private(path)
        return migrate(path)
    except (OSError, StoreUnavailable) as error:
        raise ConfigurationError(f"SCHEDULER_DATABASE_URL: {path} cannot be used ({error}), so name another") from None


def _make_private(path: Path) -> None:
    """Make folder and file for this user alone: it holds headers, environments and outputs. WAL files follow it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def check_database(url: str) -> list[str]:
    """Name what is wrong with the database."""
    if is_postgres(url):
        from backend.store.postgres.migrate import check as check_postgres  # noqa: PLC0415 - likewise

        return asyncio.run(check_postgres(read_url(url)))
    return check(sqlite_path(url))
