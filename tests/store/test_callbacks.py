"""Runs that are open until their callee says what became of them, on both databases."""

from __future__ import annotations

from typing import Any

import pytest

from backend.engine.callbacks import attempt_of, silent
from backend.engine.retry import settle
from backend.errors import Conflict, RunIsOver, Unauthorized
from backend.model.callback import Expectation
from backend.model.ids import DEFAULT_NAMESPACE
from backend.model.instants import MINUTE, SECOND
from backend.model.run import AttemptState, ClaimedRun
from backend.store.callbacks import Heartbeat
from backend.store.leasing import Claim, Finish
from tests.store.world import LEASE, World

pytestmark = pytest.mark.anyio

RETRIED = {"max_attempts": 2, "initial": "1s", "maximum": "1s"}


async def put(world: World, **fields: Any) -> None:
    await world.put(completion="callback", timeout="10m", retry=RETRIED, **fields)


async def dispatched(world: World, hash_: str = "h1", token: str = "t1", silence: int | None = None) -> Claim:
    """Claim the one run that waits, as a worker does that is about to tell its callee a token."""
    claim = await world.claim(token=token)
    [run] = claim.runs
    expected = Expectation(run.key, token, hash_, run.started_at + 10 * MINUTE, silence)
    assert await world.store.worker().expect(expected)
    return claim


async def awaited(world: World, hash_: str = "h1", token: str = "t1", silence: int | None = None) -> ClaimedRun:
    """Dispatch the one run that waits, and let its target answer."""
    claim = await dispatched(world, hash_, token, silence)
    finish = await world.finish(claim, AttemptState.RUNNING, token=token)
    assert [f.accepted for f in finish.finished] == [True]
    return claim.runs[0]


async def complete(
    world: World, run: ClaimedRun, hash_: str | None = "h1", state: AttemptState = AttemptState.SUCCEEDED
) -> Finish:
    store = world.store.namespace(DEFAULT_NAMESPACE)
    error = None if state is AttemptState.SUCCEEDED else "no luck"
    return await store.complete_run(
        run.id, hash_, lambda found, _: attempt_of(found, state, error=error, output="out"), settle
    )


async def heartbeat(world: World, run: ClaimedRun, hash_: str | None = "h1") -> Heartbeat:
    return await world.store.namespace(DEFAULT_NAMESPACE).heartbeat(run.id, hash_)


async def end_silent(world: World) -> list[str]:
    finish = await world.store.engine().end_silent(silent, settle, 100)
    return [f.settled.state for f in finish.finished]


async def test_a_run_that_was_handed_over_is_open_without_a_worker_until_it_is_completed(world: World) -> None:
    await put(world)
    await world.trigger()
    run = await awaited(world)
    assert not (await world.store.worker().extend([(run.key, "t1")], LEASE)).held, "the worker's lease is over"
    world.clock.go(seconds=540)
    assert (await world.reap()).ended == 0
    assert await end_silent(world) == []
    shown = (await world.run(run.id)).run
    assert (shown.state, shown.worker) == ("running", "callback")
    assert shown.awaited_until == run.started_at + 10 * MINUTE
    await complete(world, run)
    record = await world.run(run.id)
    assert (record.run.state, record.run.awaited_until) == ("succeeded", None)
    assert [(a.state, a.output, a.worker) for a in record.attempts] == [("succeeded", "out", "callback")]
    with pytest.raises(RunIsOver, match="is succeeded"):
        await complete(world, run)


async def test_a_callee_may_be_done_before_its_answer_has_arrived(world: World) -> None:
    await put(world)
    await world.trigger()
    [run] = (await dispatched(world)).runs
    assert not (await heartbeat(world, run)).cancelled
    await complete(world, run)
    assert (await world.run(run.id)).run.state == "succeeded"
    assert not (await world.store.worker().extend([(run.key, "t1")], LEASE)).held


