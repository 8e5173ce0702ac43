"""The API over a large database: 100,000 schedules in 1,000 namespaces and 1,000,000 runs.

    python -m benchmarks.api                        on SQLite
    python -m benchmarks.api --database postgres    on a PostgreSQL of its own, with fsync

One namespace holds a fifth of everything, the others share the rest. This process is the client, on the same machine as
the server. Beside each rate stands what the same minute allows: requests to `/livez`, which asks nobody anything, and
rows that one SQL statement copies. Trust the ratios; absolute figures wobble with the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

import aiohttp

from benchmarks.copying import copy, numbered, on_sqlite
from benchmarks.herd import percentile
from tests.acceptance.server import PREFIX, Server, stamp
from tests.databases import sql
from tests.fault.cluster import Cluster

NAMESPACES = 1_000
AGE = 20 * 86_400
"""Seconds over which the runs are spread, until now."""
BATCH = 1_000
WANTED = {"page": 0.020, "batch": 5_000, "single": 500}
"""What the product promises itself: seconds at the 95th percentile, and schedules a second."""
TEMPLATE = {
    "id": "template",
    "owner": "owner",
    "target": {"kind": "http", "url": "https://hooks.example.org/report", "body": {"report": "weekly"}},
    "triggers": [{"kind": "cron", "expression": "0 7 * * MON", "timezone": "Europe/Berlin"}],
    "retry": {"max_attempts": 5},
}

IN_THE_LARGE_ONE = "{n} % 5 = 0"
NAMESPACE = f"case when {IN_THE_LARGE_ONE} then 'default' else 'ns-' || ({{n}} % {NAMESPACES - 1}) end"
STATE = "case when {n} / 5 % 50 = 7 then 'paused' when {n} / 5 % 500 = 9 then 'error' else 'active' end"
SCHEDULES = {
    "namespace": NAMESPACE.format(n="n.n"),
    "id": "'job-' || n.n",
    "name": "'Job ' || n.n",
    "owner": "'owner-' || (n.n / 5 % 50)",
    "state": STATE.format(n="n.n"),
    # Nothing is to fire while the API is measured.
    "next_nominal_at": "s.next_nominal_at + 315360000000000",
    "next_scheduled_at": "s.next_scheduled_at + 315360000000000",
}
TAGS = """
insert into schedule_tags (namespace, tag, schedule_key)
select namespace, 'team:' || (key % 40), key from schedules where id <> 'template'
"""
RUN_STATE = "case (n.n + n.n / 100000) % 20 when 3 then 'failed' when 7 then 'skipped' else 'succeeded' end"
ATTEMPTS = """
insert into attempts (run_key, number, state, started_at, finished_at, worker, status_code, output)
select key, 1, state, started_at, finished_at, 'worker-1', 200, '{"ok": true}' from runs where state <> 'skipped'
"""


class Rate(NamedTuple):
    """How many a second, and what the same minute allows at best."""

    what: str
    rate: float
    floor: float
    wanted: float | None


def fill(url: str, schedules: int, runs: int) -> float:
    """Copy the one schedule, and give each its runs; answers the seconds that a schedule's row took."""
    numbers = "insert into namespaces (id, created_at) select 'ns-' || (n.n - 1), 0 from "
    sql(url, *numbered(url, numbers, NAMESPACES - 1))
    sql(url, "insert into namespace_use (namespace) select id from namespaces where id <> 'default'")
    began = time.monotonic()
    copy(url, "schedules", schedules, SCHEDULES)
    copied = time.monotonic() - began
    sql(url, TAGS)
    sql(url, *numbered(url, runs_of(url, schedules, runs), runs))
    sql(url, ATTEMPTS)
    if not on_sqlite(url):
        sql(url, "vacuum analyze")  # as the database does by itself; on SQLite nobody does
    return copied / schedules


