"""A worker stops what is asked to make room, and keeps half of its own room for what is live."""

from __future__ import annotations

import pytest

from backend.events import AttemptFinished, LeaseLost
from backend.model.ids import DEFAULT_NAMESPACE
from backend.model.plan import NewRun
from backend.model.schedule import Schedule
from tests.store.world import manual_run
from tests.unit.worker_world import World, until, world

pytestmark = [pytest.mark.anyio, pytest.mark.each_database]


async def test_a_run_that_is_asked_to_stop_ends_with_the_next_heartbeat_and_the_newer_one_runs(tmp_path):
    async with world(tmp_path) as w, w.worker.serving():
        await w.put(overlap_policy="cancel_other")
        await w.due()
        await w.begun()
        await w.due()
        assert [record.run.state for record in await w.runs()] == ["buffered", "running"]
        await w.worker.beat()
        await until(lambda: w.worker.active == 0)
        await until(lambda: w.gate.hung_up == 1)
        newer, older = await w.runs()
        assert (older.run.state, newer.run.state) == ("cancelled", "queued")
        [attempt] = older.attempts
        assert (attempt.state, attempt.error) == (
            "cancelled",
            "stopped for a later occurrence (overlap_policy: cancel_other)",
        )
        assert (w.told(AttemptFinished), w.told(LeaseLost)) == (1, 0)
        w.gate.open.set()
        await w.begun(2)
        await until(lambda: w.worker.active == 0)
        assert (await w.runs())[0].run.state == "succeeded"


async def test_a_run_whose_lease_is_revoked_for_a_newer_one_is_stopped_and_the_newer_one_runs_beside_its_end(tmp_path):
    async with world(tmp_path) as w, w.worker.serving():
        await w.put(overlap_policy="terminate_other")
        await w.due()
        await w.begun()
        await w.due()
        await w.begun(2)
        await w.worker.beat()
        await until(lambda: w.gate.hung_up == 1)
        assert w.told(LeaseLost) == 1
        w.gate.open.set()
        await until(lambda: w.worker.active == 0)
        assert [record.run.state for record in await w.runs()] == ["succeeded", "cancelled"]


async def backfill(w: World, runs: int) -> None:
    def make(schedule: Schedule, now: int) -> list[NewRun]:
        pattern = manual_run(schedule, "", now)._replace(trigger_type="backfill", backfill_id="b", state="queued")
        return [pattern._replace(id=f"b-{n}", nominal_at=n) for n in range(runs)]

    await w.store.namespace(DEFAULT_NAMESPACE).start_backfill("job", make)


async def test_backfill_runs_take_half_of_the_room_at_the_most(tmp_path):
    async with world(tmp_path, concurrency=6) as w, w.worker.serving():
        await w.put()
        await backfill(w, 20)
        await w.begun(3)
        assert await w.worker.turn() == 1.0, "it does not look again at once for what it may not take"
        assert w.worker.active == 3
        await w.due()
        await w.begun(4)
        assert w.worker.active == 4
        w.gate.open.set()
        while [record for record in await w.runs() if record.run.state != "succeeded"]:
            await until(lambda: w.worker.active == 0)
            await w.worker.turn()
            assert w.worker.active <= 3


async def test_a_worker_for_one_run_at_a_time_does_backfills_too(tmp_path):
    async with world(tmp_path, concurrency=1) as w, w.worker.serving():
        await w.put()
        await backfill(w, 1)
        w.gate.open.set()
        await w.begun()
        await until(lambda: w.worker.active == 0)
        assert (await w.run()).run.state == "succeeded"
