"""SIGSTOP for longer than a lease, then SIGCONT: a zombie that believes to hold what others have taken over."""

from __future__ import annotations

import signal

from tests.acceptance.server import until
from tests.fault.stage import PATIENCE, Stage


def test_a_replica_that_was_frozen_for_longer_than_its_lease_is_refused_every_write(stage: Stage) -> None:
    stage.fire()
    zombie = stage.busiest()
    zombie.server.send(signal.SIGSTOP)
    held = zombie.leases
    assert held, "it was in the middle of nothing"
    # Its leases pass on while its targets answer: those answers wait in its sockets.
    until("the take-over of all its runs", lambda: zombie.leases == 0, PATIENCE)
    zombie.server.send(signal.SIGCONT)
    until("a refusal", lambda: zombie.server.said("lease_lost"), PATIENCE)
    verdict = stage.verdict()
    refused = zombie.server.said("lease_lost")
    assert len(refused) == len({line["run_id"] for line in refused}) == held
    assert verdict.lost == held
    lost = stage.cluster.query(
        "select r.id from scheduler.attempts a join scheduler.runs r on r.key = a.run_key where a.state = 'lost'"
    )
    assert {line["run_id"] for line in refused} == {row[0] for row in lost}


def test_a_frozen_database_holds_everything_up_and_loses_nothing(stage: Stage) -> None:
    stage.fire()
    stage.busiest()
    with stage.cluster.frozen():
        until("a loop that says so", lambda: stage.fleet.replicas[0].server.said("loop_failed"), PATIENCE)
    stage.verdict()
