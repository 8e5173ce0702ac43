"""What PostgreSQL does for a statement on very many schedules and runs in several partitions: a page's work.

Plans are made both for the values at hand and, as for a statement that has been run often, for any.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import orjson
import pytest

from backend.model.instants import DAY, MINUTE, SECOND
from backend.store.postgres.statements import compiled
from tests.databases import POSTGRES, database, in_thread, run_sql
from tests.plans.explaining import explained, nodes, statement, touched
from tests.plans.sizes import MANY_RUNS, MANY_SCHEDULES, SCHEDULES_WITH_RUNS
from tests.store.world import START

APART = 48 * SECOND * 100_000 // MANY_RUNS
"""So that the runs fill three partitions."""
MOST_ROWS = 5_000
OPEN_RUNS = MANY_RUNS // 100
READ_WHAT_IS_OPEN = {"extend_leases", "finish_runs", "lock expired_leases"}
"""With very many open runs these read all of one state, from the partial index that holds no others."""

SCHEDULES = f"""
insert into schedules (namespace, id, name, owner, target_kind, state, definition, triggers, revision, source,
  created_at, created_by, updated_at, effective_at, cursor_at, next_nominal_at, next_scheduled_at, misfire_policy,
  misfire_threshold, catchup_window, overlap_policy, delivery, pause_after_failures, deleted_at)
select 'default', 'job-' || i, 'Job ' || i, 'owner-' || (i % 1000), 'http', 'active', '{{}}', '[]', 1,
  'file-' || (i % 50), {START}, 'x', {START}, {START}, {START}, due, due, 'fire_once', 0, 0, 'skip', 'at_least_once', 5,
  case when i % 100 = 0 then {START} end
from (select i, case when i % 100 <> 0 then {START} + (i % 1440) * {MINUTE} end as due
      from generate_series(1::bigint, {MANY_SCHEDULES}) i) n
"""
# Ten runs each of a part of the schedules; one in a hundred is open.
RUNS = f"""
insert into runs (key, id, schedule_key, namespace, nominal_at, backfill_id, trigger_type, state, scheduled_at,
  queued_at, available_at, finished_at, retry_until_at, chained, revision, lease_token, lease_until, worker, attempt)
select (range_of(at) << 40) | i, lpad(to_hex(at / 1000), 12, '0') || '-7000-8000-' || lpad(to_hex(i), 12, '0'),
  1 + i % {SCHEDULES_WITH_RUNS}, 'default', at, '', 'schedule', state, at, at, at,
  case when state in ('succeeded', 'failed', 'skipped') then at end, at, 0, 1,
  case when state = 'running' then 't' end, case when state = 'running' then {START} + i end,
  case when state = 'running' then 'w' end, 1
from (select i, {START} + i * {APART} as at,
        case i % 400 when 0 then 'queued' when 100 then 'running' when 200 then 'retrying' when 300 then 'held'
          else case i % 10 when 1 then 'failed' when 2 then 'skipped' else 'succeeded' end end as state
      from generate_series(0::bigint, {MANY_RUNS} - 1) i) n
