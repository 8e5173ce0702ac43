"""A rolling deploy under load: every replica drains and starts again, one after another."""

from __future__ import annotations

from tests.fault.stage import LOAD, Stage


def test_a_rolling_restart_of_all_replicas_loses_nothing_and_doubles_nothing(stage: Stage) -> None:
    stage.fire(LOAD._replace(seconds=10))
    stage.busiest()
    seen = stage.counter.requests
    stage.fleet.rolling_restart()
    assert stage.counter.requests > seen, "nothing fired meanwhile"
    verdict = stage.verdict()
    # Who drains gives back what it cannot end: nobody has to wait for a lease to run out.
    assert verdict.lost == 0
