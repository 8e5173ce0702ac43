"""What SQLite does where very many runs wait, most of them in one namespace: a page's work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apsw
import orjson
import pytest

from backend.model.instants import DAY
from backend.store.sqlite.connection import Connection
from backend.store.sqlite.migrate import migrate
from tests.plans.sizes import MANY_RUNS
from tests.plans.stepping import work_of
from tests.store.world import START

LATE = START + DAY
LATER = LATE + DAY
"""From then on, the delayed runs of very many namespaces are due; they have the second lane for themselves."""
WAITING = MANY_RUNS // 4
"""Schedules with four runs each that have not ended."""
SCHEDULES = """
with recursive n (i) as (select 1 union all select i + 1 from n where i < :schedules)
insert into schedules (namespace, id, name, target_kind, state, definition, triggers, revision, created_at, created_by,
  updated_at, effective_at, cursor_at, misfire_policy, misfire_threshold, catchup_window, overlap_policy, delivery,
  pause_after_failures)
select 'default', 'job-' || i, '', 'http', 'active', '{}', '[]', 1, :start, 'x', :start, :start, :start,
  'fire_once', 0, 0, 'buffer_all', 'at_least_once', 5
from n
"""
RUNS = """
with recursive n (i) as (select 0 union all select i + 1 from n where i < :runs - 1)
insert into runs (id, schedule_key, namespace, nominal_at, backfill_id, trigger_type, state, scheduled_at, queued_at,
  available_at, retry_until_at, chained, revision, target_kind)
select printf('%012x', i), 1 + i / 4, case i % 40 when 0 then 'other-' || i else 'default' end, :start + i, '',
  'schedule', case i % 4 when 0 then 'queued' when 1 then 'retrying' when 2 then 'buffered' else 'held' end,
  :start, :start, :start + i, :start, i % 4 > 0, 1, 'http'
from n
"""
NAMESPACES = 10_000
DELAYED = """
with recursive n (i) as (select 0 union all select i + 1 from n where i < :runs - 1)
insert into runs (id, schedule_key, namespace, nominal_at, backfill_id, trigger_type, state, scheduled_at, queued_at,
  available_at, retry_until_at, chained, lane, revision, target_kind)
select printf('d%011x', i), 1 + i / 4, 'n-' || (i % :namespaces), -1 - i, '', 'backfill', 'retrying', :start, :start,
  :later + i, :later, 0, 1, 1, 'http'
from n
"""


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apsw.Connection]:
    path = tmp_path_factory.mktemp("plans") / "scheduler.db"
    migrate(path)
    connection = Connection(path)
    connection.raw.execute("pragma synchronous = off; pragma journal_mode = off").fetchall()
    values = {"schedules": WAITING, "runs": MANY_RUNS, "start": START, "namespaces": NAMESPACES, "later": LATER}
    for statement in (SCHEDULES, RUNS, DELAYED):
        connection.raw.execute(statement, values)
    connection.raw.execute("pragma journal_mode = wal").fetchall()
    yield connection.raw
    connection.close()


KEYS = orjson.dumps(list(range(1, 51))).decode()
MAY = {"kinds": '["http", "python"]'}
LEASE = {"now": LATE, "until": LATE, "token": "t", "worker": "w", "lane": 0, "limit": 50, "share": 50, "rooms": None}
PROMOTION = {"schedule_keys": KEYS, "now": LATE, "retry_until_at": LATE}
WORK: list[tuple[str, dict[str, Any], int]] = [
    ("waiting_namespaces", {"now": LATE, "lane": 0, "after": "", "limit": 50, **MAY}, 50),
    ("waiting_namespaces", {"now": LATE, "lane": 0, "after": "other-1", "limit": 50, **MAY}, 50),
    ("waiting_namespaces", {"now": LATE, "lane": 0, "after": "z", "limit": 50, **MAY}, 50),
    ("waiting_namespaces", {"now": LATE, "lane": 1, "after": "", "limit": 50, **MAY}, 0),
    ("claim_runs", {**LEASE, "namespaces": '["default"]', **MAY}, 50),
    ("next_available", {"now": LATE, "lanes": "[0,1,2]", **MAY}, 1),
    ("waiting_schedules", {"after_key": 0, "limit": 50, **MAY}, 50),
    ("waiting_schedules", {"after_key": WAITING - 10, "limit": 50}, 10),
    ("schedules_holding", {"schedule_keys": KEYS}, 0),
    ("promote_held", PROMOTION, 0),
    ("promote_buffered", PROMOTION, 0),
]
MOST_STEPS = 50_000


@pytest.mark.parametrize(("name", "values", "rows"), WORK, ids=[name for name, *_ in WORK])
def test_however_many_wait_a_statement_takes_the_steps_of_a_page(
    waiting: apsw.Connection, name: str, values: dict[str, Any], rows: int
) -> None:
    found, steps = work_of(waiting, name, values)
    print(f"sqlite {name}: {steps} steps")
    assert found == rows
    assert steps <= MOST_STEPS < MANY_RUNS


IDLE_STEPS = 1_000


@pytest.mark.parametrize("after", ["", "n-5", "z"])
def test_delayed_runs_of_very_many_namespaces_are_not_looked_at_before_one_is_due(
    waiting: apsw.Connection, after: str
) -> None:
    idle = {"lane": 1, "after": after, "limit": 50, **MAY}
    assert [row[0] for row in waiting.execute("select count(distinct namespace) from runs where lane = 1")] == [
        NAMESPACES
    ]
    found, steps = work_of(waiting, "waiting_namespaces", {"now": LATE, **idle})
    print(f"sqlite waiting_namespaces, none due: {steps} steps")
    assert (found, steps <= IDLE_STEPS) == (0, True), steps
    assert work_of(waiting, "waiting_namespaces", {"now": LATER, **idle})[0] == 1
    found, steps = work_of(waiting, "waiting_namespaces", {"now": LATER + MANY_RUNS, **idle})
    print(f"sqlite waiting_namespaces, all due: {steps} steps")
    assert (found, steps <= MOST_STEPS) == (50, True), steps
