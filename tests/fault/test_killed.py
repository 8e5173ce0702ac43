"""SIGKILL of replicas, with engine and worker in them, and of PostgreSQL itself, in the middle of runs."""

from __future__ import annotations

import threading

from tests.fault.stage import LOAD, Stage


def test_a_replica_that_is_killed_in_the_middle_of_runs_loses_none(stage: Stage) -> None:
    stage.fire()
    stage.caught().kill(away=0.5)
    verdict = stage.verdict()
    assert verdict.lost  # the proof that runs were open
    assert verdict.again  # and that others took them over


def test_all_replicas_killed_at_once_lose_nothing(stage: Stage) -> None:
    stage.fire()
    stage.caught()
    for replica in stage.fleet.replicas:
        replica.server.kill()
    for replica in stage.fleet.replicas:
        replica.kill(away=0)
    assert stage.verdict().lost


def test_an_at_most_once_run_of_a_killed_replica_ends_as_lost_and_is_never_sent_again(stage: Stage) -> None:
    stage.fire(LOAD._replace(at_most_once_every=1))
    stage.caught().kill(away=0.5)
    verdict = stage.verdict()
    assert verdict.states.get("failed", 0) == verdict.lost > 0
    assert not verdict.again


def test_postgresql_killed_in_the_middle_of_runs_keeps_every_answered_commit(stage: Stage) -> None:
    stage.fire()
    stage.busiest()
    stage.fleet.crash_database()
    stage.verdict()
    assert all(replica.server.process.poll() is None for replica in stage.fleet.replicas)


def test_a_replica_and_postgresql_killed_at_once_lose_nothing(stage: Stage) -> None:
    stage.fire()
    replica = stage.caught()
    killing = threading.Thread(target=replica.server.kill)
    killing.start()
    stage.fleet.crash_database()
    killing.join()
    replica.kill(away=0)
    assert stage.verdict().lost
