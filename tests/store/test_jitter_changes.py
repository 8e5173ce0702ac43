"""Occurrences whose delay is not over when their schedule changes: each still runs once, and not before its time."""

from __future__ import annotations

from typing import Any

import pytest

from backend.model.instants import MINUTE, rfc3339
from backend.model.schedule import Schedule
from tests.store.world import START, World

pytestmark = pytest.mark.anyio
HOUR = 60 * MINUTE
HOURLY = [{"kind": "interval", "every": "1h", "anchor": rfc3339(START)}]
FIELDS: dict[str, Any] = {"triggers": HOURLY, "jitter": "30m"}


async def between(world: World, **fields: Any) -> Schedule:
    """A schedule whose nominal time has come and whose delay is not over."""
    schedule = await world.put(**FIELDS, **fields)
    assert schedule.next_nominal_at is not None
    assert schedule.next_scheduled_at is not None
    assert schedule.next_scheduled_at > schedule.next_nominal_at + MINUTE
    world.clock.at = schedule.next_nominal_at + MINUTE
    return schedule


CHANGES: list[dict[str, Any]] = [
    {"name": "another"},
    {"jitter": "0s"},
    {"jitter": "50m"},
    {"triggers": [{"kind": "interval", "every": "2h", "anchor": rfc3339(START)}]},
    {"exclusions": [{"kind": "date", "date": rfc3339(START)[:10]}]},
    {"start_at": rfc3339(START + 5 * HOUR)},
    {"end_at": rfc3339(START + 90 * MINUTE)},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
async def test_a_change_between_the_nominal_and_the_scheduled_time_loses_and_doubles_nothing_and_hurries_nothing(
    world: World, change: dict[str, Any]
) -> None:
    before = await between(world)
    await world.put(**FIELDS | change)
    await world.turn()
    assert (await world.claim()).runs == []
    world.clock.at = before.next_scheduled_at or 0
    await world.turn()
    [run] = (await world.claim()).runs
    assert (run.nominal_at, run.scheduled_at) == (before.next_nominal_at, before.next_scheduled_at)
    world.clock.at = START + 2 * HOUR - 1
    await world.turn()
    assert len(await world.runs()) == 1


async def test_what_waits_for_an_open_run_does_not_begin_before_its_own_delay_is_over(world: World) -> None:
    before = await between(world, overlap_policy="buffer_one")
    manual = await world.trigger()
    await world.put(**FIELDS, overlap_policy="buffer_one", name="another")
    assert await world.states() == ["buffered", "queued"]
    claim = await world.claim()
    assert [run.id for run in claim.runs] == [manual.id]
    await world.finish(claim)
    assert await world.states() == ["queued", "succeeded"]
    assert (await world.claim()).runs == []
    world.clock.at = before.next_scheduled_at or 0
    assert [run.nominal_at for run in (await world.claim()).runs] == [before.next_nominal_at]


async def test_a_pause_lets_an_occurrence_run_whose_nominal_time_has_come_after_its_delay(world: World) -> None:
    before = await between(world)
    await world.pause()
    assert (await world.claim()).runs == []
    world.clock.at = before.next_scheduled_at or 0
    await world.turn()
    assert len((await world.claim()).runs) == 1


async def test_deleting_drops_an_occurrence_whose_delay_is_not_over(world: World) -> None:
    before = await between(world)
    await world.delete()
    assert world.sql("select nominal_at, state, reason from runs") == [(before.next_nominal_at, "skipped", "deleted")]
