"""Replays a seed: `python -m tests.simulation SEED [--last N] [--shrink]`."""

from __future__ import annotations

import argparse
import sys

from tests.simulation.history import run
from tests.simulation.scenario import draw
from tests.simulation.shrink import shrunk
from tests.simulation.told import told


def main() -> int:
    """Print the end of a seed's history; answer 1 if an invariant was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed")
    parser.add_argument("--last", type=int, default=60, help="steps to print")
    parser.add_argument("--shrink", action="store_true", help="leave out what a broken history does not need")
    asked = parser.parse_args()
    report = run(draw(asked.seed))
    if asked.shrink and report.violation is not None:
        report = shrunk(report)
        print(report.scenario)
    print(told(report, asked.last))
    return int(report.violation is not None)


if __name__ == "__main__":
    sys.exit(main())
