"""What PostgreSQL does where very many runs wait, and with a partition in which very many have ended."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import asyncpg
import orjson
import pytest

from backend.model.instants import DAY, SECOND
from tests.databases import POSTGRES, database, in_thread, run_sql
from tests.plans.explaining import explained, statement, touched
from tests.plans.sizes import MANY_RUNS
from tests.store.world import START

RANGE = 28 * DAY
OLD = START // RANGE
"""The range in which all has ended; in the next one all waits."""
WAITING_FROM = (OLD + 1) * RANGE
WAITING = MANY_RUNS // 4
"""Schedules with four runs each that have not ended."""
MOST_ROWS, MOST_BUFFERS = 5_000, 100

SCHEDULES = f"""
insert into schedules (namespace, id, name, target_kind, state, definition, triggers, revision, created_at, created_by,
  updated_at, effective_at, cursor_at, misfire_policy, misfire_threshold, catchup_window, overlap_policy, delivery,
  pause_after_failures)
select 'default', 'job-' || i, '', 'http', 'active', '{{}}', '[]', 1, {START}, 'x', {START}, {START}, {START},
  'fire_once', 0, 0, 'buffer_all', 'at_least_once', 5
from generate_series(1, {WAITING}) i
"""
RUNS = """
insert into runs (key, id, schedule_key, namespace, nominal_at, backfill_id, trigger_type, state, scheduled_at,
  queued_at, available_at, finished_at, retry_until_at, chained, revision, target_kind)
select (range_of(at) << 40) | i, lpad(to_hex(at / 1000), 12, '0') || lpad(to_hex(i), 12, '0'), 1 + i / 4,
  case i % 40 when 0 then 'other-' || i else 'default' end, at, '', 'schedule', state, at, at, at, {ended}, at, 1,
  1, 'http'
from (select i, {start} + i * {second} as at, (array[{states}])[1 + i % 4] as state
      from generate_series(0::bigint, {runs} - 1) i) n
"""
SIZES = {"second": SECOND, "runs": MANY_RUNS}
ENDED = RUNS.format(start=OLD * RANGE, ended="at", states="'succeeded', 'failed', 'skipped', 'dead'", **SIZES)
OPEN = RUNS.format(start=WAITING_FROM, ended="null::bigint", states="'queued', 'retrying', 'buffered', 'held'", **SIZES)
LATE = START + 90 * DAY
LATER = LATE + DAY
"""From then on, the delayed runs of very many namespaces are due; they have the second lane for themselves."""
NAMESPACES = 10_000
DELAYED = f"""
insert into runs (key, id, schedule_key, namespace, nominal_at, backfill_id, trigger_type, state, scheduled_at,
  queued_at, available_at, retry_until_at, chained, lane, revision, target_kind)
select ({OLD + 1}::bigint << 40) | ({MANY_RUNS} + i), 'd' || i, 1 + i / 4, 'n-' || i % {NAMESPACES}, {WAITING_FROM} + i,
  'd', 'backfill', 'retrying', {START}, {START}, {LATER} + i, {LATER}, 0, 1, 1, 'http'
