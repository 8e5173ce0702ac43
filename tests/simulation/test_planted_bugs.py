"""A bug that somebody plants is found within the seeds that every change has to pass."""

from __future__ import annotations

import pytest

from tests.simulation.database import Plant
from tests.simulation.history import Report, run, simulate
from tests.simulation.plants import PLANTS
from tests.simulation.scenario import draw
from tests.simulation.shrink import shrunk
from tests.simulation.told import told

SEEDS = 1000
"""Half of what `test_simulation` runs."""


LATE = {
    "a_result_is_taken_without_its_token": 40,
    "the_key_contains_the_revision": 75,
    "a_range_row_does_not_grow": 77,
    "a_resume_forgets_too_little": 40,
    "nobody_asks_whether_the_clock_can_be_right": 31,
    "the_hour_that_does_not_exist_is_lost": 51,
    "poison_sets_the_whole_batch_aside": 105,
}
"""Seeds that caught a plant at the last look, where that takes many: they are tried first."""


def caught(plant: Plant, *, only: frozenset[str] = frozenset(), first: int = 0) -> Report | None:
    for seed in (first, *range(SEEDS)):
        report = run(draw(str(seed)), plant, only)
        if report.violation is not None and (not only or report.violation.invariant in only):
            return report
    return None


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_caught(plant):
    report = caught(plant(), first=LATE.get(plant.__name__, 0))
    assert report is not None, f"{SEEDS} seeds do not notice"
    assert simulate(report.scenario.seed).violation is None, "it is the plant that is caught"
    print(told(report, 1))


def test_a_stale_result_is_caught_as_such():
    plant = next(plant for plant in PLANTS if plant.__name__ == "a_result_is_taken_without_its_token")
    assert caught(plant(), only=frozenset({"a_stale_result_is_refused"})) is not None


def test_a_broken_history_is_shrunk_and_told_with_the_command_that_replays_it():
    plant = PLANTS[0]()
    report = caught(plant)
    assert report is not None
    less = shrunk(report, plant)
    assert less.violation is not None
    assert report.violation is not None
    assert less.violation.invariant == report.violation.invariant
    assert len(less.scenario.acts) <= len(report.scenario.acts)
    assert f"python -m tests.simulation {report.scenario.seed}" in told(report)
