"""The words of a chaos report, in Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from tests.fault.replicas import LEASE
from tests.fault.verdict import Verdict, shares

MOST_TOLD = 50
SHARES = "p50 · p90 · p99 · worst, s"
AFTERMATH = 2.0
"""Seconds after a fault in which lateness is still put down to it."""


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
    lines = [*_head(plan), *_table(_numbers(verdict, refusals), "what", "count")]
    lines += ["A run that is `failed` here was to be sent at most once, and its worker was lost.", ""]
    lines += [
        "## What happened to them",
        "",
        "Lateness is that of the occurrences that were due meanwhile, or in the two seconds after it.",
        "",
        *_table(
            {name: f"{n} | {_joined(shares(late))}" for name, n, late in _by_fault(verdict, happened)},
            "fault",
            "times",
            f"lateness {SHARES}",
        ),
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
    head = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
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
        f"lateness {SHARES}": _joined(shares([late for _, late in verdict.started])),
        f"from a lost attempt's start to the next one's {SHARES}": _joined(shares(verdict.take_over)),
    }


def _by_fault(verdict: Verdict, happened: Sequence[Happened]) -> list[tuple[str, int, list[float]]]:
    rows = []
    for name in sorted({one.name for one in happened}):
        spans = [(one.at, one.at + one.seconds + AFTERMATH) for one in happened if one.name == name]
        rows.append((name, len(spans), [late for due, late in verdict.started if _within(due, spans)]))
    spans = [(one.at, one.at + one.seconds + AFTERMATH) for one in happened]
    return [*rows, ("none of these", 0, [late for due, late in verdict.started if not _within(due, spans)])]


def _within(instant: float, spans: Sequence[tuple[float, float]]) -> bool:
    return any(begin <= instant <= end for begin, end in spans)


def _joined(numbers: Sequence[float]) -> str:
    return " · ".join(f"{number:,.2f}" for number in numbers)