from generate_series(0::bigint, {MANY_RUNS} - 1) i
"""
UNCHAINED = "update runs set chained = 0 where state = 'queued'"
ANALYSE = "analyze schedules, runs"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with database(POSTGRES, tmp_path_factory.mktemp("plans")) as url:
        for text in (SCHEDULES, ENDED, ANALYSE, OPEN, UNCHAINED, DELAYED):
            run_sql(url, text)
        yield url


@pytest.fixture(scope="module", params=["of a quiet time", "of now"])
def url(request: pytest.FixtureRequest, filled: str) -> str:
    """Very many wait, and the statistics are from before that, and then from now."""
    if request.param == "of now":
        run_sql(filled, ANALYSE)
    return filled


LEASE = {"now": LATE, "until": LATE, "token": "t", "worker": "w", "limit": 50, "share": 50, "rooms": None}
KEYS = list(range(1, 51))
MAY = {"kinds": ["http", "python"]}
WORK: list[tuple[str, dict[str, Any]]] = [
    *(
        ("waiting_namespaces", {"now": at, "lane": lane, "after": "", "limit": 50, **MAY})
        for at in (0, LATE)
        for lane in (0, 1)
    ),
    ("claim_runs", {**LEASE, "lane": 0, "namespaces": ["default"], **MAY}),
    ("next_available", {"lanes": [0, 1, 2], "now": LATE, **MAY}),
    ("waiting_schedules", {"after_key": 0, "limit": 50}),
    ("waiting_schedules", {"after_key": WAITING // 2, "limit": 50}),
    ("lock schedules_holding", {"schedule_keys": KEYS}),
    ("claim_due", {"locked": KEYS}),
    ("complete_schedules", {"schedule_keys": KEYS}),
    ("promote_held", {"schedule_keys": KEYS, "now": LATE, "retry_until_at": LATE}),
    ("promote_buffered", {"schedule_keys": KEYS, "now": LATE, "retry_until_at": LATE}),
]


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize(("name", "values"), WORK, ids=[name for name, _ in WORK])
def test_however_many_wait_a_statement_reads_a_page(url: str, name: str, values: dict[str, Any], mode: str) -> None:
    plan = in_thread(lambda: explained(url, statement(name), values, mode))
    print(f"postgres {name}: {touched(plan)} rows, {plan['Execution Time']} ms, {mode}")
    assert touched(plan) <= MOST_ROWS, orjson.dumps(plan, option=orjson.OPT_INDENT_2).decode()


IDLE_ROWS, IDLE_BUFFERS = 10, 200


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
def test_delayed_runs_of_very_many_namespaces_are_not_looked_at_before_one_is_due(url: str, mode: str) -> None:
    for now, rows, most, buffers in (
        (LATE, 0, IDLE_ROWS, IDLE_BUFFERS),
        (LATER, 1, IDLE_ROWS, IDLE_BUFFERS),
        (LATER + MANY_RUNS, 50, MOST_ROWS, MOST_ROWS),
    ):
        values = {"now": now, "lane": 1, "after": "n-5", "limit": 50, **MAY}
        plan = in_thread(partial(explained, url, statement("waiting_namespaces"), values, mode))
        blocks = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        print(
            f"postgres waiting_namespaces: {touched(plan)} rows, {blocks} blocks, {plan['Execution Time']} ms, {mode}"
        )
        assert plan["Actual Rows"] == rows
        assert (touched(plan) <= most, blocks <= buffers) == (True, True), orjson.dumps(
            plan, option=orjson.OPT_INDENT_2
        )


async def buffers_of(url: str, call: str) -> tuple[Any, int]:
    """Run a function a second time on one connection; answers what it says, and how many blocks it touched."""
    connection = await asyncpg.connect(url, server_settings={"search_path": "scheduler"})
    try:
        said = await connection.fetchval(f"select {call}")
        plan = orjson.loads(await connection.fetchval(f"explain (analyze, buffers, format json) select {call}"))[0][
            "Plan"
        ]
        return said, plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    finally:
        await connection.close()


def size_of(url: str, part: str) -> int:
    return int(run_sql(url, f"select pg_relation_size('{part}') / 8192")[0][0])


@pytest.mark.parametrize(
    ("part", "ended_before", "needed"),
    [(OLD, WAITING_FROM, False), (OLD, OLD * RANGE + SECOND, True), (OLD + 1, LATE, True)],
    ids=["all is old", "some is young", "all is open"],
)
def test_a_partition_is_judged_by_a_few_blocks(url: str, part: int, ended_before: int, needed: bool) -> None:
    said, blocks = in_thread(lambda: buffers_of(url, f"range_is_needed('runs_{part}', {ended_before})"))
    print(f"postgres range_is_needed: {blocks} blocks of {size_of(url, f'runs_{part}')}")
    assert said is needed
    assert blocks <= MOST_BUFFERS < size_of(url, f"runs_{part}")