def runs_of(url: str, schedules: int, runs: int) -> str:
    """Word the insert of runs, spread evenly over the schedules and over time."""
    first = (int(time.time()) - AGE) * 1_000_000
    at = f"({first} + n.n * {AGE * 1_000_000 // runs})"
    number = f"(n.n % {schedules} + 1)"
    key = sql(url, "select min(key) from schedules where id <> 'template'")[0][0] - 1
    if on_sqlite(url):
        own, id_ = "", f"printf('%012x-7000-8000-%012x', {at} / 1000, n.n)"
    else:
        sql(url, f"select make_ranges({first})")
        own = f"(range_of({at}) << 40) | n.n, "
        id_ = f"lpad(to_hex({at} / 1000), 12, '0') || '-7000-8000-' || lpad(to_hex(n.n), 12, '0')"
    state = RUN_STATE
    return f"""
    insert into runs ({"key, " if own else ""}id, schedule_key, namespace, nominal_at, backfill_id, trigger_type, state,
      reason, scheduled_at, queued_at, available_at, started_at, finished_at, retry_until_at, chained, attempt, worker,
      missed_count, revision)
    select {own}{id_}, {key} + {number}, {NAMESPACE.format(n=number)}, {at}, '', 'schedule', {state},
      case {state} when 'skipped' then 'overlap' end, {at}, {at}, {at},
      case {state} when 'skipped' then null else {at} end, {at} + 1000000, {at}, 0, 1, 'worker-1', 0, 1 from """


class Client:
    """Asks a server, with so many connections at most."""

    def __init__(self, server: Server, connections: int) -> None:
        host, port = server.where
        self._base = f"http://{host}:{port}"
        self._key = {"X-API-Key": server.key}
        self._connections = connections

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=self._connections))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def send(self, method: str, path: str, body: Any = None) -> None:
        """Send one request; an answer that is no success ends the benchmark."""
        async with self._session.request(method, self._base + path, json=body, headers=self._key) as response:
            answer = await response.read()
            assert response.status < 300, f"{method} {path}: {response.status} {answer[:500]!r}"

    async def latencies(self, paths: Iterator[str], number: int) -> list[float]:
        """Ask one after another; answers the seconds that each took."""
        found = []
        for _ in range(number):
            path = next(paths)
            began = time.perf_counter()
            await self.send("GET", path)
            found.append(time.perf_counter() - began)
        return found

    async def rate(self, number: int, ask: Callable[[int], Any]) -> float:
        """Ask so often, with all connections; answers how many a second."""
        left = iter(range(number))

        async def one() -> None:
            for n in left:
                await ask(n)

        began = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(self._connections)))
        return number / (time.perf_counter() - began)


