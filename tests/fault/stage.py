"""The stage of a fault test: two replicas, a target that takes its time, a load, and in the end a verdict."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.server import Server, until
from tests.fault.cluster import Cluster
from tests.fault.counter import Counter
from tests.fault.load import PAUSE, Load, create, settle
from tests.fault.replicas import Fleet, Replica, fleet
from tests.fault.verdict import Verdict, judge, open_runs, recorded

LEASE = 2.0
PATIENCE = 100.0
"""Seconds: a deadline for a busy machine; nothing waits for so long on a quiet one."""
SLOW = 0.3
"""Seconds that a target takes, so that there is something to be in the middle of."""
SEVERAL = 5
"""Runs of one replica: more than those of them that may be sent only once."""
LOAD = Load(schedules=24, seconds=4, head_start=1)


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

    def fire(self, load: Load = LOAD, by: Server | None = None) -> None:
        """Begin, or add to it; asks the server that is named, or any once all are well."""
        self.expected += create(by or self.fleet.ready(), self.counter.port, load)

    def busiest(self) -> Replica:
        """Wait until some replica is in the middle of several runs, and answer it."""
        return until("runs under way", self._busy, PATIENCE, pause=PAUSE)

    def caught(self) -> Replica:
        """Hold all answers of the target, and answer a replica that is in the middle of several runs and stays there.

        The answers are held until `verdict`, or until the counter is told to let them go.
        """
        self.counter.hold()
        return until("runs that are held", self._held, PATIENCE, pause=PAUSE)

    def _busy(self) -> Replica | None:
        replica = max(self.fleet.replicas, key=lambda replica: replica.leases)
        if replica.leases >= SEVERAL:
            return replica
        if recorded(self.cluster) >= self.expected and not open_runs(self.cluster):
            self.fire()  # on a slow machine all may have ended before it was seen
        return None

    def _held(self) -> Replica | None:
        replica = self._busy()
        # A run is leased before its target is asked: only both together are the middle of it.
        asked = self.counter.waiting >= sum(each.leases for each in self.fleet.replicas)
        return replica if asked else None

    def verdict(self) -> Verdict:
        """Let all end, and make sure that nothing is lost, doubled or stale."""
        self.counter.release()
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