async def test_a_silent_callee_has_timed_out_and_is_called_again_and_its_old_token_is_worth_nothing(
    world: World,
) -> None:
    await put(world)
    await world.trigger()
    run = await awaited(world, silence=MINUTE)
    world.clock.go(seconds=50)
    assert (await heartbeat(world, run)).until == run.started_at + 110 * SECOND
    world.clock.go(seconds=59)
    assert await end_silent(world) == []
    world.clock.go(seconds=2)
    assert await end_silent(world) == ["retrying"]
    with pytest.raises(RunIsOver, match="is retrying"):
        await complete(world, run)
    world.clock.go(seconds=2)
    second = await awaited(world, "h2", "t2", MINUTE)
    assert (second.id, second.attempt) == (run.id, 2)
    for attempt in (complete(world, run, "h1"), heartbeat(world, run, "h1")):
        with pytest.raises(Unauthorized):
            await attempt
    world.clock.go(seconds=61)
    assert await end_silent(world) == ["timed_out"]
    record = await world.run(run.id)
    assert "no heartbeat" in str(record.run.error)
    assert [a.state for a in record.attempts] == ["timed_out", "timed_out"]


async def test_heartbeats_do_not_prolong_an_attempt_beyond_its_timeout(world: World) -> None:
    await put(world)
    await world.trigger()
    run = await awaited(world, silence=MINUTE)
    for _ in range(12):
        world.clock.go(seconds=50)
        await heartbeat(world, run)
    assert (await heartbeat(world, run)).until == run.started_at + 10 * MINUTE
    world.clock.go(seconds=1)
    assert await end_silent(world) == ["retrying"]
    assert "timed out after 10m" in str((await world.run(run.id)).run.error)


async def test_a_failure_that_the_callee_tells_is_retried_like_any_other(world: World) -> None:
    await put(world)
    await world.trigger()
    run = await awaited(world)
    await complete(world, run, state=AttemptState.FAILED)
    assert (await world.run(run.id)).run.state == "retrying"
    world.clock.go(seconds=2)
    await complete(world, await awaited(world, "h2", "t2"), "h2", AttemptState.FAILED)
    assert ((await world.run(run.id)).run.state, (await world.run(run.id)).run.error) == ("failed", "no luck")


async def test_while_a_run_is_awaited_the_next_occurrence_overlaps_it(world: World) -> None:
    await put(world, overlap_policy="buffer_one")
    world.clock.go(seconds=60)
    await world.turn()
    run = await awaited(world)
    world.clock.go(seconds=60)
    await world.turn()
    assert await world.states() == ["running", "buffered"]
    await complete(world, run)
    assert await world.states() == ["succeeded", "queued"]


async def test_a_cancelled_run_tells_its_callee_to_stop(world: World) -> None:
    await put(world)
    await world.trigger()
    run = await awaited(world)
    await world.cancel(run.id)
    with pytest.raises(RunIsOver) as over:
        await heartbeat(world, run)
    assert over.value.members == {"state": "cancelled", "cancelled": True}


async def test_a_callee_is_asked_to_make_room_for_a_later_occurrence(world: World) -> None:
    await put(world, overlap_policy="cancel_other")
    world.clock.go(seconds=60)
    await world.turn()
    run = await awaited(world)
    world.clock.go(seconds=60)
    await world.turn()
    assert (await heartbeat(world, run)).cancelled
    assert await world.states() == ["running", "buffered"], "it has not stopped yet"
    await complete(world, run, state=AttemptState.FAILED)
    assert await world.states() == ["failed", "queued"]


async def test_a_worker_lost_before_the_answer_is_replaced_and_one_lost_after_it_is_not_missed(world: World) -> None:
    await put(world)
    await world.trigger()
    [first] = (await dispatched(world)).runs
    world.clock.go(seconds=60)
    assert (await world.reap()).requeued == 1
    second = await awaited(world, "h2", "t2")
    assert second.id == first.id
    world.clock.go(seconds=60)
    assert (await world.reap()).requeued == 0
    await complete(world, second, "h2")


async def test_silence_while_no_server_was_up_is_forgiven(world: World) -> None:
    await put(world)
    await world.trigger()
    run = await awaited(world, silence=MINUTE)
    world.clock.go(seconds=300)
    await world.store.engine().forgive_silence()
    assert await end_silent(world) == []
    world.clock.go(seconds=61)
    assert await end_silent(world) == ["retrying"]
    assert run.attempt == 1


async def test_a_run_that_ends_with_its_answer_takes_no_callback(world: World) -> None:
    await world.put()
    await world.trigger()
    [run] = (await world.claim()).runs
    for hash_, error in ((None, Conflict), ("h1", Unauthorized)):
        with pytest.raises(error):
            await complete(world, run, hash_)
