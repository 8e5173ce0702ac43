"""Hints from other servers on the same database. They may be lost: polling is the floor."""

from __future__ import annotations

from collections.abc import Callable

RUNS, TIMES, LEASES = "runs", "times", "leases"
"""Runs wait for a worker; the next time of a schedule has moved; a run is to be stopped."""
EVERYTHING = frozenset({RUNS, TIMES, LEASES})

Hear = Callable[[frozenset[str]], None]
"""Takes the hints of one transaction of another server; called in the event loop."""
