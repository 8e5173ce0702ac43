"""What an operator's database does: it restarts, it is full of connections, something else holds its locks."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.server import until
from tests.fault.cluster import Cluster
from tests.fault.stage import PATIENCE, Stage, staged


def failures(stage: Stage, words: str) -> int:
    """Count what loops of any replica said that failed with these words."""
    return sum(words in line["error"] for r in stage.fleet.replicas for line in r.server.said("loop_failed"))


def test_postgresql_restarted_under_load_loses_nothing(stage: Stage) -> None:
    stage.fire()
    stage.busiest()
    stage.fleet.restart_database()
    stage.verdict()


def test_a_pool_of_one_connection_is_too_small_and_loses_nothing(tmp_path: Path, cluster: Cluster) -> None:
    with staged(tmp_path, cluster, replicas=1, options="pool_size=1") as stage:
        stage.fire()
        stage.busiest()
        with stage.cluster.locked("scheduler.runs"):
            until("a pool that is exhausted", lambda: failures(stage, "TimeoutError"), PATIENCE)
        stage.verdict()


def test_a_database_that_takes_no_more_connections_loses_nothing(stage: Stage) -> None:
    stage.fire()
    stage.busiest()
    with stage.cluster.crowded():
        for replica in stage.fleet.replicas:
            replica.proxy.cut()
        until("a refusal", lambda: failures(stage, "too many connections"), PATIENCE)
    stage.verdict()


def test_locks_held_for_longer_than_the_limit_hold_it_up_and_lose_nothing(stage: Stage) -> None:
    stage.fire()
    stage.busiest()
    with stage.cluster.locked("scheduler.schedules"):
        until("statements that were given up", lambda: failures(stage, "lock timeout"), PATIENCE)
    stage.verdict()


def test_statements_that_an_operator_kills_are_done_again(stage: Stage) -> None:
    stage.fire()
    ours = f"pid <> pg_backend_pid() and datname = '{stage.cluster.database}'"
    for end in ("pg_cancel_backend", "pg_terminate_backend") * 5:
        stage.busiest()
        assert stage.cluster.query(f"select {end}(pid) from pg_stat_activity where {ours}")
    stage.verdict()
