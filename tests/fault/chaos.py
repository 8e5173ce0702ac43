"""`make chaos`: replicas on PostgreSQL fire while everything fails around them, and then the ledger is judged.

Three servers, each behind a fault proxy, share a database that is killed too. Schedules fire every second; faults come
one after another, drawn by a seed. In the end everything is healed, what is open ends, and tests/fault/verdict.py says
what must hold. The report is Markdown.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.fault.cluster import Cluster
from tests.fault.counter import Counter
from tests.fault.load import Load, create, settle
from tests.fault.proxy import Fault
from tests.fault.replicas import LEASE, Fleet, fleet
from tests.fault.report import Happened, Plan, report
from tests.fault.verdict import Verdict, judge

HEAD_START = 15
"""Seconds from the creation of the schedules to their first occurrence."""
PAUSE = (2.0, 6.0)
"""Seconds between two faults."""


def kinds(fleet: Fleet, chance: random.Random) -> dict[str, Callable[[], None]]:
    """List what may happen, to whom it happens now, and how long."""
    replica = chance.choice(fleet.replicas)
    short, long = chance.uniform(1, 4), LEASE + chance.uniform(1, 4)
    return {
        "kill -9 of a replica": lambda: replica.kill(short),
        "SIGSTOP of a replica for longer than a lease": lambda: replica.freeze(long),
        "SIGTERM and restart of a replica": replica.restart,
        "rolling restart of all replicas": fleet.rolling_restart,
        "connections of a replica reset": replica.proxy.cut,
        "connections of a replica refused": lambda: replica.suffer(Fault.REFUSED, short),
        "connections of a replica delayed": lambda: replica.suffer(Fault.DELAYED, long),
        "black hole between a replica and the database": lambda: replica.suffer(Fault.BLACK_HOLE, long),
        "half-open connections of a replica": lambda: replica.suffer(Fault.DEAF, long),
        "kill -9 of PostgreSQL": fleet.crash_database,
        "restart of PostgreSQL": fleet.restart_database,
    }


def torment(fleet: Fleet, chance: random.Random, until_at: float) -> list[Happened]:
    """Do one thing after another, each kind as often as the others, until the time is up."""
    happened: list[Happened] = []
    deck: list[str] = []
    while time.time() < until_at:
        acts = kinds(fleet, chance)
        if not deck:
            deck = chance.sample(sorted(acts), len(acts))
        name, began = deck.pop(), time.time()
        acts[name]()
        happened.append(Happened(began, name, time.time() - began))
        tell(f"{name}, {happened[-1].seconds:.1f} s")
        time.sleep(min(chance.uniform(*PAUSE), max(0.0, until_at - time.time())))
    return happened


def chaos(plan: Plan) -> tuple[Verdict, list[Happened], int]:
    """Run the whole thing; answers the verdict, what happened, and how many stale results were refused."""
    chance = random.Random(plan.seed)
    with (
        tempfile.TemporaryDirectory(prefix="chaos-") as folder,
        Counter() as counter,
        Cluster() as cluster,
        fleet(Path(folder), cluster, plan.replicas) as replicas,
    ):
        load = Load(max(1, plan.occurrences // plan.seconds), plan.seconds, HEAD_START)
        expected = create(replicas.ready(), counter.port, load)
        tell(f"seed {plan.seed}: {expected:,} occurrences in {plan.seconds} s on {plan.replicas} replicas")
        happened = torment(replicas, chance, time.time() + HEAD_START + plan.seconds)
        settle(replicas.ready(), cluster, expected, 300)
        verdict = judge(replicas.ready(), cluster, dict(counter.seen), expected)
        return verdict, happened, refused(Path(folder))


def refused(folder: Path) -> int:
    """Count in all logs the attempts whose workers learned that they had lost the lease."""
    lines = "\n".join(log.read_text() for log in folder.glob("log-*") if log.suffix != ".err")
    return lines.count('"event":"lease_lost"') + lines.count('"event": "lease_lost"')


def tell(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S}  {text}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fault.chaos", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="how long faults go on (600)")
    parser.add_argument("--occurrences", type=int, default=200_000, help="how many fire meanwhile (200,000)")
    parser.add_argument("--replicas", type=int, default=3, help="servers on the database (3)")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="draws the faults (random)")
    parser.add_argument("--report", type=Path, help="file for the report; stdout unless given")
    given = parser.parse_args()
    plan = Plan(given.seconds, given.occurrences, given.replicas, given.seed)
    verdict, happened, refusals = chaos(plan)
    text = report(plan, verdict, happened, refusals)
    if given.report:
        given.report.write_text(text)
    print(text)
    return 1 if verdict.faults else 0


if __name__ == "__main__":
    sys.exit(main())
