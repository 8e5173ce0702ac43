"""What networks do to the connections between one replica and the database, for longer than a lease."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from backend.store.postgres import caretaker
from backend.store.postgres.caretaker import Caretaker
from backend.store.postgres.url import read_url
from tests.acceptance.server import until
from tests.fault.cluster import Cluster
from tests.fault.load import PAUSE, Load, settle
from tests.fault.proxy import Fault, FaultProxy
from tests.fault.replicas import Replica
from tests.fault.stage import PATIENCE, Stage

AGAIN = Load(schedules=5, seconds=4, head_start=1)


def fires_without(stage: Stage, victim: Replica) -> None:
    """Wait until the other has taken over what the victim held, and has begun something new."""
    until("the take-over of its runs", lambda: victim.leases == 0, PATIENCE, pause=PAUSE)
    stage.counter.release()
    seen = stage.counter.requests
    [other] = [replica for replica in stage.fleet.replicas if replica is not victim]
    stage.fire(AGAIN, by=other.server)
    until("new runs", lambda: stage.counter.requests >= seen + AGAIN.schedules, PATIENCE)


@pytest.mark.parametrize("fault", [Fault.BLACK_HOLE, Fault.DEAF])
def test_a_replica_that_the_database_hears_no_more_or_that_hears_nothing_is_replaced(
    stage: Stage, fault: Fault
) -> None:
    stage.fire()
    victim = stage.caught()
    victim.proxy.set(fault)
    fires_without(stage, victim)
    victim.proxy.set(Fault.NONE)
    stage.verdict()


def test_a_replica_whose_connections_are_cut_and_refused_is_replaced(stage: Stage) -> None:
    stage.fire()
    victim = stage.caught()
    victim.proxy.set(Fault.REFUSED)
    victim.proxy.cut()
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
    victim = stage.caught()
    victim.proxy.set(Fault.DELAYED)
    stage.counter.release()  # the results of what it holds go the slow way
    settle(victim.server, stage.cluster, stage.expected, PATIENCE)
    victim.proxy.set(Fault.NONE)
    stage.verdict()


def test_a_connection_that_is_answered_no_more_is_given_up_and_the_next_one_does_the_same_duties(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caretaker, "_END_STANDSTILL", "select nextval('looks')")

    async def look(proxy: FaultProxy) -> None:
        target = read_url(cluster.url(proxy.port))
        duties = Caretaker(target)
        deaf = await asyncpg.connect(target.dsn, command_timeout=0.5)
        proxy.set(Fault.DEAF)
        with pytest.raises(TimeoutError):
            await duties.look(deaf)
        proxy.set(Fault.NONE)
        deaf.terminate()
        heard = await asyncpg.connect(target.dsn)
        try:
            await heard.execute("create sequence looks")
            await duties.look(heard)
            assert await heard.fetchval("select currval('looks')") == 1
        finally:
            await heard.execute("drop sequence looks")
            heard.terminate()

    with FaultProxy(cluster.port) as proxy:
        asyncio.run(look(proxy))
