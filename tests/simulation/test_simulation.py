"""Whatever fails and whoever meddles, every invariant holds; and the same seed tells the same history."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import cast

import pytest

from backend.model.instants import MINUTE
from tests.simulation.history import run, simulate
from tests.simulation.scenario import Rates, draw
from tests.simulation.shrink import shrunk
from tests.simulation.told import told

SEEDS = 1000
PARTS = 20


def judged(seeds: range) -> None:
    for seed in seeds:
        report = simulate(seed)
        if report.violation is not None:
            pytest.fail(f"{told(report)}\n\nwith less:\n{told(shrunk(report))}", pytrace=False)


@pytest.mark.parametrize("part", range(PARTS))
def test_no_history_breaks_an_invariant(part):
    judged(range(part * SEEDS // PARTS, (part + 1) * SEEDS // PARTS))


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_no_history_of_many_breaks_an_invariant(request):
    first, number = request.config.getoption("--first-seed"), request.config.getoption("--seeds")
    judged(range(first, first + number))


def test_a_seed_tells_the_same_history_twice():
    for seed in range(30):
        first, again = simulate(seed), simulate(seed)
        assert first.trace == again.trace
        assert first.digest == again.digest
    assert len({simulate(seed).digest for seed in range(5)}) == 5


def test_a_seed_tells_the_same_history_in_another_process():
    code = "from tests.simulation.history import simulate; print(*(simulate(n).digest for n in (7, 3)))"
    answers = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": salt}, capture_output=True, check=True, timeout=60
        ).stdout
        for salt in ("1", "2")
    }
    assert answers == {f"{simulate(7).digest} {simulate(3).digest}\n".encode()}


def test_a_replica_s_own_clock_does_not_matter(monkeypatch):
    for seed in range(10):
        skewed = simulate(seed)
        monkeypatch.setattr("tests.simulation.simulated_loop.SkewedClock.now", lambda self: self._right() + MINUTE)
        assert simulate(seed).digest == skewed.digest
        monkeypatch.undo()


def test_the_histories_are_full_of_trouble():
    reports = [simulate(seed) for seed in range(50)]
    words = {str(word) for report in reports for step in report.trace for word in step[1:4]}
    wanted = {
        "before",
        "undone",
        "unknown",
        "frozen",
        "crash",
        "freeze",
        "drain",
        "clock",
        "refused",
        "wrong",
        "poison",
    }
    wanted |= {"take_turn", "reap", "prune", "claim_runs", "extend_leases", "finish_attempts", "put_calendar"}
    wanted |= {"start_backfill", "start_manual_run", "retry_run", "cancel_run", "change_schedules"}
    assert wanted <= words
    states = {
        move[3]
        for r in reports
        for step in r.trace
        if len(step) == 6
        for move in cast("list[tuple[object, ...]]", step[4])
    }
    assert states >= {"buffered", "held", "retrying", "failed", "timed_out", "cancelled", "skipped", "missed", "gone"}


def test_without_faults_nothing_is_lost_or_refused():
    for seed in range(20):
        scenario = replace(draw(str(seed)), acts=(), troubles=(), rates=Rates())
        report = run(scenario)
        assert report.violation is None
        assert not [step for step in report.trace if "refused" in step and "prepare" not in step]
