"""Looks after what PostgreSQL leaves to us: sessions that stand still, and the statistics of a new database.

asyncpg asks for a new statement's description and flushes, and syncs only with the statement's first use. In between,
PostgreSQL takes the session for one that works, though it waits for the client: neither the limit on idle transactions
nor the one on statements ends it, and a server that is frozen there, or has died behind a network that does not tell,
would keep its locks for as long. The same is true of one that does not read an answer to its end. So the others look.

Autovacuum looks at a new table within a minute. Until then the planner knows nothing about it, and reads a whole
namespace where it should look up an id: the first big batches would become slower and slower.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import asyncpg

from backend.store.postgres.session import IDLE_TIMEOUT, STATEMENT_TIMEOUT

APPLICATION = "scheduler"
"""The application name of our sessions: no others are ended."""
LOOK_EVERY = 2.0
ACQUIRE_TIMEOUT = 5.0
END_STANDSTILL = f"""
select pg_terminate_backend(pid) from pg_stat_activity
where datname = current_database() and usename = current_user and application_name = '{APPLICATION}'
  and state = 'active' and xact_start is not null
  and (wait_event = 'ClientRead' and state_change < clock_timestamp() - interval '{IDLE_TIMEOUT}s'
       or wait_event = 'ClientWrite' and state_change < clock_timestamp() - interval '{STATEMENT_TIMEOUT}')
"""  # noqa: S608 - of constants
WORTH_KNOWING = 256 * 1024
"""Bytes of a table of which statistics are worth having: some hundred schedules."""
FIRST_STATISTICS = f"""
do $$
declare
  unknown regclass;
begin
  for unknown in
    select oid from pg_class
    where relnamespace = '"{{schema}}"'::regnamespace and relkind = 'r' and reltuples < 0
      and pg_has_role(relowner, 'usage') and pg_relation_size(oid) > {WORTH_KNOWING}
  loop
    execute format('analyze %s', unknown);
  end loop;
end $$
"""  # noqa: S608 - of constants and a checked name


class Caretaker:
    """Looks every two seconds once it is started; any server does it for all."""

    def __init__(self, pool: Any, schema: str) -> None:  # noqa: ANN401 - untyped
        self._pool: asyncpg.Pool[Any] = pool
        self._duties = f"{END_STANDSTILL};{FIRST_STATISTICS.format(schema=schema)}"
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look from now on."""
        if self._task is None:
            self._task = asyncio.create_task(self._look(), name="caretaker")

    def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _look(self) -> None:
        while True:
            # Neither is worth more than another try: what ends a loop that fires is told by that loop.
            with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection:
                    await connection.execute(self._duties)
            await asyncio.sleep(LOOK_EVERY)
