"""As many histories again: a file of their own, so that two processes may judge them at a time."""

from __future__ import annotations

import pytest

from tests.simulation.test_simulation import PARTS, SEEDS, judged


@pytest.mark.parametrize("part", range(PARTS))
def test_no_other_history_breaks_an_invariant(part: int):
    judged(range(SEEDS + part * SEEDS // PARTS, SEEDS + (part + 1) * SEEDS // PARTS))
