"""Idle at scale: a server with very many schedules, of which none is due before tomorrow.

    python -m benchmarks.idle                                    1,000,000 schedules on SQLite
    python -m benchmarks.idle --database postgres                the same on a PostgreSQL of its own
    python -m benchmarks.idle --schedules 10000 --seconds 10     smaller, shorter

One schedule is created by the API and copied by SQL. Then the server is started anew and measured from outside: when
it is ready, what memory it takes once it has settled, and how much of a processor it uses.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.copying import copy
from tests.acceptance.server import Server
from tests.databases import sql
from tests.fault.cluster import Cluster

DAY = 86_400_000_000
MIB = 1024 * 1024
SETTLING = 20.0
CHANGED = {
    "id": "s.id || '-' || n.n",
    "next_nominal_at": f"s.next_nominal_at + n.n % {DAY}",
    "next_scheduled_at": f"s.next_scheduled_at + n.n % {DAY}",
}


class Idle(NamedTuple):
    """What was measured."""

    inserted: float
    """Seconds that the copies took."""
    ready: float
    """Seconds from the start of the process until it is ready."""
    memory: int
    """Resident bytes."""
    processor: float
    """Part of one processor."""


def copy_on_sqlite(url: str, number: int) -> None:
    copy(url, "schedules", number, CHANGED)
    sql(url, "analyze")


def copy_on_postgres(url: str, number: int) -> None:
    copy(url, "schedules", number, CHANGED)
    sql(url, "vacuum analyze schedules")


def measure(folder: Path, copy: Callable[[], None], seconds: float, **settings: str) -> Idle:
    """Create one schedule, copy it, and watch a server that has nothing to do."""
    with Server(folder, **settings) as server:
        server.ready().create(
            "idle", {"kind": "command", "argv": ["true"]}, triggers=[{"kind": "interval", "every": "2d"}]
        )
        server.stop()
    began = time.monotonic()
    copy()
    inserted, began = time.monotonic() - began, time.monotonic()
    with Server(folder, **settings) as server:
        server.ready()
        ready = time.monotonic() - began
        time.sleep(SETTLING)
        process = psutil.Process(server.process.pid)
        before, began = process.cpu_times(), time.monotonic()
        time.sleep(seconds)
        after, passed = process.cpu_times(), time.monotonic() - began
        used = (after.user + after.system - before.user - before.system) / passed
        return Idle(inserted, ready, process.memory_info().rss, used)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.idle", description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--schedules", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=60, help="how long the processor is watched")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="idle-")))
        if given.database == "postgres":
            cluster = stack.enter_context(Cluster())
            url = cluster.url()
            copied = partial(copy_on_postgres, url, given.schedules)
            idle = measure(folder, copied, given.seconds, database_url=url)
        else:
            copied = partial(copy_on_sqlite, f"sqlite:///{folder}/data/scheduler.db", given.schedules)
            idle = measure(folder, copied, given.seconds)
    print(f"{given.schedules:,} schedules on {given.database}, the next one due in two days")
    print(f"{platform.system()}, Python {platform.python_version()}, {os.cpu_count()} cores\n")
    print(f"inserted by SQL in {idle.inserted:8.1f} s")
    print(f"ready after        {idle.ready:8.2f} s")
    print(f"resident memory    {idle.memory / MIB:8.0f} MiB")
    print(f"of a processor     {idle.processor:8.2%}")


if __name__ == "__main__":
    main()
