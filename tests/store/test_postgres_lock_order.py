"""Two at one run on PostgreSQL, in either order: who comes second waits or passes over, and nothing is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from backend.engine.retry import settle
from backend.errors import Conflict, NotFound
from backend.model.ids import DEFAULT_NAMESPACE
from backend.model.run import AttemptState
from backend.store.leasing import Lessee, claim_runs, finish_attempts
from backend.store.operation import Operation, think
from backend.store.postgres.runner import PostgresRunner, open_runner
from backend.store.postgres.url import read_url
from backend.store.retention import Retention, prune
from backend.store.runs import cancel_run
from tests.acceptance.server import until
from tests.databases import POSTGRES, database
from tests.store.world import LEASE as LONG
from tests.store.world import World, result_of

pytestmark = pytest.mark.anyio
T = TypeVar("T")
U = TypeVar("U")
NOTHING_KEPT = Retention(timedelta(seconds=1), timedelta(seconds=1), timedelta(days=1), 5)
YEARLY = [{"kind": "interval", "every": "365d"}]
WAITING = """
select 1 from pg_locks l join pg_stat_activity a using (pid) where a.datname = current_database() and not l.granted
"""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with database(POSTGRES, tmp_path) as url:
        yield url


@pytest.fixture
async def slow(url: str, world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresRunner]:
    """Another server, on which a transaction may stand open for as long as a test likes."""
    monkeypatch.setattr("backend.store.postgres.session.IDLE_TIMEOUT", 60.0)
    runner = await open_runner(read_url(url), clock=world.clock)
    yield runner
    runner.close()


async def first_then(
    slow: PostgresRunner, first: Operation[T], second: Awaitable[U], world: World, *, waits: bool = True
) -> tuple[T, U]:
    """Do the first, and begin the second before that is committed: it has to wait for it, or has an answer at once."""
    done, commit = threading.Event(), threading.Event()

    def standing() -> Operation[T]:
        result = yield from first
        yield from think()
        done.set()
        assert commit.wait(60)
        return result

    one = asyncio.create_task(slow.write(standing()))
    assert await asyncio.to_thread(done.wait, 60)
    other = asyncio.ensure_future(second)
    if waits:
        await asyncio.to_thread(until, "somebody who waits for a lock", lambda: world.sql(WAITING))
    else:
        await asyncio.wait_for(asyncio.shield(other), 60)
    assert other.done() is not waits
    commit.set()
    return await one, await other


async def test_a_claim_passes_over_a_run_that_is_being_cancelled(world: World, slow: PostgresRunner) -> None:
    await world.put(triggers=YEARLY)
    run = await world.trigger()
    cancelling = cancel_run(DEFAULT_NAMESPACE, run.id, "tester")
    _, claim = await first_then(slow, cancelling, world.claim(), world, waits=False)
    assert claim.runs == []
    assert (await world.claim()).runs == []
    assert await world.states() == ["cancelled"]


async def test_a_cancel_waits_for_a_claim_and_then_takes_its_lease(world: World, slow: PostgresRunner) -> None:
    await world.put(triggers=YEARLY)
    run = await world.trigger()
    claiming = claim_runs(Lessee("w1", "t1", LONG), 5)
    claim, record = await first_then(slow, claiming, world.cancel(run.id), world)
    assert [one.id for one in claim.runs] == [run.id]
    assert (record.run.state, [one.state for one in record.attempts]) == ("cancelled", ["cancelled"])
    assert (await world.store.worker().extend([(claim.runs[0].key, "t1")], LONG)).held == set()
    assert [one.accepted for one in (await world.finish(claim)).finished] == [False]
    assert await world.states() == ["cancelled"]


async def test_a_cancel_that_comes_while_a_result_is_written_is_too_late(world: World, slow: PostgresRunner) -> None:
    await world.put(triggers=YEARLY)
    run = await world.trigger()
    claim = await world.claim()
    finishing = finish_attempts([result_of(claim, claim.runs[0], AttemptState.SUCCEEDED)], settle)
    with pytest.raises(Conflict, match="is succeeded already"):
        await first_then(slow, finishing, world.cancel(run.id), world)
    assert await world.states() == ["succeeded"]


async def test_a_result_that_comes_while_its_run_is_cancelled_is_refused(world: World, slow: PostgresRunner) -> None:
    await world.put(triggers=YEARLY)
    run = await world.trigger()
    claim = await world.claim()
    cancelling = cancel_run(DEFAULT_NAMESPACE, run.id, "tester")
    _, finish = await first_then(slow, cancelling, world.finish(claim), world)
    assert [one.accepted for one in finish.finished] == [False]
    record = await world.run(run.id)
    assert (record.run.state, [one.state for one in record.attempts]) == ("cancelled", ["cancelled"])


async def test_what_is_being_pruned_is_gone_for_who_cancels_it_and_kept_while_somebody_is_at_it(
    world: World, slow: PostgresRunner
) -> None:
    await world.put(triggers=YEARLY)
    one, other = await world.trigger(), await world.trigger()
    await world.cancel(one.id)
    world.clock.go(minutes=1)
    with pytest.raises(NotFound):
        await first_then(slow, prune(NOTHING_KEPT, 0, 50), world.cancel(one.id), world)
    beside = world.store.engine().prune(NOTHING_KEPT, 0, 50)
    cancelling = cancel_run(DEFAULT_NAMESPACE, other.id, "tester")
    _, pruned = await first_then(slow, cancelling, beside, world, waits=False)
    assert pruned.runs == 0
    assert [run.id for run in await world.runs()] == [other.id]
    assert await world.states() == ["cancelled"]
