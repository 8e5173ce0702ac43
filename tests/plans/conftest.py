"""A database with very many schedules and runs, made once."""

from __future__ import annotations

from collections.abc import Iterator

import apsw
import pytest

from backend.model.instants import MINUTE
from backend.store.sqlite.connection import Connection
from backend.store.sqlite.migrate import migrate
from tests.plans.sizes import MANY_RUNS, MANY_SCHEDULES
from tests.store.world import START

INDEXES = "select name, sql from sqlite_schema where type = 'index' and tbl_name = 'runs' and sql is not null"

SCHEDULES = """
with recursive n (i) as (select 1 union all select i + 1 from n where i < :schedules)
insert into schedules (namespace, id, name, owner, target_kind, state, definition, triggers, revision, source,
  created_at, created_by, updated_at, effective_at, cursor_at, next_nominal_at, next_scheduled_at, misfire_policy,
  misfire_threshold, catchup_window, overlap_policy, delivery, pause_after_failures, deleted_at)
select 'default', 'job-' || i, 'Job ' || i, 'owner-' || (i % 1000), 'http', 'active', '{}', '[]', 1,
  'file-' || (i % 50), :start, 'x', :start, :start, :start, due, due, 'fire_once', 0, 0, 'skip', 'at_least_once', 5,
  case when i % 100 = 0 then :start end
from (select i, case when i % 100 <> 0 then :start + (i % 1440) * :minute end as due from n)
"""

# Ten runs each of a part of the schedules; one in a hundred is open.
RUNS = """
with recursive n (i) as (select 0 union all select i + 1 from n where i < :runs - 1)
insert into runs (id, schedule_key, namespace, nominal_at, backfill_id, trigger_type, state, scheduled_at, queued_at,
  available_at, finished_at, retry_until_at, chained, revision, lease_token, lease_until, worker, attempt)
select printf('%012x-7000-8000-%012x', (:start + i * :minute / 100) / 1000, i), 1 + i % (:runs / 10), 'default',
  :start + i * :minute / 100, '', 'schedule', state, :start, :start, :start + i,
  case when state in ('succeeded', 'failed', 'skipped') then :start + i end, :start, 0, 1,
  case when state = 'running' then 't' end, case when state = 'running' then :start + i end,
  case when state = 'running' then 'w' end, 1
from (select i, case i % 400 when 0 then 'queued' when 100 then 'running' when 200 then 'retrying' when 300 then 'held'
                else case i % 10 when 1 then 'failed' when 2 then 'skipped' else 'succeeded' end end as state from n)
"""

TAGS = "insert into schedule_tags select namespace, 'team:' || (key % 100), key from schedules where deleted_at is null"
ATTEMPTS = """
insert into attempts (run_key, number, state, started_at, finished_at, worker)
select key, 1, 'succeeded', queued_at, finished_at, 'w' from runs where finished_at is not null
"""


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apsw.Connection]:
    path = tmp_path_factory.mktemp("plans") / "scheduler.db"
    migrate(path)
    connection = Connection(path)
    connection.raw.execute("pragma synchronous = off; pragma journal_mode = off").fetchall()
    values = {"schedules": MANY_SCHEDULES, "runs": MANY_RUNS, "start": START, "minute": MINUTE}
    indexes = list(connection.raw.execute(INDEXES))  # made afterwards: sooner at this size
    without = [f"drop index {name}" for name, _ in indexes]
    for statement in (*without, SCHEDULES, RUNS, *(str(text) for _, text in indexes), TAGS, ATTEMPTS):
        connection.raw.execute(statement, values)
    connection.raw.execute("pragma journal_mode = wal").fetchall()
    yield connection.raw
    connection.close()
