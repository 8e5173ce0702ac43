"""A worker with a real store and a real target: leases, their loss, cancellation, drain."""

from __future__ import annotations

import pytest

from backend.errors import StoreUnavailable
from backend.events import AttemptFinished, LeaseLost, RunsClaimed
from backend.model.ids import DEFAULT_NAMESPACE
from tests.unit.worker_world import LEASE, until, world

pytestmark = [pytest.mark.anyio, pytest.mark.each_database]

OVER = LEASE.total_seconds() + 1


async def test_a_due_run_is_sent_once_and_recorded(tmp_path):
    async with world(tmp_path) as w, w.worker.serving():
        await w.put()
        await w.due()
        w.gate.open.set()
        await w.begun()
        await until(lambda: w.worker.active == 0)
        record = await w.run()
        assert await w.history() == ("succeeded", ["succeeded"])
        assert w.gate.keys == [record.run.id]
        assert (record.attempts[0].output, record.attempts[0].status_code, record.attempts[0].worker) == (
            "ok",
            200,
            "w1",
        )
        assert (w.told(RunsClaimed), w.told(AttemptFinished), w.told(LeaseLost)) == (1, 1, 0)


async def test_a_run_that_fails_twice_succeeds_with_three_attempts_under_one_key(tmp_path):
    async with world(tmp_path) as w, w.worker.serving():
        await w.put()
        await w.due()
        w.gate.statuses = [503, 500]
        w.gate.open.set()
        for attempt in (1, 2, 3):
            await w.begun(attempt)
            await until(lambda: w.worker.active == 0)
        assert await w.history() == ("succeeded", ["failed", "failed", "succeeded"])
        assert len(set(w.gate.keys)) == 1
        assert [a.status_code for a in (await w.run()).attempts] == [503, 500, 200]


async def test_an_attempt_over_its_timeout_is_stopped_and_says_so(tmp_path):
    async with world(tmp_path) as w, w.worker.serving():
        await w.put(timeout="50ms", retry={"max_attempts": 1})
        await w.due()
        await w.begun()
        await until(lambda: w.gate.hung_up == 1 and w.worker.active == 0)
        assert await w.history() == ("timed_out", ["timed_out"])
        assert (await w.run()).run.error == "timed out after 0.05 s and was stopped"


async def test_an_attempt_whose_lease_is_lost_is_stopped_and_writes_nothing(tmp_path):
    async with world(tmp_path) as w, w.worker.serving():
        await w.put()
        await w.due()
        await w.begun()
        w.clock.advance(OVER)
        assert (await w.reap()).requeued == 1
        await w.worker.beat()
        await until(lambda: w.gate.hung_up == 1 and w.worker.active == 0)
        assert await w.history() == ("queued", ["lost"])
        assert (w.told(LeaseLost), w.told(AttemptFinished)) == (1, 0)


async def test_the_result_of_a_stale_lease_is_refused(tmp_path):
    async with world(tmp_path) as w, w.worker.serving():
        await w.put()
        await w.due()
        await w.begun()
        w.clock.advance(OVER)
        await w.reap()
        w.gate.open.set()
        await until(lambda: w.worker.active == 0)
        assert await w.history() == ("queued", ["lost"])
        assert (w.told(LeaseLost), w.told(AttemptFinished)) == (1, 0)


async def test_a_lost_run_is_taken_over_by_another_worker_under_the_same_key(tmp_path):
    async with world(tmp_path) as w, w.worker.serving(), w.another_worker().serving() as other:
        await w.put()
        await w.due()
        await w.begun()
        w.clock.advance(OVER)
        await w.reap()
        await other.turn()
        await until(lambda: len(w.gate.keys) == 2)
        await w.worker.beat()
        await until(lambda: w.worker.active == 0)
        assert other.active == 1, "the loss of one worker's lease must not touch the other's"
        w.gate.open.set()
        await until(lambda: other.active == 0)
        record = await w.run()
        assert await w.history() == ("succeeded", ["lost", "succeeded"])
        assert [a.worker for a in record.attempts] == ["w1", "w2"]
        assert w.gate.keys == [record.run.id] * 2


async def test_heartbeats_keep_a_lease(tmp_path):
    async with world(tmp_path) as w, w.worker.serving():
        await w.put()
        await w.due()
        await w.begun()
        for _ in range(4):
            w.clock.advance(OVER - 2)
            await w.worker.beat()
        assert (await w.reap()).requeued == 0
        w.gate.open.set()
        await until(lambda: w.worker.active == 0)
        assert await w.history() == ("succeeded", ["succeeded"])


async def test_a_cancelled_run_is_stopped_at_once(tmp_path):
    async with world(tmp_path) as w, w.worker.serving():
        await w.put()
        await w.due()
        await w.begun()
        await w.store.namespace(DEFAULT_NAMESPACE).cancel_run((await w.run()).run.id, "ann")
        w.worker.beating.bell.ring()
        await until(lambda: w.gate.hung_up == 1 and w.worker.active == 0)
        assert await w.history() == ("cancelled", ["cancelled"])


