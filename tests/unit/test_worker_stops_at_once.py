"""What is stopped between its claim and its first step: nothing was sent, and its place is free again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from backend.events import Events
from backend.store.leasing import Extended
from backend.store.port import WorkerStore
from backend.worker.loop import Worker, WorkerConfig
from tests.unit.worker_world import LEASE, World, until, world

pytestmark = [pytest.mark.anyio, pytest.mark.each_database]


class LosesAtOnce(WorkerStore):
    """Says, before the event loop goes on to anything else, that every lease is lost."""

    async def extend(self, held: Sequence[tuple[int, str]], lease: timedelta, *more: object) -> Extended:
        return Extended(set(), set())


class StopsAtOnce(WorkerStore):
    """Says as early that every run is to make room."""

    async def extend(self, held: Sequence[tuple[int, str]], lease: timedelta, *more: object) -> Extended:
        keys = {key for key, _ in held}
        return Extended(keys, keys)


def worker_on(w: World, store: type[WorkerStore]) -> Worker:
    config = WorkerConfig("w1", 1, LEASE)
    return Worker(store(w.store.worker().runner), w.tools, config, clock=w.clock, events=Events())


async def test_an_attempt_that_loses_its_lease_before_its_first_step_frees_its_place(tmp_path):
    async with world(tmp_path) as w, worker_on(w, LosesAtOnce).serving() as worker:
        await w.put()
        await w.due()
        await worker.turn()
        assert worker.active == 1
        await worker.beat()
        await until(lambda: worker.active == 0)
        assert w.gate.keys == []


async def test_an_attempt_that_is_to_make_room_before_its_first_step_ends_as_cancelled(tmp_path):
    async with world(tmp_path) as w, worker_on(w, StopsAtOnce).serving() as worker:
        await w.put()
        await w.due()
        await worker.turn()
        await worker.beat()
        await until(lambda: worker.active == 0)
        assert (await w.run()).attempts[0].state == "cancelled"
        assert w.gate.keys == []
