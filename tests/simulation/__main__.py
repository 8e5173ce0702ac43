"""Replays a seed: `python -m tests.simulation SEED [--last N] [--shrink]`."""

from __future__ import annotations

import argparse
import sys

from tests.simulation.history import run
from tests.simulation.scenario import draw
from tests.simulation.told import told


def main() -> int:
    """Print the end of a seed's history; answer 1 if an invariant was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed")
    parser.add_argument("--last", type=int, default=60, help="steps to print")
    asked = parser.parse_args()
    report = run(draw(asked.seed))
    print(told(report, asked.last))
    return int(report.violation is not None)


if __name__ == "__main__":
    sys.exit(main())