async def test_heartbeats_that_fail_for_longer_than_the_lease_stop_all_attempts(tmp_path):
    async with world(tmp_path) as w, w.worker.serving():
        await w.put()
        await w.due()
        await w.begun()
        await w.worker.beat()
        w.store.close()
        w.clock.advance(OVER - 2)
        with pytest.raises(StoreUnavailable):
            await w.worker.beat()
        assert w.gate.hung_up == 0, "the lease still lasts"
        w.clock.advance(2)
        with pytest.raises(StoreUnavailable):
            await w.worker.beat()
        await until(lambda: w.gate.hung_up == 1 and w.worker.active == 0)
        assert w.told(LeaseLost) == 1


async def test_a_result_that_waits_for_the_database_keeps_its_lease(tmp_path):
    async with world(tmp_path) as w:
        await w.put()
        await w.due()
        w.gate.open.set()
        # Nobody writes results yet, as if the database did not answer.
        await w.begun()
        for _ in range(3):
            w.clock.advance(OVER - 2)
            await w.worker.beat()
        assert (await w.reap()).requeued == 0
        async with w.worker.serving():
            await until(lambda: w.worker.active == 0)
            assert await w.history() == ("succeeded", ["succeeded"])


async def test_a_drain_lets_attempts_end_within_the_grace(tmp_path):
    async with world(tmp_path) as w, w.worker.serving():
        await w.put()
        await w.due()
        await w.begun()
        w.gate.open.set()
        await w.worker.drain(20)
        assert await w.history() == ("succeeded", ["succeeded"])


async def test_a_drain_gives_back_what_does_not_end_in_time(tmp_path):
    async with world(tmp_path) as w, w.worker.serving():
        await w.put(retry={"max_attempts": 1})
        await w.due()
        await w.begun()
        await w.worker.drain(0.01)
        assert w.worker.active == 0
        await until(lambda: w.gate.hung_up == 1)
        record = await w.run()
        assert await w.history() == ("queued", ["released"])
        assert (record.attempts[0].error, record.run.worker) == ("stopped because its worker was shutting down", None)
        # Not counted as an attempt: the only one that the policy allows is still to come.
        w.gate.open.set()
        async with w.another_worker().serving() as other:
            await other.turn()
            await until(lambda: other.active == 0)
        assert await w.history() == ("succeeded", ["released", "succeeded"])


async def test_a_drain_gives_back_an_attempt_that_has_not_begun(tmp_path):
    async with world(tmp_path) as w, w.worker.serving():
        await w.put()
        await w.due()
        await w.worker.turn()
        await w.worker.drain(0)
        assert w.worker.active == 0
        assert await w.history() == ("queued", ["released"])


async def test_what_may_be_sent_at_most_once_is_never_sent_again_after_a_drain(tmp_path):
    async with world(tmp_path) as w, w.worker.serving():
        await w.put(delivery="at_most_once")
        await w.due()
        await w.begun()
        await w.worker.drain(0.01)
        record = await w.run()
        assert (record.run.state, record.run.reason) == ("failed", "lost")
        assert await w.worker.turn() > 0
        assert w.worker.active == 0


async def test_whoever_leaves_without_a_drain_leaves_its_leases_to_run_out(tmp_path):
    async with world(tmp_path) as w:
        async with w.worker.serving():
            await w.put()
            await w.due()
            await w.begun()
        assert w.worker.active == 0
        await until(lambda: w.gate.hung_up == 1)
        assert await w.history() == ("running", [])
        w.clock.advance(OVER)
        await w.reap()
        assert await w.history() == ("queued", ["lost"])


async def test_a_worker_takes_on_no_more_than_it_has_room_for(tmp_path):
    async with world(tmp_path, concurrency=2) as w, w.worker.serving():
        for n in range(5):
            await w.put(f"job-{n}")
        await w.due()
        await w.begun(2)
        await w.worker.turn()
        assert w.worker.active == 2
        assert len(w.gate.keys) == 2
        w.gate.open.set()
        while len([r for r in await w.runs() if r.run.state == "succeeded"]) < 5:
            await until(lambda: w.worker.active == 0)
            await w.worker.turn()
        assert len(set(w.gate.keys)) == len(w.gate.keys) == 5


async def test_a_turn_says_when_the_next_run_may_be_claimed(tmp_path):
    async with world(tmp_path) as w, w.worker.serving():
        await w.put(retry={"initial": "10m", "maximum": "10m"}, target={"kind": "http", "url": w.gate.url})
        assert await w.worker.turn() == 1.0
        await w.due()
        w.gate.statuses = [503]
        w.gate.open.set()
        await w.begun()
        await until(lambda: w.worker.active == 0)
        available_at = (await w.run()).run.available_at
        w.clock.instant = available_at - 250_000
        assert await w.worker.turn() == 0.25
        w.clock.instant = available_at
        await w.begun(2)


async def test_a_definition_that_cannot_be_read_fails_its_run_for_good_and_says_why(tmp_path):
    async with world(tmp_path) as w, w.worker.serving():
        await w.put()
        await w.due()
        w.execute("update schedules set definition = '{\"version\": 99}'")
        await w.worker.turn()
        await until(lambda: w.worker.active == 0)
        record = await w.run()
        assert await w.history() == ("failed", ["failed"])
        assert record.run.error is not None
        assert record.run.error.startswith("the stored definition cannot be read")
        assert w.gate.keys == []
