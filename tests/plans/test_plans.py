"""The planner of SQLite walks the indexes we made for it: nothing that runs often reads a whole table.

Each statement is also run, with values as in production, and counted in rows that SQLite stepped over: a plan that
reads well and walks far would be noticed.
"""

from __future__ import annotations

import re
from typing import Any

import apsw
import orjson
import pytest

from backend.model.instants import DAY, MINUTE
from tests.plans.sizes import MANY_RUNS
from tests.plans.stepping import STATEMENTS, Params, work_of
from tests.store.world import START

SORTS = "USE TEMP B-TREE"
PAGE = {"namespace": "default", "limit": 50}
PLACES = orjson.dumps([{"namespace": "default", "id": f"job-{number}"} for number in range(1, 51)]).decode()
FIFTY = orjson.dumps([f"job-{number}" for number in range(1, 51)]).decode()
KEYS = orjson.dumps(list(range(1, 51))).decode()


def plan(raw: apsw.Connection, name: str) -> list[str]:
    return [str(row[3]) for row in raw.execute(f"explain query plan {STATEMENTS[name]}", Params())]


USED = [
    (
        "claim_due",
        [
            "s USING INDEX schedules_due (next_scheduled_at<?)",
            "r USING COVERING INDEX runs_open (schedule_key=? AND lane=? AND state=?)",
        ],
    ),
    ("next_due", ["schedules USING COVERING INDEX schedules_due"]),
    (
        "next_available",
        [
            "runs USING COVERING INDEX runs_queued (lane=? AND target_kind=?)",
            "runs USING INDEX runs_delayed_next (lane=? AND target_kind=?)",
        ],
    ),
    (
        "waiting_kinds",
        [
            "runs USING COVERING INDEX runs_queued (lane=? AND target_kind>?)",
            "runs USING INDEX runs_delayed_next (lane=? AND target_kind>?)",
        ],
    ),
    ("expired_leases", ["r USING INDEX runs_leased (lease_until<?)"]),
    ("next_expiry", ["runs USING COVERING INDEX runs_leased"]),
    (
        "promote_held",
        [
            "runs USING INTEGER PRIMARY KEY",
            "s USING INTEGER PRIMARY KEY",
            "o USING INDEX runs_open (schedule_key=? AND lane=? AND state=?)",
            "f USING COVERING INDEX runs_open (schedule_key=? AND lane=? AND state=?)",
        ],
    ),
    (
        "complete_schedules",
        ["s USING INTEGER PRIMARY KEY", "r USING COVERING INDEX runs_open (schedule_key=? AND lane=? AND state=?)"],
    ),
    ("run_by_id", ["r USING INDEX runs_id (namespace=? AND id=?)", "s USING INTEGER PRIMARY KEY"]),
    ("list_runs", ["r USING INDEX runs_id (namespace=? AND id>? AND id<?)", "s USING INTEGER PRIMARY KEY"]),
    ("list_unsuccessful_runs", ["r USING INDEX runs_unsuccessful (namespace=? AND state=? AND id>? AND id<?)"]),
    ("last_runs", ["r USING INTEGER PRIMARY KEY", "n USING INDEX runs_ledger (schedule_key=?)"]),
    (
        "schedules_by_id",
        [
            "s USING INDEX schedules_id (namespace=? AND id=?)",
            "r USING COVERING INDEX runs_open (schedule_key=? AND lane=? AND state=?)",
        ],
    ),
    ("schedule_by_id", ["s USING INDEX schedules_id (namespace=? AND id=?)"]),
    ("list_schedules", ["s USING INDEX schedules_listed (namespace=? AND key>?)", "t USING PRIMARY KEY"]),
    ("list_schedules_of_owner", ["s USING INDEX schedules_owner (namespace=? AND owner=? AND key>?)"]),
    ("list_schedules_named", ["s USING INDEX schedules_name (namespace=? AND name=? AND key>?)"]),
    (
        "list_schedules_at_rest",
        ["s USING INDEX schedules_counted (namespace=? AND deleted_at=? AND state=? AND rowid>?)"],
    ),
    (
        "list_schedules_of_tag",
        ["g USING PRIMARY KEY (namespace=? AND tag=? AND schedule_key>?)", "s USING INTEGER PRIMARY KEY"],
    ),
    ("attempts_of", ["attempts USING PRIMARY KEY (run_key=?)"]),
    ("backlog", ["schedules USING COVERING INDEX schedules_due (next_scheduled_at<?)"]),
    ("finish_runs", ["runs USING INTEGER PRIMARY KEY"]),
    ("extend_leases", ["runs USING INTEGER PRIMARY KEY"]),
    ("drop_waiting_runs", ["runs USING COVERING INDEX runs_open (schedule_key=?)"]),
    ("forget_paused", ["runs USING INDEX runs_ledger (schedule_key=? AND nominal_at>?)"]),
    ("schedules_with_calendar", ["s USING INDEX schedules_with_calendar (namespace=?)"]),
    ("zoned_schedules", ["s USING INTEGER PRIMARY KEY (rowid>?)"]),
    (
        "replayable_schedules",
        ["s USING INDEX schedules_counted (namespace=? AND deleted_at=? AND state=? AND rowid>?)"],
    ),
    ("schedules_beside", ["s USING INDEX schedules_listed (namespace=?)"]),
    (
        "schedules_after",
        ["s USING INTEGER PRIMARY KEY (rowid>?)", "r USING COVERING INDEX runs_ledger (schedule_key=?)"],
    ),
    ("prune_deleted_schedules", ["s USING COVERING INDEX schedules_deleted (deleted_at<?)"]),
]


