"""kill -9 at a random moment while 1,000 schedules are due: each runs once, none is lost."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.server import Server, stamp, until
from tests.acceptance.sink import Seen, Sink, listening_sink
from tests.databases import POSTGRES, SQLITE

DUE = 1000
ROUNDS = {SQLITE: 20, POSTGRES: 5}
SOAK_ROUNDS = 100


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening_sink() as sink:
        yield sink


def start(folder: Path) -> Server:
    return Server(folder, lease="1s", poll_interval="100ms", worker_concurrency="64")


def create_due(server: Server, sink: Sink, name: str) -> str:
    """Create the schedules of one round, all due at the same instant, which has just come."""
    due = stamp(int(time.time()))
    once = {"kind": "once", "at": due}
    target = sink.target(f"/{name}")
    schedules = [{"id": f"{name}-{n}", "triggers": [once], "target": target} for n in range(DUE)]
    assert len(server.post("/schedules/batch", {"schedules": schedules})["items"]) == DUE
    return due


def check_ledger(server: Server, name: str) -> dict[str, int]:
    """Count the attempts of each run of a round; fails unless each schedule has exactly one, which succeeded."""
    rows = server.query(
        "select s.id, r.id, r.state, r.attempt, count(*) over (partition by s.key) from schedules s "
        "left join runs r on r.schedule_key = s.key where s.id like ? || '-%'",
        name,
    )
    assert len(rows) == DUE, f"{len(rows)} rows for {DUE} schedules"
    wrong = [row for row in rows if row[2] != "succeeded" or row[4] != 1]
    assert not wrong, wrong[:5]
    return {row[1]: row[3] for row in rows}


def check_dispatches(attempts: dict[str, int], seen: list[Seen]) -> int:
    """Every dispatch names its run as its key, and its attempt; answers how many runs were dispatched again."""
    numbers: dict[str, list[int]] = {run_id: [] for run_id in attempts}
    for request in seen:
        assert request.key == request.run_id
        numbers[request.run_id].append(request.attempt)
    for run_id, dispatched in numbers.items():
        assert dispatched, f"{run_id} is in the ledger as succeeded and was never sent"
        # An attempt may be lost before it is sent, so numbers may be missing, but none comes twice.
        assert len(set(dispatched)) == len(dispatched), (run_id, dispatched)
        assert max(dispatched) == attempts[run_id]
    return sum(len(dispatched) > 1 for dispatched in numbers.values())


def wait_for_moment(sink: Sink, path: str, moments: random.Random) -> None:
    """Wait until so many have been dispatched, drawn from all that are due, and then a little."""
    dispatched = moments.randrange(DUE)
    until(f"{dispatched} dispatches", lambda: len(sink.at(path)) >= dispatched)
    time.sleep(moments.uniform(0, 0.03))


def crash_again_and_again(folder: Path, sink: Sink, rounds: int) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    open_at_kill = []
    server = start(folder)
    try:
        server.ready()
        for n in range(rounds):
            due = create_due(server, sink, f"r{n}")
            wait_for_moment(sink, f"/r{n}", moments)
            server.kill()
            open_at_kill.append(server.open_runs())
            server = start(folder)
            server.ready().all_final(60)
            attempts = check_ledger(server, f"r{n}")
            again = check_dispatches(attempts, sink.at(f"/r{n}"))
            print(f"round {n}: due {due}, {open_at_kill[-1]} open at the kill, {again} dispatched again")
        assert any(open_at_kill), "no kill came while runs were open, so this test has shown nothing"
        assert server.stop() == 0
    finally:
        server.kill()


@pytest.mark.timeout(300)
def test_a_server_killed_again_and_again_at_the_peak_runs_each_of_1000_due_schedules_once(
    tmp_path: Path, sink: Sink, database_of_servers: str
) -> None:
    crash_again_and_again(tmp_path, sink, ROUNDS[database_of_servers])


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_server_killed_a_hundred_times_at_the_peak_runs_each_of_1000_due_schedules_once(
    tmp_path: Path, sink: Sink
) -> None:
    crash_again_and_again(tmp_path, sink, SOAK_ROUNDS)
