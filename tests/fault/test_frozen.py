"""SIGSTOP for longer than a lease, then SIGCONT: a zombie that believes to hold what others have taken over."""

from __future__ import annotations

import signal
from typing import Any

from tests.acceptance.server import until
from tests.fault.load import PAUSE
from tests.fault.stage import PATIENCE, SEVERAL, Stage


def several(refused: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return refused if len(refused) >= SEVERAL else []


def test_a_replica_that_was_frozen_for_longer_than_its_lease_is_refused_every_write(stage: Stage) -> None:
    stage.fire()
    zombie = stage.caught()
    zombie.server.send(signal.SIGSTOP)
    stage.counter.release()
    # Its leases pass on while its targets answer: those answers wait in its sockets.
    until("the take-over of all its runs", lambda: zombie.leases == 0, PATIENCE, pause=PAUSE)
    zombie.server.send(signal.SIGCONT)
    refused = until("refusals", lambda: several(zombie.server.said("lease_lost")), PATIENCE)
    verdict = stage.verdict()
    assert len(refused) == len({line["run_id"] for line in refused})
    assert verdict.lost >= len(refused)
    lost = stage.cluster.query(
        "select r.id from scheduler.attempts a join scheduler.runs r on r.key = a.run_key where a.state = 'lost'"
    )
    assert {line["run_id"] for line in refused} <= {row[0] for row in lost}


def test_a_frozen_database_holds_everything_up_and_loses_nothing(stage: Stage) -> None:
    stage.fire()
    stage.busiest()
    with stage.cluster.frozen():
        until("a loop that says so", lambda: stage.fleet.replicas[0].server.said("loop_failed"), PATIENCE)
    stage.verdict()
