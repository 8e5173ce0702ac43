"""What fires while things break: schedules with an occurrence every second, of which some may be sent only once."""

from __future__ import annotations

import time
from typing import NamedTuple

from tests.acceptance.server import Server, stamp, until
from tests.fault.verdict import Ledger, open_runs, recorded

BATCH = 1000


class Load(NamedTuple):
    """So many schedules, each firing every second for so many seconds, from `head_start` seconds after now."""

    schedules: int
    seconds: int
    head_start: int
    at_most_once_every: int = 10
    """One of so many schedules may be sent only once."""


def create(server: Server, port: int, load: Load) -> int:
    """Create the schedules, for a target on this port; answers how many occurrences they have until they end."""
    begin = int(time.time()) + load.head_start
    rest = {
        "triggers": [{"kind": "interval", "every": "1s", "anchor": stamp(begin)}],
        "target": {"kind": "http", "url": f"http://127.0.0.1:{port}/"},
        "overlap_policy": "allow_all",
        "misfire_threshold": "1h",
        "retry": {"max_attempts": 20, "initial": "100ms", "maximum": "1s"},
        "start_at": stamp(begin),
        "end_at": stamp(begin + load.seconds - 1),
    }
    once = load.at_most_once_every
    schedules = [
        {"id": f"every-second-{n}", **rest, "delivery": "at_least_once" if n % once else "at_most_once"}
        for n in range(load.schedules)
    ]
    for at in range(0, len(schedules), BATCH):
        server.post("/schedules/batch", {"schedules": schedules[at : at + BATCH]})
    return load.schedules * load.seconds


def settle(server: Server, ledger: Ledger, expected: int, patience: float) -> None:
    """Wait until every occurrence has a record and no run is open."""
    server.ready()
    until("all records", lambda: recorded(ledger) >= expected, patience)
    until("an end of all runs", lambda: open_runs(ledger) == 0, patience)
