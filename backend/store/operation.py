"""Store operations are generators that yield statements, so one text serves every database.

An operation says *what* is done in one transaction and in which order; a runner (one per database) decides
how statements reach the database: on SQLite a whole operation runs in one hop of the writer's thread.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """One named statement; a list among the parameters stands for a set of values. Answers its rows."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """One named statement for many rows of parameters. Answers all rows it returns."""

    name: str
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Now:
    """The database's clock. Answers one row: the instant, in microseconds.

    Where that time is not trusted the operation is undone; one that `goes_on` is told what time it should be.
    """

    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class Think:
    """No statement: what comes next takes its time, such as planning. Answers no row.

    Who runs operations where others wait lets the operation go on elsewhere.
    """


Statement = Query | Batch | Now | Think
Operation = Generator[Statement, list[Row], T]


class Runner(Protocol):
    """Runs operations, each in one transaction that is committed when its result comes back."""

    async def write(self, operation: Operation[T]) -> T:
        """Run in a serialised transaction; durable when this returns, undone when it raises."""
        ...

    async def read(self, operation: Operation[T]) -> T:
        """Run on one snapshot; the operation must not write."""
        ...


def now() -> Operation[int]:
    """Read the database's clock, in microseconds."""
    rows = yield Now()
    return int(rows[0][0])


def think() -> Operation[None]:
    """Say that what comes next takes more than a millisecond."""
    yield Think()


def steady_now() -> Operation[int]:
    """Read the database's clock for what has to go on while it is wrong: work under leases that are held."""
    rows = yield Now(goes_on=True)
    return int(rows[0][0])
