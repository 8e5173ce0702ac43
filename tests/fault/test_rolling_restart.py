"""A rolling deploy under load: every replica drains and starts again, one after another."""

from __future__ import annotations

from pathlib import Path

from tests.fault.cluster import Cluster
from tests.fault.stage import LOAD, staged


def test_a_rolling_restart_of_all_replicas_loses_nothing_and_doubles_nothing(tmp_path: Path, cluster: Cluster) -> None:
    # A lease that no slow machine outlasts: whatever is lost then was left behind by who drained.
    with staged(tmp_path, cluster, lease="60s") as stage:
        stage.fire()
        stage.busiest()
        stage.fire(LOAD._replace(seconds=5))
        seen = stage.counter.requests
        stage.fleet.rolling_restart()
        assert stage.counter.requests > seen, "nothing fired meanwhile"
        # Who drains gives back what it cannot end: nobody has to wait for a lease to run out.
        assert stage.verdict().lost == 0
