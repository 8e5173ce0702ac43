"""Words for a history: what was broken, how to see it again, and the last steps."""

from __future__ import annotations

from tests.simulation.history import Report


def told(report: Report, last: int = 40) -> str:
    """Say how a history ended."""
    scenario = report.scenario
    lines = [
        f"seed {scenario.seed}: {report.commits} commits, {report.requests} requests, {report.runs} runs",
        f"digest {report.digest}",
    ]
    if report.violation is not None:
        lines += [f"BROKEN {report.violation}", f"replay: python -m tests.simulation {scenario.seed}"]
    lines += [" ".join(map(str, step)) for step in report.trace[-last:]]
    return "\n".join(lines)
