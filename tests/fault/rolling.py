"""A rolling restart of two replicas under load, measured against an undisturbed minute just before it.

    python -m tests.fault.rolling                      500 occurrences a second, a minute each
    python -m tests.fault.rolling --rate 200 --seconds 20

The report is Markdown.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tests.fault.cluster import Cluster
from tests.fault.counter import Counter
from tests.fault.load import Load, create, settle
from tests.fault.replicas import LEASE, fleet
from tests.fault.verdict import Verdict, judge, shares

HEAD_START = 15
REPLICAS = 2


class Measured(NamedTuple):
    """What was found: lateness in seconds, the least first."""

    verdict: Verdict
    restarting: float
    """Seconds that the rolling restart took."""
    undisturbed: list[float]
    disturbed: list[float]

    @property
    def added(self) -> float:
        """How many seconds more the 99th percentile is late."""
        return shares(self.disturbed)[2] - shares(self.undisturbed)[2]


def measure(rate: int, seconds: int) -> Measured:
    """Fire for twice so many seconds, and restart all replicas in the second half."""
    with (
        tempfile.TemporaryDirectory(prefix="rolling-") as folder,
        Counter() as counter,
        Cluster() as cluster,
        fleet(Path(folder), cluster, REPLICAS) as replicas,
    ):
        began = time.time()
        expected = create(replicas.ready(), counter.port, Load(rate, 2 * seconds, HEAD_START))
        half = int(began) + HEAD_START + seconds
        time.sleep(max(0.0, half - time.time()))
        restarted_at = time.time()
        replicas.rolling_restart()
        restarting = time.time() - restarted_at
        settle(replicas.ready(), cluster, expected, 600)
        verdict = judge(replicas.ready(), cluster, dict(counter.seen), expected)
        before = [late for due, late in verdict.started if due < half]
        return Measured(verdict, restarting, before, [late for due, late in verdict.started if due >= half])


def report(rate: int, seconds: int, measured: Measured) -> str:
    """Word what was found."""
    verdict, audit = measured.verdict, measured.verdict.audit
    where = f"{platform.system()}, Python {platform.python_version()}, {os.cpu_count()} cores"
    rows = {
        "occurrences expected · recorded": f"{verdict.expected:,} · {verdict.recorded:,}",
        "missing · doubled · broken rules": (
            f"**{audit['missing_count']} · {audit['doubled_count']} · {len(verdict.faults)}**"
        ),
        "attempts lost · runs sent more than once": f"{verdict.lost:,} · {verdict.again:,}",
        "the restart of both took": f"{measured.restarting:.1f} s",
        "lateness p50 · p90 · p99 · worst, undisturbed": _joined(measured.undisturbed),
        "lateness p50 · p90 · p99 · worst, with the restart": _joined(measured.disturbed),
        "**added at p99**": f"**{measured.added:.2f} s** (lease + 1 s is {LEASE + 1:g} s)",
    }
    return "\n".join(
        [
            "# Rolling restart under load",
            "",
            f"`python -m tests.fault.rolling --rate {rate} --seconds {seconds}` on {datetime.now(UTC):%Y-%m-%d}:",
            f"{REPLICAS} replicas, {rate} occurrences a second for {seconds} s, then as long with the restart.",
            f"{where}, shared by replicas, PostgreSQL (fsync on), target and harness.",
            "",
            "| what | found |",
            "|---|---|",
            *[f"| {name} | {value} |" for name, value in rows.items()],
            *["", *[f"- {fault}" for fault in verdict.faults[:20]]],
        ]
    )


def _joined(late: list[float]) -> str:
    return " · ".join(f"{number:.2f}" for number in shares(late)) + " s"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fault.rolling", description=__doc__)
    parser.add_argument("--rate", type=int, default=500, help="occurrences a second (500)")
    parser.add_argument("--seconds", type=int, default=60, help="length of each half (60)")
    given = parser.parse_args()
    measured = measure(given.rate, given.seconds)
    print(report(given.rate, given.seconds, measured))
    return 1 if measured.verdict.faults or measured.added > LEASE + 1 else 0


if __name__ == "__main__":
    sys.exit(main())
