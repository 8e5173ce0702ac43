"""The ledger of a server on SQLite, asked past it in the same words as one on PostgreSQL."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


class SqliteLedger:
    """A file, whose tables are given the schema `scheduler`."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def query(self, statement: str) -> list[list[str]]:
        """Give the rows as text."""
        with closing(sqlite3.connect("file::memory:", uri=True, timeout=30)) as raw:
            raw.execute("attach ? as scheduler", (f"file:{self._file}?mode=ro",))
            return [["" if value is None else str(value) for value in row] for row in raw.execute(statement)]
