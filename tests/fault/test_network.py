"""What networks do to the connections between one replica and the database, for longer than a lease."""

from __future__ import annotations

import pytest

from tests.acceptance.server import until
from tests.fault.proxy import Fault
from tests.fault.replicas import Replica
from tests.fault.stage import PATIENCE, Stage


def fires_without(stage: Stage, victim: Replica) -> None:
    """Wait until the others have taken over what the victim held, and have begun something new."""
    until("the take-over of its runs", lambda: victim.leases == 0, PATIENCE)
    seen = stage.counter.requests
    until("new runs", lambda: stage.counter.requests > seen, PATIENCE)


@pytest.mark.parametrize("fault", [Fault.BLACK_HOLE, Fault.DEAF])
def test_a_replica_that_the_database_hears_no_more_or_that_hears_nothing_is_replaced(
    stage: Stage, fault: Fault
) -> None:
    stage.fire()
    victim = stage.busiest()
    victim.proxy.set(fault)
    assert victim.leases, "it was in the middle of nothing"
    fires_without(stage, victim)
    victim.proxy.set(Fault.NONE)
    stage.verdict()


def test_a_replica_whose_connections_are_cut_and_refused_is_replaced(stage: Stage) -> None:
    stage.fire()
    victim = stage.busiest()
    victim.proxy.set(Fault.REFUSED)
    victim.proxy.cut()
    assert victim.leases, "it was in the middle of nothing"
    fires_without(stage, victim)
    until("a loop that says so", lambda: victim.server.said("loop_failed"), PATIENCE)
    victim.proxy.set(Fault.NONE)
    stage.verdict()


def test_connections_that_are_cut_again_and_again_lose_nothing(stage: Stage) -> None:
    stage.fire()
    for replica in stage.fleet.replicas * 4:
        stage.busiest()
        replica.proxy.cut()
    stage.verdict()


def test_a_slow_network_delays_and_loses_nothing(stage: Stage) -> None:
    stage.fire()
    victim = stage.busiest()
    victim.proxy.set(Fault.DELAYED)
    until("some runs that ended in spite of it", lambda: victim.leases >= 1, PATIENCE)
    until("an end of all occurrences", lambda: not stage.cluster.count("scheduler.schedules where state = 'active'"))
    victim.proxy.set(Fault.NONE)
    stage.verdict()