@pytest.mark.parametrize(("name", "expected"), USED, ids=[name for name, _ in USED])
def test_a_statement_walks_its_indexes_and_sorts_nothing(raw: apsw.Connection, name: str, expected: list[str]) -> None:
    steps = plan(raw, name)
    for step in expected:
        assert any(found.startswith(f"SEARCH {step}") for found in steps), steps
    assert not [found for found in steps if SORTS in found], steps


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("list_schedule_runs", "runs_ledger (schedule_key=? AND nominal_at<?)"),
        (
            "list_unsuccessful_schedule_runs",
            "runs_unsuccessful_of_schedule (schedule_key=? AND state=? AND nominal_at<?)",
        ),
    ],
)
def test_the_runs_of_a_schedule_are_sorted_only_among_equal_times(raw: apsw.Connection, name: str, index: str) -> None:
    steps = plan(raw, name)
    assert f"SEARCH r USING INDEX {index}" in steps
    assert [step for step in steps if SORTS in step] == ["USE TEMP B-TREE FOR LAST TERM OF ORDER BY"]


def test_pruning_walks_the_indexes_of_what_has_ended(raw: apsw.Connection) -> None:
    steps = plan(raw, "prune_old_runs")
    assert "SEARCH runs USING INDEX runs_ended (finished_at<?)" in steps
    assert "SEARCH runs USING INDEX runs_failed (finished_at<?)" in steps
    assert not [step for step in steps if SORTS in step]


RARELY = {
    "forgive_silence",
    "list_workers",
    "count_open_runs",
    "count_schedules",
    "list_open_runs",
    "insert_namespace",
    "delete_namespace",
}
"""Count for metrics, or read a partial index that holds only what is open; or look for rows that want
a namespace, which SQLite plans for every insert and does only while a foreign key is violated."""


@pytest.mark.parametrize("name", sorted(set(STATEMENTS) - RARELY))
def test_no_statement_reads_a_whole_table(raw: apsw.Connection, name: str) -> None:
    tables = r"(schedules|runs|attempts|schedule_tags|schedule_revisions|s|r|o|h|n|t)"
    scans = [step for step in plan(raw, name) if re.match(rf"SCAN {tables}\b", step)]
    assert [step for step in scans if not step.endswith((" runs_queued", " runs_running"))] == []


