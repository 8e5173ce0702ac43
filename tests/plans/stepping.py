"""How far SQLite walks for a statement: the steps of its virtual machine, counted."""

from __future__ import annotations

from typing import Any

import apsw

from backend.store.queries import load_queries
from backend.store.sqlite.connection import PACKAGE

STATEMENTS = load_queries(PACKAGE)


class Params(dict[str, Any]):
    """What is not given is null."""

    def __missing__(self, _: str) -> None:
        return None


def work_of(raw: apsw.Connection, name: str, values: dict[str, Any]) -> tuple[int, int]:
    """Run a statement and undo it; answers the rows it gave and the virtual machine's steps it took."""
    steps = 0

    def count() -> bool:
        nonlocal steps
        steps += 1
        return False

    raw.execute("savepoint work")
    raw.set_progress_handler(count, 100)
    try:
        rows = len(list(raw.execute(STATEMENTS[name], Params(values))))
    finally:
        raw.set_progress_handler(None)
        raw.execute("rollback to work")
        raw.execute("release work")
    return rows, steps * 100