"""
INDEXES = """
select indexname, replace(indexdef, ' ON ONLY ', ' ON ') from pg_indexes
where schemaname = 'scheduler' and tablename = 'runs' and indexname <> 'runs_pkey'
"""
FILL = (
    f"select make_ranges({START}), make_ranges({START + 56 * DAY})",
    SCHEDULES,
    RUNS,
    "insert into schedule_tags select namespace, 'team:' || (key % 100), key from schedules where deleted_at is null",
    (
        "insert into attempts (run_key, number, state, started_at, finished_at, worker) "
        "select key, 1, 'succeeded', queued_at, finished_at, 'w' from runs where finished_at is not null"
    ),
    "analyze schedules, runs, attempts, schedule_tags",
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with database(POSTGRES, tmp_path_factory.mktemp("plans")) as url:
        indexes = run_sql(url, INDEXES)  # made afterwards: sooner at this size
        without = [f"drop index {name}" for name, _ in indexes]
        made, filled, analysed = FILL[:1], FILL[1:-1], FILL[-1:]
        for statement in (*made, *without, *filled, *(text for _, text in indexes), *analysed):
            run_sql(url, statement)
        yield url


def running(number: int) -> int:
    """The key of one of the runs that are leased."""
    at = START + (100 + 400 * number) * APART
    return (at // (28 * DAY) << 40) | (100 + 400 * number)


def rows(*fields: dict[str, Any]) -> str:
    return orjson.dumps(list(fields)).decode()


FIFTY = list(range(1, 51))
LATE = START + 90 * DAY
IDS = [f"job-{number}" for number in FIFTY]
PAGE = {"namespace": "default", "limit": 50}
LISTED = {**PAGE, "before": "g", "floor": "", "from": None, "to": None}
OF_ONE = {"schedule_key": 2, "before_at": 2**62, "before": "g", "limit": 50, "from": None, "to": None}
FILTER = {"state": None, "name": None, "target": None, "due_before": None, "q": None, "tag": None, "after": 0}
HELD = rows(*({"key": running(n), "token": "t", "until": LATE} for n in range(50)))
ENDED = rows(
    *(
        {"key": running(n), "token": "t", "now": LATE, "state": "succeeded", "reason": None, "error": None}
        | {
            "finished_at": LATE,
            "available_at": LATE,
            "released": 0,
            "declined": 0,
            "unable_since_at": None,
            "ability": None,
        }
        for n in range(50)
    )
)
RUN_ID = f"{(START + 5 * APART) // 1000:012x}-7000-8000-{5:012x}"
LEASE = {"now": LATE, "until": LATE, "token": "t", "worker": "w", "lane": 0, "limit": 50, "share": 50}
MAY = {"kinds": ["http", "python"]}
PROMOTION = {"schedule_keys": FIFTY, "now": START, "retry_until_at": START}
OLD = {"runs_before": LATE, "failures_before": START, "limit": 50}
SURPLUS = {"schedule_key": 2, "ended_before": LATE, "failures_before": LATE, "keep": 3, "limit": 50}

WORK: list[tuple[str, dict[str, Any]]] = [
    ("lock claim_due", {"now": LATE, "limit": 50}),
    ("claim_due", {"locked": FIFTY}),
    ("lock claim_due_latest", {"now": LATE, "above": START, "limit": 50}),
    ("next_due", {}),
    ("hold_schedules", {"schedule_keys": FIFTY}),
    ("waiting_namespaces", {"now": LATE, "lane": 0, "after": "default", "limit": 50, **MAY}),
    ("claim_runs", {**LEASE, **MAY, "namespaces": ["default"], "rooms": None}),
    ("next_available", {"lanes": [0, 1, 2], "now": LATE, **MAY}),
    ("waiting_kinds", {"lane": 0}),
    ("count_running", {"namespaces": ["default"]}),
    ("silent_callees", {"now": START, "limit": 50, "locked": FIFTY}),
    ("run_of_callback", {"key": running(5)}),
    ("stats_recent", {"namespace": "default", "floor": "", "most": 50}),
    ("stats_open", {"namespace": "default", "most": 50, **MAY}),
    ("stats_backlog", {"namespace": "default", "now": LATE, "most": 50, **MAY}),
    ("extend_leases", {"rows": HELD}),
    ("finish_runs", {"rows": ENDED}),
    ("lock expired_leases", {"now": LATE, "limit": 50}),
    ("next_expiry", {}),
    ("promote_held", PROMOTION),
    ("promote_buffered", PROMOTION),
    ("complete_schedules", {"schedule_keys": FIFTY}),
    ("waiting_schedules", {"after_key": 0, "limit": 50}),
    ("lock schedules_holding", {"schedule_keys": FIFTY}),
    ("lock schedules_by_id", {"namespace": "default", "ids": IDS}),
    ("schedules_by_id", {"namespace": "default", "ids": IDS}),
    ("schedule_by_id", {"namespace": "default", "id": IDS[0]}),
    ("schedules_taken", {"places": rows(*({"namespace": "default", "id": id_} for id_ in IDS))}),
    ("drop_waiting_runs", {"schedule_keys": FIFTY, "now": LATE}),
    ("lock run_by_id", {"namespace": "default", "id": RUN_ID}),
    ("run_by_id", {"namespace": "default", "id": RUN_ID}),
    ("cancel_run", {"key": running(1), "now": LATE, "error": "x"}),
    ("list_runs", {**LISTED, "state": None}),
    ("list_unsuccessful_runs", {**LISTED, "state": "failed"}),
    ("list_unsuccessful_runs", {**LISTED, "state": "dead"}),
    ("list_schedule_runs", {**OF_ONE, "state": None}),
    ("list_open_schedule_runs", {**OF_ONE, "state": "queued"}),
    ("last_runs", {"schedule_keys": FIFTY}),
    ("attempts_of", {"run_keys": [running(n) + 1 for n in range(50)]}),
    ("attempts_in_brief", {"run_keys": [running(n) + 1 for n in range(50)]}),
    ("list_schedules", {**PAGE, **FILTER}),
    ("list_schedules_of_owner", {**PAGE, **FILTER, "owner": "owner-77"}),
    ("list_schedules_named", {**PAGE, **FILTER, "name": "Job 777"}),
    ("list_schedules_of_tag", {**PAGE, **FILTER, "tag": "team:77"}),
    ("list_schedules_at_rest", {**PAGE, **FILTER, "state": "paused"}),
    ("prune_old_runs", OLD),
    ("prune_old_runs", {**OLD, "runs_before": START}),
    ("prune_surplus_runs", SURPLUS),
    ("ledger_before", {"schedule_key": 2, "before": LATE}),
    ("schedules_after", {"after_key": 0, "keep": 3, "limit": 50}),
]


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize(("name", "values"), WORK, ids=[name for name, _ in WORK])
def test_a_statement_touches_rows_in_proportion_to_its_page_not_to_the_table(
    url: str, name: str, values: dict[str, Any], mode: str
) -> None:
    plan = in_thread(lambda: explained(url, statement(name), values, mode))
    print(f"postgres {name}: {touched(plan)} rows, {plan['Execution Time']} ms, {mode}")
    most = MOST_ROWS + (OPEN_RUNS if name in READ_WHAT_IS_OPEN else 0)
    assert touched(plan) <= most, orjson.dumps(plan, option=orjson.OPT_INDENT_2).decode()


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("lock claim_due", "schedules_due"),
        ("waiting_namespaces", "available_at"),
        ("claim_runs", "available_at"),
        ("lock expired_leases", "lease_until"),
    ],
)
def test_a_claim_walks_the_index_made_for_it(url: str, name: str, index: str) -> None:
    values = next(values for one, values in WORK if one == name)
    plan = in_thread(lambda: explained(url, statement(name), values, "force_generic_plan"))
    assert any(index in node.get("Index Name", "") for node in nodes(plan)), plan


def test_a_walk_over_a_whole_table_would_have_been_noticed(url: str) -> None:
    walk = compiled("select count(*) from runs where error = :error::text")
    plan = in_thread(lambda: explained(url, walk, {"error": "x"}, "force_custom_plan"))
    assert touched(plan) == MANY_RUNS


CROWD = f"""
insert into runs (key, id, schedule_key, namespace, nominal_at, backfill_id, trigger_type, target_kind, state,
  scheduled_at, queued_at, available_at, retry_until_at, chained, revision)
select (range_of({START} - i) << 40) | (i + {MANY_RUNS}), 'crowd-' || i, 1, 'default', {START} - i, '', 'schedule',
  'command', case i % 2 when 0 then 'queued' else 'retrying' end, {START} - i, {START} - i, {START} - i, {START}, 0, 1
from generate_series(1::bigint, 100000) i
"""


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
def test_very_many_runs_that_a_worker_may_not_do_are_not_in_the_way_of_those_it_may(url: str, mode: str) -> None:
    if not run_sql(url, "select 1 from runs where id = 'crowd-1'"):
        run_sql(url, CROWD)
        run_sql(url, "analyze runs")
    for name, values in WORK:
        if name in {"waiting_namespaces", "claim_runs", "next_available", "waiting_kinds"}:
            plan = in_thread(partial(explained, url, statement(name), values, mode))
            print(f"postgres {name} in a crowd: {touched(plan)} rows, {plan['Execution Time']} ms, {mode}")
            assert touched(plan) <= MOST_ROWS, orjson.dumps(plan, option=orjson.OPT_INDENT_2).decode()
