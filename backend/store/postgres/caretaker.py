"""Looks after what PostgreSQL leaves to us: sessions that stand still, and the statistics of a new database.

asyncpg asks for a new statement's description and flushes, and syncs only with the statement's first use. In between,
PostgreSQL takes the session for one that works, though it waits for the client: neither the limit on idle transactions
nor the one on statements ends it, and a server that is frozen there, or has died behind a network that does not tell,
would keep its locks for as long. The same is true of one that does not read an answer to its end. So the others look.

Autovacuum looks at a new table within a minute. Until then the planner knows nothing about it, and reads a whole
namespace where it should look up an id: the first big batches would become slower and slower.
"""

from __future__ import annotations

from typing import Any

import asyncpg

from backend.store.postgres.session import COMMAND_TIMEOUT
from backend.store.postgres.url import Target

LOOK_EVERY = 4.0
PAUSE = 15
"""Looks that are left out when the database has refused: it may be for good, and its log has a line of each."""
STATISTICS_TIMEOUT = "5s"
"""Of one table, of which some thousand rows are read; meanwhile nothing else is heard or ended."""
LOCK_TIMEOUT = "500ms"
WORTH_KNOWING = 256 * 1024
"""Bytes of a table of which statistics are worth having: some hundred schedules."""

# Of an honest session the server itself has given up by then, and no statement takes so long.
_END_STANDSTILL = """
select pg_terminate_backend(pid) from pg_stat_activity
where datname = current_database() and usename = current_user
  and (application_name = '{application}' or starts_with(application_name, '{application} - '))  -- a pooler adds a host
  and state = 'active' and xact_start is not null and wait_event in ('ClientRead', 'ClientWrite')
  and state_change < clock_timestamp() - interval '{seconds} seconds'
"""
_UNKNOWN_TABLES = """
select relname from pg_class
where relnamespace = to_regnamespace($1) and relkind = 'r' and reltuples < 0
  and pg_has_role(relowner, 'usage') and pg_relation_size(oid) > $2
order by pg_relation_size(oid) desc limit 5
"""


class Caretaker:
    """What one server does for all of its schema."""

    def __init__(self, target: Target) -> None:
        self._schema = target.schema
        self._end_standstill = _END_STANDSTILL.format(application=target.application, seconds=COMMAND_TIMEOUT)
        self._left_out = dict.fromkeys((self._end, self._get_statistics), 0)

    async def look(self, connection: Any) -> None:  # noqa: ANN401 - untyped
        """Do what there is to do; raises what the connection does not outlive: no answer in time is one."""
        for duty, left_out in self._left_out.items():
            self._left_out[duty] = max(left_out - 1, 0)
            if left_out:
                continue
            try:
                done = await duty(connection)
            except asyncpg.PostgresError:
                if connection.is_closed():
                    raise
                done = False
            self._left_out[duty] = 0 if done else PAUSE

    async def _end(self, connection: Any) -> bool:  # noqa: ANN401 - untyped
        await connection.execute(self._end_standstill)
        return True

    async def _get_statistics(self, connection: Any) -> bool:  # noqa: ANN401 - untyped
        unknown = await self._unknown_tables(connection)
        for table in unknown:
            # Each in a transaction of its own: one that is undone leaves marks that keep autovacuum away.
            async with connection.transaction():
                await connection.execute(f"set local statement_timeout = '{STATISTICS_TIMEOUT}'")
                await connection.execute(f'analyze (skip_locked) "{self._schema}"."{table}"')
        return not unknown or not set(unknown) & set(await self._unknown_tables(connection))

    async def _unknown_tables(self, connection: Any) -> list[str]:  # noqa: ANN401 - untyped
        async with connection.transaction():
            # To measure a table waits for whoever has locked it whole, and meanwhile nothing is heard.
            await connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
            rows = await connection.fetch(_UNKNOWN_TABLES, f'"{self._schema}"', WORTH_KNOWING)
        return [row[0] for row in rows]
