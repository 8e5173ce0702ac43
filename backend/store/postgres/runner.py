"""Runs operations on PostgreSQL, each in one transaction on a connection of a pool."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import asyncpg

from backend.clock import Clock
from backend.errors import StoreUnavailable
from backend.store.operation import Operation
from backend.store.postgres.failures import answering, opening
from backend.store.postgres.listener import Listener
from backend.store.postgres.session import COMMAND_TIMEOUT, Session, schema_of, settings_of
from backend.store.postgres.url import Target
from backend.store.wakeup import Hear

T = TypeVar("T")
ACQUIRE_TIMEOUT = 5.0
CLOSE_TIMEOUT = 1.0
CACHED_STATEMENTS = 256


class PostgresRunner:
    """A pool on one database. Belongs to the event loop in which it is opened. `clock` is for tests."""

    def __init__(self, pool: Any, target: Target, *, clock: Clock | None = None) -> None:  # noqa: ANN401 - untyped
        self._pool: asyncpg.Pool[Any] = pool
        self._target = target
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        settings = f"; {schema_of(target)}" + (f"; {settings_of(target)}" if target.pooled else "")
        self._write = f"begin isolation level read committed{settings}"
        self._read = f"begin isolation level repeatable read read only{settings}"
        self._listener = Listener(target)

    async def write(self, operation: Operation[T]) -> T:
        return await self._run(operation, self._write, locks=True)

    async def read(self, operation: Operation[T]) -> T:
        return await self._run(operation, self._read, locks=False)

    async def _run(self, operation: Operation[T], begin: str, *, locks: bool) -> T:
        try:
            with answering():
                async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection:
                    session = Session(connection, locks=locks, clock=self._clock)
                    return await session.run(operation, begin, self._target.channel)
        finally:
            operation.close()

    def hear(self, listener: Hear) -> None:
        """Tell this callback what other servers hint at, and look after the database, until the runner is closed."""
        self._listener.start(listener)

    def close(self) -> None:
        """Close all connections; from the loop's own thread at once, from another after the last statement."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop or self._loop.is_closed() or not self._loop.is_running():
            self._listener.stop()
            self._pool.terminate()
            return
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(2 * CLOSE_TIMEOUT)

    async def _close(self) -> None:
        self._listener.stop()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._pool.close()
        except (TimeoutError, asyncpg.InterfaceError):
            self._pool.terminate()


async def open_runner(target: Target, *, clock: Clock | None = None) -> PostgresRunner:
    """Connect; ConfigurationError for what no wait will mend, StoreUnavailable otherwise."""

    async def prepare(connection: Any) -> None:  # noqa: ANN401 - untyped
        if not target.pooled:
            await connection.execute(settings_of(target))

    with opening():
        pool = await asyncpg.create_pool(
            target.dsn,
            min_size=1,
            max_size=target.pool_size,
            timeout=target.connect_timeout,
            command_timeout=COMMAND_TIMEOUT,
            statement_cache_size=0 if target.pooled else CACHED_STATEMENTS,
            max_cached_statement_lifetime=0,
            server_settings={"application_name": target.application},
            init=prepare,
            reset=_nothing_to_reset,
        )
    if pool is None:
        raise StoreUnavailable("the database did not answer: there is no pool")
    return PostgresRunner(pool, target, clock=clock)


async def _nothing_to_reset(_: object) -> None:
    """Leave a connection as it is: our settings are for all of its transactions, or end with one."""
