"""Hints from other servers on the same database. They may be lost: polling is the floor."""

from __future__ import annotations

from collections.abc import Callable

RUNS, TIMES, LEASES = "runs", "times", "leases"
"""Runs wait for a worker; the next time of a schedule has moved; a run is to be stopped."""
NEAR = 120_000_000
"""Microseconds. No engine sleeps for more than half of it (`SCHEDULER_POLL_INTERVAL`): later times are not told."""
EVERYTHING = frozenset({RUNS, TIMES, LEASES})

Hear = Callable[[frozenset[str]], None]
"""Takes the hints of one transaction of another server; called in the event loop."""


def is_near(next_at: int | None, now: int) -> bool:
    """Tell whether an engine could sleep past a time unless it is told."""
    return next_at is not None and next_at - now <= NEAR