def test_a_claim_merges_what_waits_from_two_partial_indexes_and_stops_at_its_share(raw: apsw.Connection) -> None:
    steps = plan(raw, "claim_runs")
    assert "SEARCH runs USING COVERING INDEX runs_queued (lane=? AND target_kind=? AND namespace=?)" in steps
    delayed = "lane=? AND target_kind=? AND namespace=? AND available_at<?"
    assert f"SEARCH runs USING INDEX runs_delayed ({delayed})" in steps
    assert steps.count("SEARCH runs USING INTEGER PRIMARY KEY (rowid=?)") == 1
    assert "MERGE (UNION ALL)" in steps


def test_the_namespaces_with_waiting_runs_are_found_by_going_from_one_to_the_next(raw: apsw.Connection) -> None:
    steps = plan(raw, "waiting_namespaces")
    assert "SEARCH runs USING COVERING INDEX runs_queued (lane=? AND target_kind=? AND namespace>?)" in steps
    assert "SEARCH runs USING INDEX runs_delayed_next (lane=? AND target_kind=? AND available_at<?)" in steps


def test_open_runs_are_listed_from_the_index_that_holds_no_others(raw: apsw.Connection) -> None:
    assert plan(raw, "list_open_runs")[0] == "SCAN r USING INDEX runs_open"
    steps = plan(raw, "list_open_schedule_runs")
    assert "SEARCH r USING INDEX runs_open (schedule_key=? AND lane=? AND state=? AND nominal_at<?)" in steps


RUN_ID = f"{(START + 5 * MINUTE // 100) // 1000:012x}-7000-8000-{5:012x}"
LEASE = {"now": START + DAY, "until": START + DAY, "token": "t", "worker": "w", "lane": 0, "limit": 50}
MAY = {"kinds": '["http", "python"]'}
LEASE |= MAY
WORK: list[tuple[str, dict[str, Any], int | None]] = [
    ("claim_due", {"now": START + DAY, "limit": 50}, 50),
    ("next_due", {}, 1),
    ("waiting_namespaces", {"now": START + DAY, "lane": 0, "after": "default", "limit": 50, **MAY}, 1),
    ("claim_runs", {**LEASE, "namespaces": '["default"]', "share": 50, "rooms": None}, 50),
    ("claim_runs", {**LEASE, "namespaces": '["default", "none"]', "share": 25, "rooms": None}, 25),
    ("next_available", {"now": START + DAY, "lanes": "[0,1,2]", **MAY}, 1),
    ("waiting_kinds", {"lane": 0}, 1),
    ("count_running", {"namespaces": '["default"]'}, 1),
    ("silent_callees", {"now": START, "limit": 50}, 0),
    ("run_of_callback", {"key": 5}, 1),
    ("stats_recent", {"namespace": "default", "floor": "", "most": 50}, 50),
    ("stats_open", {"namespace": "default", "most": 50, **MAY}, 4),
    ("stats_backlog", {"namespace": "default", "now": START + DAY, "most": 50, **MAY}, 1),
    ("expired_leases", {"now": START + DAY, "limit": 50}, 50),
    ("next_expiry", {}, 1),
    ("promote_held", {"schedule_keys": KEYS, "now": START, "retry_until_at": START}, 0),
    ("complete_schedules", {"schedule_keys": KEYS}, 0),
    ("run_by_id", {"namespace": "default", "id": RUN_ID}, 1),
    ("list_runs", {**PAGE, "before": "g", "floor": ""}, 50),
    ("list_unsuccessful_runs", {**PAGE, "before": "g", "floor": "", "state": "failed"}, 50),
    ("list_unsuccessful_runs", {**PAGE, "before": "g", "floor": "", "state": "dead"}, 0),
    (
        "list_unsuccessful_schedule_runs",
        {"schedule_key": 2, "before_at": 2**62, "before": "g", "state": "failed", "limit": 50},
        10,
    ),
    ("waiting_schedules", {"after_key": 0, "limit": 50}, None),
    ("schedules_holding", {"schedule_keys": KEYS}, None),
    ("list_schedule_runs", {"schedule_key": 2, "before_at": 2**62, "before": "g", "limit": 50}, 10),
    ("last_runs", {"schedule_keys": KEYS}, None),
    ("schedules_by_id", {"namespace": "default", "ids": FIFTY}, 50),
    ("schedule_by_id", {"namespace": "default", "id": "job-1"}, 1),
    ("schedules_taken", {"places": PLACES}, 50),
    ("list_schedules", {**PAGE, "after": 0}, 50),
    ("list_schedules_of_owner", {**PAGE, "after": 0, "owner": "owner-77"}, 50),
    ("list_schedules_named", {**PAGE, "after": 0, "name": "Job 777"}, 1),
    ("list_schedules_of_tag", {**PAGE, "after": 0, "tag": "team:77"}, 50),
    ("list_schedules_at_rest", {**PAGE, "after": 0, "state": "paused"}, 0),
    ("queued_since", {"namespace": "default", "lane": 0, "since": START + MANY_RUNS, "limit": 50}, 0),
    ("queued_since", {"namespace": "default", "lane": 0, "since": START, "limit": 50}, 50),
    ("started_since", {"namespace": "default", "since": START + DAY, "limit": 50}, 0),
    ("ended_since", {"namespace": "default", "since": START + MANY_RUNS - 40, "limit": 50}, None),
    ("failed_since", {"namespace": "default", "since": START + MANY_RUNS - 40, "limit": 50}, None),
    ("changes_since", {"namespace": "default", "since": START, "limit": 50}, 0),
    ("late_runs", {"namespace": "default", "lane": 0, "before": START, "limit": 50}, 0),
    ("late_runs", {"namespace": "default", "lane": 0, "before": START + DAY, "limit": 50}, 50),
    ("prune_old_runs", {"runs_before": START + DAY, "failures_before": START, "limit": 50}, 50),
    ("prune_old_runs", {"runs_before": START, "failures_before": START, "limit": 50}, 0),
]
STEPS_PER_ROW = 600

