"""The stage of a fault test: two replicas, a target that takes its time, a load, and in the end a verdict."""

from __future__ import annotations

import time
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
LAST_LINES = 30
STANDING = {
    "sessions": """
        select pid, client_port, state, wait_event, now() - xact_start, now() - state_change, left(query, 100)
        from pg_stat_activity where datname = current_database()""",
    "schedules to come": """
        select id, state, created_at, cursor_at, next_scheduled_at from scheduler.schedules
        where next_scheduled_at is not null order by 5 limit 10""",
    "runs": "select state, worker, min(nominal_at), max(nominal_at), count(*) from scheduler.runs group by 1, 2",
}
"""What to ask of a database in which something does not come."""
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
        try:
            settle(self.fleet.ready(), self.cluster, self.expected, PATIENCE)
        except AssertionError as error:  # what stands still, and who held it, cannot be asked any more afterwards
            error.add_note(self._how_it_stands())
            raise
        verdict = judge(self.fleet.ready(), self.cluster, dict(self.counter.seen), self.expected)
        assert not verdict.faults, "\n".join(verdict.faults)
        assert verdict.recorded == self.expected
        return verdict

    def _how_it_stands(self) -> str:
        told = [f"now {time.time():.3f}, expected {self.expected}, recorded {recorded(self.cluster)}"]
        for what, question in STANDING.items():
            told += [what, *("  " + " | ".join(row) for row in self.cluster.query(question))]
        for replica in self.fleet.replicas:
            process = replica.server.process
            told.append(f"process {process.pid}, exit code {process.poll()}, {replica.server.errors[-2000:]}")
            told += [f"  {line}" for line in replica.server.lines[-LAST_LINES:]]
        return "\n".join(told)


@contextmanager
def staged(folder: Path, cluster: Cluster, replicas: int = 2, **settings: str) -> Iterator[Stage]:
    """Set the stage on an empty database."""
    cluster.renew()
    with (
        Counter(SLOW) as counter,
        fleet(folder, cluster, replicas, **{"lease": f"{LEASE}s", **settings}) as started,
    ):
        yield Stage(started, counter, folder)
