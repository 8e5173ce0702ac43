"""Workers that may not do the same: each claims what it may, and what nobody may is found all the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from backend.engine.retry import UNABLE, settle
from backend.model.attempt import Declined
from backend.model.instants import SECOND
from backend.model.run import AttemptState
from backend.store.leasing import Claim, Finish, Lessee
from backend.store.workers import Presence
from tests.store.world import LEASE, World, result_of

pytestmark = pytest.mark.anyio

HTTP = {"kind": "http", "url": "https://example.org/"}
COMMAND = {"kind": "command", "argv": ["true"]}
PYTHON = {"kind": "python", "callable": "app.jobs:run"}


async def claim(world: World, *kinds: str, token: str = "t1") -> Claim:
    return await world.store.worker().claim(Lessee("w1", token, LEASE, kinds=kinds), 100)


async def orphans(world: World, *kinds: str, others: Sequence[str] = ()) -> Claim:
    return await world.store.worker().claim_orphans(Lessee("w1", "t1", LEASE, kinds=kinds), others, 100)


def ids(claim: Claim) -> list[str]:
    return sorted(claim.errands[run.schedule_key][0] for run in claim.runs)


async def decline(
    world: World, claim: Claim, *, elsewhere: bool, error: str = "not here", ability: str | None = None
) -> Finish:
    results = []
    for run in claim.runs:
        result = result_of(claim, run, AttemptState.RELEASED, permanent=True, error=error)
        declined = Declined(run.declined, elsewhere, run.unable_since_at, run.available_at, ability)
        results.append(result._replace(ended=result.ended._replace(declined=declined)))
    return await world.store.worker().finish(results, settle)


async def one_of_each(world: World, **more: Any) -> None:
    for id_, target in (("send", HTTP), ("shell", COMMAND), ("call", PYTHON)):
        await world.put(id_, target=target, **more)
        await world.trigger(id_)


async def test_a_worker_claims_only_kinds_that_it_may_perform(world: World) -> None:
    await one_of_each(world)
    first = await claim(world, "http")
    assert (ids(first), first.next_at) == (["send"], None)
    assert ids(await claim(world, "http")) == []
    assert ids(await claim(world, "command", "http")) == ["shell"]
    assert ids(await world.claim()) == ["call"]


async def test_what_waits_again_is_claimed_by_kind_as_well(world: World) -> None:
    await one_of_each(world, retry={"initial": "10s", "maximum": "10s"})
    await world.work(AttemptState.FAILED)
    world.clock.go(seconds=10)
    assert ids(await claim(world, "command")) == ["shell"]
    assert ids(await claim(world, "http", "python")) == ["call", "send"]


async def test_only_what_neither_this_worker_nor_another_may_perform_is_an_orphan(world: World) -> None:
    await one_of_each(world)
    assert ids(await orphans(world, "http", others=["command", "python"])) == []
    assert ids(await orphans(world, "http", others=["python"])) == ["shell"]
    assert ids(await orphans(world, "http")) == ["call"]


async def test_a_schedule_of_another_kind_than_before_takes_its_waiting_runs_with_it(world: World) -> None:
    await world.put(target=COMMAND)
    await world.trigger()
    await world.put(target=HTTP)
    assert ids(await claim(world, "command")) == []
    assert ids(await claim(world, "http")) == ["job"]


async def test_a_run_that_is_given_back_has_not_been_attempted_and_tells_what_it_waits_for(world: World) -> None:
    await world.put(target=COMMAND, delivery="at_most_once", pause_after_failures=1)
    run = await world.trigger()
    finish = await decline(world, await world.claim(), elsewhere=True)
    record = await world.run(run.id)
    assert (record.run.state, record.run.attempt, record.run.started_at, record.attempts) == ("retrying", 0, None, ())
    assert (record.run.error, finish.paused) == ("not here", [])
    assert ids(await world.claim()) == []
    world.clock.go(seconds=1)
    again = await world.claim()
    assert [(run.attempt, run.declined) for run in again.runs] == [(1, 1)]
    await world.finish(again)
    record = await world.run(run.id)
    assert (record.run.state, record.run.error, len(record.attempts)) == ("succeeded", None, 1)


async def test_a_run_given_back_for_an_ability_is_offered_only_to_who_has_it(world: World) -> None:
    await world.put(target=PYTHON, retry={"initial": "0s", "maximum": "0s"})
    await world.trigger()
    await decline(world, await claim(world, "python"), elsewhere=True, ability="python:app.jobs")
    world.clock.go(seconds=20)
    assert ids(await claim(world, "python", "python:app")) == []
    first = await claim(world, "python", "python:app.jobs")
    assert ids(first) == ["job"]
    await world.finish(first, AttemptState.FAILED)
    assert ids(await claim(world, "python")) == [], "its retry neither"
    assert ids(await orphans(world, "python")) == ["job"], "but if nobody has it any more, it is heard of"


async def test_a_run_that_has_failed_before_keeps_its_attempts_when_it_is_given_back(world: World) -> None:
    await world.put(retry={"initial": "0s", "maximum": "0s"})
    run = await world.trigger()
    started = (await world.claim()).now
    world.sql("update runs set state = 'queued', lease_token = null, attempt = 1")
    await decline(world, await world.claim(), elsewhere=True)
    record = await world.run(run.id)
    assert (record.run.state, record.run.attempt, record.run.started_at) == ("retrying", 1, started)


async def test_a_run_that_no_worker_could_do_for_a_minute_fails_and_pauses_nothing(world: World) -> None:
    await world.put(target=COMMAND, pause_after_failures=1)
    run = await world.trigger()
    given_back = 0
    while (await world.run(run.id)).run.state != "failed":
        finish = await decline(world, await world.claim(), elsewhere=False, error="no worker may run this")
        given_back += 1
        assert finish.paused == []
        world.clock.go(seconds=15)
    assert given_back == UNABLE // SECOND // 15 + 1
    record = await world.run(run.id)
    assert (record.run.error, record.run.attempt, record.attempts) == ("no worker may run this", 0, ())
    assert (await world.schedule()).state == "active"


async def test_a_run_that_nobody_claimed_for_long_does_not_fail_at_once(world: World) -> None:
    await world.put(target=COMMAND)
    run = await world.trigger()
    await decline(world, await world.claim(), elsewhere=False)
    waits_since = world.clock.at + SECOND
    world.clock.at += 2 * UNABLE
    again = await world.claim()
    assert [one.available_at for one in again.runs] == [waits_since]
    await decline(world, again, elsewhere=False)
    assert (await world.run(run.id)).run.state == "retrying"


async def test_a_worker_that_may_do_it_ends_the_wait_for_one(world: World) -> None:
    await world.put(target=COMMAND)
    run = await world.trigger()
    for elsewhere in (False, True, False):
        await decline(world, await world.claim(), elsewhere=elsewhere)
        world.clock.at += UNABLE
    assert (await world.run(run.id)).run.state == "retrying"


async def test_workers_that_are_there_tell_what_they_may_do_and_silent_ones_are_not_counted(world: World) -> None:
    worker = world.store.worker()
    for name, abilities in (("w1", '{"kinds":["http"]}'), ("w2", "{}")):
        await worker.extend([], LEASE, Presence(name, "host", 1, "1", 8, LEASE, draining=False, abilities=abilities))
    assert await worker.able() == (("w1", '{"kinds":["http"]}', True), ("w2", "{}", True))
    world.clock.go(seconds=LEASE.total_seconds() + 1)
    assert await worker.able() == (("w1", '{"kinds":["http"]}', False), ("w2", "{}", False))
