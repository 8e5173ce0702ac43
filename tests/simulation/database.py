"""The real SQLite store in memory: the operations and statements as they are, run in this thread, and watched."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

from backend.clock import Clock
from backend.engine.plan import plan_all
from backend.model.plan import Planner
from backend.store.history import begin_ledger
from backend.store.operation import Batch, Operation, Query, Row, Statement
from backend.store.sqlite.connection import Connection
from backend.store.sqlite.migrate import migrations
from tests.simulation.mirror import Commit, Mirror

T = TypeVar("T")
STORE_ID = "simulated"


class Result(NamedTuple):
    """A result that a worker wrote back: for which run, under which token."""

    run_key: int
    token: str


class Plant(NamedTuple):
    """A bug put in on purpose: statements instead of named ones, and others to begin with."""

    statements: Mapping[str, str] = {}
    schema: tuple[str, ...] = ()
    deferred: str = ""
    """The name of a batch that is written in a second transaction."""
    plan: Planner = plan_all
    unguarded: bool = False
    """Nobody asks whether the database's clock can be right."""


NO_PLANT = Plant()
POISON = '{"never":'
_OURS = {
    "poison": "update schedules set triggers = :poison where key = :key",
    "heal": "update schedules set triggers = :triggers where key = :key and triggers = :poison",
}


@cache
def _connection() -> Connection:
    connection = Connection(Path(":memory:"))
    for _, text in migrations().values():
        connection.raw.execute(text).fetchall()
    return connection


class Database:
    """Opened for one seed. It lives within one transaction that is undone in the end, so that the next begins anew."""

    def __init__(self, clock: Clock, plant: Plant) -> None:
        self.connection = _connection()
        self.raw = self.connection.raw
        self.plant = plant
        self.deferred = plant.deferred
        self._clock = clock
        self._ours = self.connection._queries
        self.connection._queries = {**self._ours, **_OURS, **plant.statements}
        self.connection._clock = clock
        self.mirror = Mirror(self.raw)
        self._results: list[Result] = []
        self._put_off: list[Batch] = []
        self.raw.set_update_hook(None)
        self.raw.execute("begin")
        for statement in plant.schema:
            self.raw.execute(statement).fetchall()
        self.connection.run(begin_ledger())
        self.raw.set_update_hook(self.mirror.changed)

    def close(self) -> None:
        """Undo all that this seed has written."""
        self.raw.set_update_hook(None)
        self.raw.execute("rollback")
        self.connection._queries = self._ours

    def read(self, operation: Operation[T]) -> T:
        """Run on what is committed."""
        return self.connection.run(operation)

    def write(self, operation: Operation[T], *, undone: bool = False) -> tuple[T, Commit | None]:
        """Run in a transaction of its own; `undone`: its commit fails."""
        self.raw.execute("savepoint operation")
        self._results.clear()
        try:
            result = self.connection.run(self._watched(operation))
        except BaseException:
            self._undo()
            raise
        if undone:
            self._undo()
            return result, None
        self.raw.execute("release operation")
        return result, self.mirror.commit(self._clock.now(), [(r.run_key, r.token) for r in self._results])

    def _undo(self) -> None:
        self.raw.execute("rollback to operation")
        self.raw.execute("release operation")
        self.mirror.forget()
        self._put_off.clear()

    def second_half(self) -> Operation[None] | None:
        """Give what a planted bug has put off to a second transaction."""
        if not self._put_off:
            return None
        batches, self._put_off = self._put_off, []
        return _all_of(batches)

    def _watched(self, operation: Operation[T]) -> Generator[Statement, list[Row], T]:
        """Hand every statement on, and keep which results were written under which token."""
        statement = next(operation)
        try:
            while True:
                if type(statement) is Batch:
                    if statement.name == "finish_runs":
                        self._results += [Result(row["key"], row["token"]) for row in statement.rows]
                    if statement.name == self.deferred:
                        self._put_off.append(statement)
                        statement = operation.send([])
                        continue
                statement = operation.send((yield statement))
        except StopIteration as done:
            answer: T = done.value
            return answer
        finally:
            operation.close()


def poison(key: int) -> Operation[None]:
    """Make a schedule one that cannot be planned."""
    yield Query("poison", {"key": key, "poison": POISON})


def heal(key: int, triggers: str) -> Operation[None]:
    """Give a schedule its triggers back, unless somebody has given it others."""
    yield Query("heal", {"key": key, "triggers": triggers, "poison": POISON})


def _all_of(batches: list[Batch]) -> Operation[None]:
    for batch in batches:  # noqa: UP028 - what is sent back is of no use to a list
        yield batch
