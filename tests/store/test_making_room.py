"""What is lost when an occurrence makes room for a newer one before it has begun: nothing but its run."""

from __future__ import annotations

import pytest

from backend.model.instants import MINUTE
from tests.store.world import START, World

pytestmark = pytest.mark.anyio


async def fire(world: World, times: int = 1) -> None:
    for _ in range(times):
        world.clock.go(minutes=1)
        await world.turn()


@pytest.mark.parametrize(
    ("policy", "at_work"), [("cancel_other", True), ("cancel_other", False), ("terminate_other", False)]
)
async def test_what_a_run_that_never_began_was_to_report_as_missed_is_reported_by_the_one_it_made_room_for(
    world: World, policy: str, at_work: bool
) -> None:
    await world.put(overlap_policy=policy)
    await fire(world)
    if at_work:
        await world.claim()
    world.clock.go(minutes=10)
    await world.turn()
    await fire(world)
    newest, before = (await world.runs())[:2]
    assert (newest.missed_count, newest.missed_first_at, newest.missed_last_at) == (
        8,
        START + 2 * MINUTE,
        START + 9 * MINUTE,
    )
    assert (before.state, before.missed_count) == (("skipped", 0) if at_work else ("cancelled", 8))


async def test_an_occurrence_skipped_in_favour_of_a_newer_one_does_not_count_towards_max_runs(world: World) -> None:
    await world.put(overlap_policy="cancel_other", max_runs=2)
    await fire(world)
    claim = await world.claim()
    await fire(world)
    assert (await world.schedule()).next_nominal_at is None
    await world.put(overlap_policy="cancel_other", max_runs=3)
    await fire(world, 3)
    assert await world.states() == ["running", "skipped", "skipped", "skipped", "buffered"]
    assert (await world.schedule()).runs_made == 2
    await world.finish(claim)
    await world.work()
    await fire(world)
    assert (await world.work()).completed == [("default", "job")]
    assert (await world.states()).count("succeeded") == 3


async def test_a_run_that_is_deleted_before_it_began_is_no_record_of_a_range(world: World) -> None:
    await world.put(overlap_policy="buffer_one")
    world.clock.go(minutes=10)
    await world.turn()
    assert [run.missed_count for run in (await world.runs())[:2]] == [0, 8]
    await world.delete()
    dropped = await world.runs(state="skipped")
    assert [(run.reason, run.missed_count, run.missed_first_at) for run in dropped] == [("deleted", 0, None)] * 2