def pages(chance: random.Random, schedules: int) -> dict[str, Callable[[str], str]]:
    """Name the pages that people open, each of a namespace."""

    def of_owner(namespace: str) -> str:
        return f"/schedules?namespace={namespace}&owner=owner-{chance.randrange(50)}"

    def of_tag(namespace: str) -> str:
        return f"/schedules?namespace={namespace}&tag=team:{chance.randrange(40)}"

    def in_a_time(namespace: str) -> str:
        begin = time.time() - chance.randrange(AGE // 2, AGE)
        return f"/runs?namespace={namespace}&from={stamp(begin)}&to={stamp(begin + 86_400)}"

    def of_schedule(namespace: str) -> str:
        number = job_in(namespace, chance, schedules)
        return f"/schedules/job-{number}/runs?namespace={namespace}"

    return {
        "schedules": lambda namespace: f"/schedules?namespace={namespace}",
        "schedules of an owner": of_owner,
        "schedules with a tag": of_tag,
        "schedules that are paused": lambda namespace: f"/schedules?namespace={namespace}&state=paused",
        "schedules that are active": lambda namespace: f"/schedules?namespace={namespace}&state=active",
        "one schedule": lambda namespace: (
            f"/schedules/job-{job_in(namespace, chance, schedules)}?namespace={namespace}"
        ),
        "runs": lambda namespace: f"/runs?namespace={namespace}",
        "runs that failed": lambda namespace: f"/runs?namespace={namespace}&state=failed",
        "runs that succeeded": lambda namespace: f"/runs?namespace={namespace}&state=succeeded",
        "runs of a day": in_a_time,
        "runs of a schedule": of_schedule,
        "events of now": lambda namespace: f"/events?follow=false&namespace={namespace}",
        "the audit log": lambda namespace: f"/audit?namespace={namespace}&limit=50",
        "the sums of a namespace": lambda namespace: f"/stats?namespace={namespace}",
    }


def job_in(namespace: str, chance: random.Random, schedules: int) -> int:
    """Choose a schedule of a namespace by its number."""
    if namespace == "default":
        return 5 * chance.randrange(1, schedules // 5)
    apart, left = NAMESPACES - 1, int(namespace.removeprefix("ns-"))
    return chance.choice([number for number in range(left or apart, schedules + 1, apart) if number % 5])


async def read(client: Client, schedules: int, number: int) -> None:
    """Print how long pages take, in the large namespace and in small ones."""
    chance = random.Random(1)
    floor = await client.latencies(iter(lambda: "/livez", None), number)
    print(f"{'ms, 50 of a page':<28} {'the large namespace':>30} {'a small one':>30}")
    print(f"{'':<28} {'p50':>10}{'p95':>10}{'p99':>10} {'p50':>10}{'p95':>10}{'p99':>10}")
    over = []
    for what, path in pages(chance, schedules).items():

        def any_small(path: Callable[[str], str] = path) -> str:
            return PREFIX + path(f"ns-{chance.randrange(NAMESPACES - 1)}")

        def the_large(path: Callable[[str], str] = path) -> str:
            return PREFIX + path("default")

        measured = [await client.latencies(iter(which, None), number) for which in (the_large, any_small)]
        print(f"{what:<28} " + " ".join(in_milliseconds(seconds) for seconds in measured))
        over += [what for seconds in measured if percentile(seconds, 95) > WANTED["page"]]
    print(f"{'/livez, for comparison':<28} {in_milliseconds(floor)}")
    print(f"\nover {WANTED['page'] * 1000:.0f} ms at p95: {', '.join(over) or 'none'}")


def in_milliseconds(seconds: list[float]) -> str:
    return "".join(f"{percentile(seconds, share) * 1000:>10.2f}" for share in (50, 95, 99))


async def write(server: Server, number: int, connections: int) -> list[Rate]:
    """Create schedules one by one with many connections, and in batches with two."""
    async with Client(server, connections) as client:
        alive = await client.rate(number, lambda _: client.send("GET", "/livez"))
        body = {**TEMPLATE}

        def create(n: int) -> Any:
            path = f"{PREFIX}/schedules?namespace=ns-{n % (NAMESPACES - 1)}"
            return client.send("POST", path, {**body, "id": f"single-{n}"})

        single = await client.rate(number, create)
        page = await client.rate(number, lambda _: client.send("GET", f"{PREFIX}/schedules?limit=50&state=paused"))
    # Two, so that the next batch is written by this process while the server is at one.
    async with Client(server, 2) as client:

        def apply(n: int) -> Any:
            many = [{**body, "id": f"batch-{n}-{i}"} for i in range(BATCH)]
            return client.send("POST", f"{PREFIX}/schedules/batch?namespace=ns-{n}", {"schedules": many})

        batch = await client.rate(max(4, 6 * number // BATCH), apply) * BATCH
    return [
        Rate(f"creates, {connections} connections", single, alive, WANTED["single"]),
        Rate(f"pages of 50, {connections} connections", page, alive, None),
        Rate(f"creates in batches of {BATCH:,}", batch, 0, WANTED["batch"]),
    ]


async def measure(server: Server, given: argparse.Namespace, copied: float) -> None:
    async with Client(server, 1) as client:
        await read(client, given.schedules, given.requests)
    print(f"\n{'a second':<32} {'rate':>10} {'at best':>10} {'ratio':>7}   best is")
    for rate in await write(server, given.creates, given.connections):
        best, what = (rate.floor, "/livez") if rate.floor else (1 / copied, "copied by SQL")
        short = "" if rate.wanted is None or rate.rate >= rate.wanted else f", below {rate.wanted:,.0f}"
        print(f"{rate.what:<32} {rate.rate:>10,.0f} {best:>10,.0f} {rate.rate / best:>7.2f}   {what}{short}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.api", description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--schedules", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=300, help="of each kind of page")
    parser.add_argument("--creates", type=int, default=5_000)
    parser.add_argument("--connections", type=int, default=64)
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="api-")))
        url = f"sqlite:///{folder}/data/scheduler.db"
        if given.database == "postgres":
            url = stack.enter_context(Cluster()).url()
        with Server(folder, database_url=url) as server:
            server.ready().post("/schedules", TEMPLATE)
            server.stop()
        copied = fill(url, given.schedules, given.runs)
        print(f"{given.schedules:,} schedules in {NAMESPACES:,} namespaces, {given.runs:,} runs, {given.database}")
        print(f"{platform.system()}, Python {platform.python_version()}, {os.cpu_count()} cores, ", end="")
        print(f"load average {os.getloadavg()[0]:.1f}\n")
        with Server(folder, database_url=url) as server:
            asyncio.run(measure(server.ready(), given, copied))


if __name__ == "__main__":
    main()
