"""One transaction on one connection: begins, runs an operation's statements, commits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import asyncpg

from backend.clock import Clock
from backend.store.operation import Batch, Now, Operation, Query, Row, Statement, Think
from backend.store.postgres.statements import LOCKED, ROWS, Compiled, load_statements
from backend.store.postgres.url import Target
from backend.store.wakeup import LEASES, RUNS, TIMES, is_near

T = TypeVar("T")
STATEMENT_TIMEOUT, LOCK_TIMEOUT = "15s", "5s"
COMMAND_TIMEOUT = 20.0
"""Seconds; longer than the server's own limit, for a connection that has gone dead without a word."""
IDLE_TIMEOUT = 3.0
"""Seconds after which a transaction of a server that has died or stands still is undone, and its locks are free."""
MANY, LONG = 50, 20_000
"""Rows, and characters of a text, of which it takes longer to make something than to ask a thread for it."""
WAITING = frozenset({"queued", "retrying"})

# What a statement's success means to other servers; of these that answer states, only if one waits for a worker.
HINTS: Mapping[str, str] = {
    "insert_schedules": TIMES,
    "update_schedules": TIMES,
    "insert_runs": RUNS,
    "finish_runs": RUNS,
    "promote_held": RUNS,
    "promote_buffered": RUNS,
    "reap_runs": RUNS,
    "ask_to_stop": LEASES,
    "revoke_running": LEASES,
    "cancel_run": LEASES,
}
_ANSWERS_STATES = {"insert_runs": 0, "finish_runs": 2}
_ANSWERS_ROWS = frozenset({"promote_held", "promote_buffered", "cancel_run"})


def schema_of(target: Target) -> str:
    """Say in which schema a transaction is, in each anew: a pooler of which we were not told leads to no other's."""
    return f'set local search_path = "{target.schema}"'


def settings_of(target: Target) -> str:
    """Say how transactions are to run: each anew behind a pooler, where the next may have another connection."""
    each = "set local" if target.pooled else "set"
    return (
        f"{each} jit = off; {each} statement_timeout = '{STATEMENT_TIMEOUT}'; {each} lock_timeout = '{LOCK_TIMEOUT}'; "
        f"{each} idle_in_transaction_session_timeout = {round(IDLE_TIMEOUT * 1000)}"
    )


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """What an operation came to."""

    result: T


def advance(operation: Operation[T], rows: list[Row] | None) -> Statement | Done[T]:
    """Go on to the next statement, or to the end; no StopIteration, which could not leave a thread."""
    try:
        return next(operation) if rows is None else operation.send(rows)
    except StopIteration as done:
        return Done(done.value)


def _has_long_text(rows: list[Row]) -> bool:
    return any(isinstance(value, str) and len(value) > LONG for row in rows for value in row)


class Session:
    """A transaction. `locks` is off for one that only reads. `clock` replaces the database's clock in tests."""

    def __init__(self, connection: Any, *, locks: bool, clock: Clock | None) -> None:  # noqa: ANN401 - pool proxy
        self._connection: asyncpg.Connection[Any] = connection
        self._statements = load_statements()
        self._locks = locks
        self._clock = clock
        self._now: list[Row] | None = None
        self._hints: set[str] = set()

    async def run(self, operation: Operation[T], begin: str, channel: str) -> T:
        """Begin, drive the operation to its end, and commit; what raises undoes it."""
        try:
            await self._connection.execute(begin)
            result = await self._drive(operation)
            await self._connection.execute(self._commit(channel))
        except BaseException:
            await self._roll_back()
            raise
        return result

    async def _drive(self, operation: Operation[T]) -> T:
        rows: list[Row] | None = None
        takes_long = False
        while True:
            act = partial(advance, operation, rows)
            step = await self._think(act) if takes_long else act()
            if isinstance(step, Done):
                return step.result
            rows = await self._execute(step)
            written = len(step.rows) if isinstance(step, Batch) else 0
            many = max(len(rows), written) > MANY
            takes_long = self._locks and (isinstance(step, Think) or many or _has_long_text(rows))

    async def _think(self, act: Callable[[], Statement | Done[T]]) -> Statement | Done[T]:
        """Let an operation think between two statements in a thread, since the event loop has others to serve."""
        thinking = asyncio.get_running_loop().run_in_executor(None, act)
        try:
            # A batch of 10,000 takes seconds to plan. That we are alive is what the limit on idling asks for.
            while not (await asyncio.wait([thinking], timeout=IDLE_TIMEOUT / 3))[0]:
                await self._connection.execute("select")
            return await thinking
        except BaseException:
            await asyncio.wait([thinking])  # whoever closes the operation must not find it running
            raise

    def _commit(self, channel: str) -> str:
        # One round trip; whoever listens hears of it only once it is durable.
        hints = ",".join(sorted(self._hints))
        return f"notify \"{channel}\", '{hints}'; commit" if hints else "commit"

    async def _roll_back(self) -> None:
        try:
            if self._connection.is_closed():
                return
        except asyncpg.InterfaceError:
            return  # the server has closed it, and the pool has taken it back
        try:
            async with asyncio.timeout(1):
                await self._connection.execute("rollback")
        except BaseException as fault:
            with suppress(Exception):
                self._connection.terminate()
            if not isinstance(fault, Exception):
                raise  # we are being cancelled, and whoever does that waits for it

    async def _execute(self, statement: Statement) -> list[Row]:
        match statement:
            case Query(name, params):
                return await self._named(name, params)
            case Batch(name, rows):
                return await self._named(name, {}, rows) if rows else []
            case Now():
                return await self._read_clock()
            case Think():
                return []

    async def _named(self, name: str, params: Mapping[str, Any], rows: Any = None) -> list[Row]:  # noqa: ANN401
        if self._locks and name in self._statements.locks:
            locked = await self._fetch(self._statements.locks[name], params, rows)
            params = {**params, LOCKED: [row[0] for row in locked]}
        found = await self._fetch(self._statements.named[name], params, rows)
        self._note(name, found, rows)
        return found

    async def _fetch(self, statement: Compiled, params: Mapping[str, Any], rows: Any) -> list[Row]:  # noqa: ANN401
        if rows is not None:
            params = {**params, ROWS: statement.batch(rows)}
        found = await self._connection.fetch(statement.text, *statement.arguments(params))
        return [tuple(record) for record in found]

    async def _read_clock(self) -> list[Row]:
        # Asked once: all that a transaction does happens at one instant.
        if self._now is None:
            if self._clock is not None:
                self._now = [(self._clock.now(),)]
            else:
                self._now = await self._fetch(self._statements.named["clock"], {}, None)
        return self._now

    def _note(self, name: str, rows: list[Row], given: Any) -> None:  # noqa: ANN401
        hint = HINTS.get(name)
        if hint is None or hint in self._hints or (name in _ANSWERS_ROWS and not rows):
            return
        if hint == TIMES and self._now is not None:
            now = self._now[0][0]
            if not any(is_near(row["next_scheduled_at"], now) for row in given):
                return
        place = _ANSWERS_STATES.get(name)
        if place is None or any(row[place] in WAITING for row in rows):
            self._hints.add(hint)
