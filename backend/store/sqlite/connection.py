"""One SQLite connection with our settings, running operations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import apsw
import orjson

from backend.clock import Clock
from backend.errors import StoreUnavailable
from backend.store.operation import Batch, Now, Operation, Query, Row, Statement, Think
from backend.store.queries import load_queries

T = TypeVar("T")
BUSY_TIMEOUT_MS = 5000
WAL_TRIES = 100
PACKAGE = "backend.store.sqlite"


class Connection:
    """A connection that is used by one thread at a time. `clock` replaces the database's clock in tests."""

    def __init__(self, path: Path, *, read_only: bool = False, clock: Clock | None = None) -> None:
        flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        try:
            self.raw = apsw.Connection(str(path), flags=flags, statementcachesize=256)
            self._configure(read_only=read_only)
        except apsw.Error as error:
            raise StoreUnavailable(f"{path} cannot be opened: {error}") from error
        self._queries = load_queries(PACKAGE)
        self._clock = clock

    def _configure(self, *, read_only: bool) -> None:
        self.raw.set_busy_timeout(BUSY_TIMEOUT_MS)
        # Without this SQLite plans each statement anew whenever other values are bound to it.
        self.raw.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        if not read_only:
            self._enter_wal()
            # FULL: a commit that was answered survives a power cut, not only a crash of this process.
            self.raw.execute("pragma synchronous = full").fetchall()
        self.raw.execute("pragma foreign_keys = on").fetchall()
        self.raw.execute("pragma cache_size = -16000").fetchall()
        # Readers sort in memory. A writer's temporary store holds what undoes a savepoint, which SQLite, in memory,
        # walks from its beginning at the end of each statement: ten thousand rows would hold the writer for seconds.
        self.raw.execute(f"pragma temp_store = {'memory' if read_only else 'default'}").fetchall()

    def _enter_wal(self) -> None:
        for _ in range(WAL_TRIES):
            try:
                self.raw.execute("pragma journal_mode = wal").fetchall()
            except apsw.BusyError:
                # Several processes open a new file at once, and SQLite does not wait when it changes the mode.
                # It does wait for the turn to write, up to the busy timeout: then the others have changed it.
                self.raw.execute("begin immediate")
                self.raw.execute("rollback")
            else:
                return
        raise apsw.BusyError("other processes keep changing the journal mode")

    def run(self, operation: Operation[T]) -> T:
        """Drive an operation to its end; the caller has begun a transaction, and ends it."""
        try:
            statement = next(operation)
            while True:
                statement = operation.send(self._execute(statement))
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            operation.close()

    def _execute(self, statement: Statement) -> list[Row]:
        match statement:
            case Query(name, params):
                return list(self.raw.execute(self._queries[name], _adapt(params)))
            case Batch(name, rows):
                return list(self.raw.executemany(self._queries[name], rows)) if rows else []
            case Now():
                return self._now()
            case Think():
                return []

    def _now(self) -> list[Row]:
        if self._clock is not None:
            return [(self._clock.now(),)]
        return list(self.raw.execute(self._queries["clock"]))

    def close(self) -> None:
        """Close the connection; the last one to close folds the WAL into the file."""
        self.raw.close()


def _adapt(params: Mapping[str, Any]) -> Mapping[str, Any]:
    if not any(isinstance(value, list) for value in params.values()):
        return params
    return {name: orjson.dumps(value).decode() if isinstance(value, list) else value for name, value in params.items()}
