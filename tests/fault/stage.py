"""The stage of a fault test: two replicas, a target that takes its time, a load, and in the end a verdict."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.server import until
from tests.fault.cluster import Cluster
from tests.fault.counter import Counter
from tests.fault.load import Load, create, settle
from tests.fault.replicas import Fleet, Replica, fleet
from tests.fault.verdict import Verdict, judge

LEASE = 2.0
PATIENCE = 60.0
SLOW = 0.4
"""Seconds that a target takes, so that whoever is killed is killed in the middle of something."""
LOAD = Load(schedules=24, seconds=5, head_start=2)


@dataclass
class Stage:
    """What a test plays with."""

    fleet: Fleet
    counter: Counter
    folder: Path
    expected: int = 0

    @property
    def cluster(self) -> Cluster:
        return self.fleet.cluster

    def fire(self, load: Load = LOAD) -> None:
        """Begin."""
        self.expected += create(self.fleet.ready(), self.counter.port, load)

    def busiest(self) -> Replica:
        """Wait until some replica is in the middle of several runs, and answer it."""
        until("runs under way", lambda: any(replica.leases >= 3 for replica in self.fleet.replicas), PATIENCE)
        return max(self.fleet.replicas, key=lambda replica: replica.leases)

    def verdict(self) -> Verdict:
        """Let all end, and make sure that nothing is lost, doubled or stale."""
        settle(self.fleet.ready(), self.cluster, self.expected, PATIENCE)
        verdict = judge(self.fleet.ready(), self.cluster, dict(self.counter.seen), self.expected)
        assert not verdict.faults, "\n".join(verdict.faults)
        assert verdict.recorded == self.expected
        return verdict


@contextmanager
def staged(folder: Path, cluster: Cluster, replicas: int = 2, **settings: str) -> Iterator[Stage]:
    """Set the stage on an empty database."""
    cluster.renew()
    with (
        Counter(SLOW) as counter,
        fleet(folder, cluster, replicas, **{"lease": f"{LEASE}s", **settings}) as started,
    ):
        yield Stage(started, counter, folder)
