"""Writing results back: in batches, each for itself when one cannot be written."""

from __future__ import annotations

import asyncio

import pytest

from backend.events import AttemptFinished, LeaseLost, LoopFailed, SchedulePaused
from backend.model.attempt import AttemptResult
from backend.store.leasing import Lessee
from backend.targets.base import Failed, Succeeded
from backend.worker.attempt import Assignment, result_of
from backend.worker.recorder import Recorder
from tests.unit.engine_cases import errand
from tests.unit.worker_world import LEASE, World, world

pytestmark = [pytest.mark.anyio, pytest.mark.each_database]


async def leased(w: World, jobs: int) -> list[Assignment]:
    """Lease that many runs, of a schedule each."""
    for n in range(jobs):
        await w.put(f"job-{n}")
    await w.due()
    claim = await w.store.worker().claim(Lessee("w1", "token", LEASE), jobs)
    assert len(claim.runs) == jobs
    return [Assignment(run, "token", "w1", *claim.errands[run.schedule_key]) for run in claim.runs]


def succeeded(assignment: Assignment, status: int = 200) -> AttemptResult:
    return result_of(assignment, errand(), Succeeded("done", status_code=status))


async def write(w: World, results: list[AttemptResult]) -> None:
    recorder = Recorder(w.store.worker(), w.events)
    records = [asyncio.create_task(recorder.record(result)) for result in results]
    await asyncio.sleep(0)  # all of them wait before the recorder looks: one batch
    running = asyncio.create_task(recorder.run())
    await asyncio.gather(*records)
    running.cancel()
    await asyncio.wait([running])


async def states(w: World) -> dict[str, str]:
    return {record.run.schedule_id: record.run.state for record in await w.runs()}


async def test_results_are_durable_when_recording_returns(tmp_path):
    async with world(tmp_path) as w:
        await write(w, [succeeded(a) for a in await leased(w, 5)])
        assert set((await states(w)).values()) == {"succeeded"}
        assert w.told(AttemptFinished) == 5


async def test_a_result_that_the_database_refuses_is_recorded_without_its_content_and_takes_no_others_with_it(tmp_path):
    async with world(tmp_path) as w:
        first, odd, last = await leased(w, 3)
        # No database holds such a number.
        await write(w, [succeeded(first), succeeded(odd, 2**70), succeeded(last)])
        found = await states(w)
        assert [found[a.schedule_id] for a in (first, odd, last)] == ["succeeded", "succeeded", "succeeded"]
        assert w.told(AttemptFinished) == 3
        assert w.told(LoopFailed) == 2, "once for the batch, once for the one"


async def test_a_result_under_another_token_is_refused_and_its_neighbours_are_taken(tmp_path):
    async with world(tmp_path) as w:
        ours, stale = await leased(w, 2)
        await write(w, [succeeded(stale._replace(token="older")), succeeded(ours)])
        found = await states(w)
        assert (found[ours.schedule_id], found[stale.schedule_id]) == ("succeeded", "running")
        assert (w.told(AttemptFinished), w.told(LeaseLost)) == (1, 1)


async def test_text_that_no_database_takes_is_made_fit(tmp_path):
    async with world(tmp_path) as w:
        [one] = await leased(w, 1)
        await write(w, [result_of(one, errand(), Failed("bad \ud800 \0", permanent=True, output="\0\udfff"))])
        [record] = await w.runs()
        assert record.run.state == "failed"
        assert record.attempts[0].error == "bad ? �"
        assert record.attempts[0].output == "�?"


async def test_a_schedule_that_pauses_itself_is_told_with_its_note(tmp_path):
    async with world(tmp_path) as w:
        [one] = await leased(w, 1)
        w.execute("update schedules set pause_after_failures = 1")
        await write(w, [result_of(one, errand(), Failed("410 Gone", permanent=True))])
        [paused] = [fact for fact in w.facts if isinstance(fact, SchedulePaused)]
        assert (paused.schedule_id, paused.note) == ("job-0", "paused after 1 failed runs in a row: 410 Gone")
