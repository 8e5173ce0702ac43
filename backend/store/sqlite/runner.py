"""Runs operations on one SQLite file."""

from __future__ import annotations

from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from backend.clock import Clock
from backend.store.operation import Operation
from backend.store.sqlite.connection import Connection
from backend.store.sqlite.threads import Job, Reader, Writer
from backend.store.wakeup import Hear

T = TypeVar("T")
READERS = 2


class SqliteRunner:
    """One writer and a few readers on one file, which is migrated already. `clock` is for tests."""

    def __init__(self, path: Path, *, clock: Clock | None = None) -> None:
        self._writer = Writer("store-writer", lambda: Connection(path, clock=clock), SimpleQueue())
        reads: SimpleQueue[Job | None] = SimpleQueue()
        self._readers = [
            Reader(f"store-reader-{n}", lambda: Connection(path, read_only=True, clock=clock), reads)
            for n in range(READERS)
        ]

    async def write(self, operation: Operation[T]) -> T:
        return await self._writer.submit(operation)

    async def read(self, operation: Operation[T]) -> T:
        return await self._readers[0].submit(operation)

    def hear(self, listener: Hear) -> None:
        """Do nothing: only the processes of one machine share a file, and they poll."""

    def close(self) -> None:
        """Finish what is queued and close the file."""
        # All readers are told before one is waited for: they share a queue, and any of them may take the word.
        for reader in self._readers:
            reader.end()
        for reader in self._readers:
            reader.join()
        # The writer closes last, because a connection that only reads cannot fold the WAL into the file.
        self._writer.end()
        self._writer.join()
