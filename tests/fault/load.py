"""What fires while things break: schedules with an occurrence every second, of which some may be sent only once."""

from __future__ import annotations

import itertools
import math
import time
from datetime import datetime
from typing import NamedTuple

from tests.acceptance.server import Server, stamp, until
from tests.fault.verdict import Ledger, open_runs, recorded

BATCH = 1000
PAUSE = 0.1
"""Seconds between two looks at the ledger: each is a program that is started."""
_numbers = itertools.count(1)


class Load(NamedTuple):
    """So many schedules, each firing every second for so many seconds, from `head_start` seconds after now."""

    schedules: int
    seconds: int
    head_start: int
    at_most_once_every: int = 10
    """One of so many schedules may be sent only once."""


def create(server: Server, port: int, load: Load) -> int:
    """Create new schedules, for a target on this port; answers how many occurrences they have until they end."""
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
    once, name = load.at_most_once_every, f"every-second-{next(_numbers)}"
    schedules = [
        {"id": f"{name}-{n}", **rest, "delivery": "at_least_once" if n % once else "at_most_once"}
        for n in range(load.schedules)
    ]
    expected = 0
    for at in range(0, len(schedules), BATCH):
        batch = schedules[at : at + BATCH]
        server.post("/schedules/batch", {"schedules": batch})
        created = datetime.fromisoformat(server.get(f"/schedules/{batch[0]['id']}")["created_at"]).timestamp()
        expected += len(batch) * (load.seconds - _over(begin, created))
    return expected


def _over(begin: int, created: float) -> int:
    """Count the seconds that had passed when a slow machine had the schedules: nothing fires for them."""
    return max(0, math.floor(created - begin) + 1)


def settle(server: Server, ledger: Ledger, expected: int, patience: float) -> None:
    """Wait until every occurrence has a record and no run is open."""
    server.ready()
    until("all records", lambda: recorded(ledger) >= expected, patience, pause=PAUSE)
    until("an end of all runs", lambda: open_runs(ledger) == 0, patience, pause=PAUSE)
