"""The words of a chaos report, in Markdown."""

from __future__ import annotations

import os
import platform
from collections import Counter as Tally
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from tests.fault.replicas import LEASE
from tests.fault.verdict import Verdict

MOST_TOLD = 50


class Plan(NamedTuple):
    """What is to be done."""

    seconds: int
    occurrences: int
    replicas: int
    seed: int


class Happened(NamedTuple):
    """One fault."""

    at: float
    name: str
    seconds: float


def report(plan: Plan, verdict: Verdict, happened: Sequence[Happened], refusals: int) -> str:
    """Word what was done and found."""
    tally = Tally(one.name for one in happened)
    lines = [*_head(plan), *_table(_numbers(verdict, refusals), "what", "count")]
    lines += ["A run that is `failed` here was to be sent at most once, and its worker was lost.", ""]
    lines += [
        "## What happened to them",
        "",
        *_table({name: str(n) for name, n in sorted(tally.items())}, "fault", "times"),
    ]
    if verdict.faults:
        lines += ["## What was wrong", "", *[f"- {fault}" for fault in verdict.faults[:MOST_TOLD]], ""]
    return "\n".join(lines)


def _head(plan: Plan) -> list[str]:
    where = f"{platform.system()}, Python {platform.python_version()}, {os.cpu_count()} cores"
    return [
        "# Chaos report",
        "",
        f"`make chaos` on {datetime.now(UTC):%Y-%m-%d}, seed {plan.seed}:",
        f"{plan.replicas} replicas, {plan.seconds} s of faults, one after another.",
        f"{where}, shared by replicas, PostgreSQL (fsync on), targets, proxies and harness. The lease is {LEASE:g} s.",
        "",
    ]


def _table(rows: dict[str, str], *titles: str) -> list[str]:
    head = [f"| {' | '.join(titles)} |", "|---|---|"]
    return [*head, *[f"| {name} | {value} |" for name, value in rows.items()], ""]


def _numbers(verdict: Verdict, refusals: int) -> dict[str, str]:
    audit = verdict.audit
    return {
        "occurrences expected": f"{verdict.expected:,}",
        "occurrences recorded": f"{verdict.recorded:,}",
        "**missing** (audit)": f"**{audit['missing_count']}**",
        "**doubled** (audit)": f"**{audit['doubled_count']}**",
        "schedules that the audit could not verify": str(audit["unverified_count"]),
        "**broken rules** (stale results, changed keys, at-most-once sent twice)": f"**{len(verdict.faults)}**",
        "runs by state": ", ".join(f"{n:,} {state}" for state, n in sorted(verdict.states.items())),
        "dispatches that the targets saw": f"{verdict.dispatched:,}",
        "runs that were sent more than once": f"{verdict.again:,}",
        "attempts lost": f"{verdict.lost:,}",
        "results refused, and attempts stopped, for a lost lease": f"{refusals:,}",
        "lateness p50 · p90 · p99 · worst, s": _joined(verdict.lateness),
        "from a lost attempt's start to the next one's, the same": _joined(verdict.take_over),
    }


def _joined(numbers: Sequence[float]) -> str:
    return " · ".join(f"{number:,.2f}" for number in numbers)
