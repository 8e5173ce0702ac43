"""What an operation of very many rows costs, while all others wait for the writer."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest

from backend.model.instants import MINUTE
from backend.store.open import open_store
from backend.store.operation import Batch, Operation
from backend.store.sqlite.connection import Connection
from tests.store.world import START, StillClock, World, manual_run

pytestmark = pytest.mark.anyio
ROWS = 6000


async def test_the_fifth_time_thousands_of_rows_cost_about_what_the_first_did(path: Path) -> None:
    store = await open_store(f"sqlite:///{path}", clock=(clock := StillClock()))
    schedule = await World(store, clock, f"sqlite:///{path}").put()
    store.close()

    def insert(turn: int) -> Operation[None]:
        runs = [manual_run(schedule, f"{number:06d}-{turn}", START + number * MINUTE) for number in range(ROWS)]
        yield Batch("insert_runs", [run._asdict() for run in runs])

    costs = []
    with closing(Connection(path)) as writer:
        for turn in range(5):
            # As the writer runs it: in a savepoint, for what it shares the transaction with.
            writer.raw.execute("begin immediate")
            writer.raw.execute("savepoint operation")
            began = time.thread_time()
            writer.run(insert(turn))
            costs.append(time.thread_time() - began)
            writer.raw.execute("commit")
    assert min(costs[3:]) < 3 * min(costs[:2]), costs