CROWDED = 100_000
# Older than all others, half of them new and half waiting for another attempt.
CROWD = """
with recursive n (i) as (select 1 union all select i + 1 from n where i < :runs)
insert into runs (id, schedule_key, namespace, nominal_at, backfill_id, trigger_type, target_kind, state, scheduled_at,
  queued_at, available_at, retry_until_at, chained, revision)
select 'crowd-' || i, 1, 'default', -i, '', 'schedule', 'command', case i % 2 when 0 then 'queued' else 'retrying' end,
  -i, -i, -i, :start, 0, 1
from n
"""


@pytest.mark.parametrize(("name", "values", "rows"), WORK, ids=[name for name, *_ in WORK])
def test_a_statement_takes_steps_in_proportion_to_its_page_not_to_the_table(
    raw: apsw.Connection, name: str, values: dict[str, Any], rows: int | None
) -> None:
    found, steps = work_of(raw, name, values)
    print(f"sqlite {name}: {steps} steps")
    assert rows in {None, found}
    assert steps <= 50 * STEPS_PER_ROW < MANY_RUNS  # a walk over the table takes more than a step a row


def test_a_walk_over_a_whole_table_would_have_been_noticed(raw: apsw.Connection) -> None:
    _, steps = work_of(raw, "list_runs", {**PAGE, "before": "g", "floor": "", "state": "dead"})
    assert steps > MANY_RUNS


def test_very_many_runs_that_a_worker_may_not_do_are_not_in_the_way_of_those_it_may(raw: apsw.Connection) -> None:
    raw.execute("savepoint crowd")
    try:
        raw.execute(CROWD, {"runs": CROWDED, "start": START})
        asked = [one for one in WORK if one[0] in {"waiting_namespaces", "claim_runs", "next_available"}]
        asked += [("waiting_kinds", {"lane": 0}, 2)]
        for name, values, rows in asked:
            found, steps = work_of(raw, name, values)
            print(f"sqlite {name} in a crowd: {steps} steps")
            assert (found, steps <= 50 * STEPS_PER_ROW) == (rows, True), (name, steps)
    finally:
        raw.execute("rollback to crowd")
        raw.execute("release crowd")
