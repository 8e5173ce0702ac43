"""P27: an edit of the time zone fires an instant twice. Here the key is the schedule and the instant in UTC."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backend.model.instants import MINUTE, parse_instant
from backend.store.open import open_store
from tests.databases import url_in
from tests.store.world import StillClock, World, nominal_times

pytestmark = pytest.mark.anyio
HOUR = 60 * MINUTE
NINE_IN_NEW_YORK = "2027-06-01T13:00:00Z"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock, url = StillClock(), url_in(tmp_path)
    store = await open_store(url, clock=clock)
    try:
        yield World(store, clock, url)
    finally:
        store.close()


async def put(world: World, expression: str, timezone: str) -> None:
    trigger = {"kind": "cron", "expression": expression, "timezone": timezone}
    await world.put(triggers=[trigger], overlap_policy="allow_all")


async def turn_at(world: World, instant: int) -> None:
    world.clock.at = instant
    assert not (await world.turn()).quarantined


async def fired(world: World) -> Counter[int]:
    """Count the ledger's rows by nominal time."""
    return Counter(nominal_times(await world.runs()))


async def test_the_same_instant_in_another_zone_does_not_fire_again(world: World) -> None:
    """09:00 in New York and 15:00 in Berlin are one instant: the edit a second later must not repeat it."""
    nine = parse_instant(NINE_IN_NEW_YORK)
    world.clock.at = nine - HOUR
    await put(world, "0 9 * * *", "America/New_York")
    await turn_at(world, nine)
    world.clock.go(seconds=1)
    await put(world, "0 15 * * *", "Europe/Berlin")
    await turn_at(world, nine + 12 * HOUR)
    assert await fired(world) == {nine: 1}
    await turn_at(world, nine + 24 * HOUR)
    assert await fired(world) == {nine: 1, nine + 24 * HOUR: 1}


async def test_an_edit_at_the_very_instant_fires_it_once(world: World) -> None:
    """The old rule is planned up to now before the new one takes over, so the instant belongs to the old one."""
    nine = parse_instant(NINE_IN_NEW_YORK)
    world.clock.at = nine - HOUR
    await put(world, "0 9 * * *", "America/New_York")
    world.clock.at = nine  # due, but no turn came first
    await put(world, "0 15 * * *", "Europe/Berlin")
    await turn_at(world, nine)
    assert await fired(world) == {nine: 1}


@pytest.mark.parametrize("edited_after", [-MINUTE, -1, 0, 1, MINUTE, HOUR])
async def test_edits_to_and_fro_across_zones_never_double_and_never_reach_back(world: World, edited_after: int) -> None:
    """Each zone has the top of every hour in common with the others: whatever rule plans it, it is one run."""
    start = parse_instant(NINE_IN_NEW_YORK)
    world.clock.at = start - 30 * MINUTE
    zones = ("America/New_York", "Europe/Berlin", "Asia/Tokyo", "Pacific/Apia", "UTC")
    await put(world, "0 * * * *", zones[-1])
    for number, timezone in enumerate(zones):
        hour = start + number * HOUR
        if edited_after >= 0:
            await turn_at(world, hour)
        world.clock.at = hour + edited_after
        await put(world, "0 * * * *", timezone)
        await turn_at(world, max(world.clock.at, hour))
    found = await fired(world)
    assert set(found.values()) == {1}
    assert {start + number * HOUR for number in range(len(zones))} <= set(found)


async def test_moving_the_zone_westwards_lets_todays_local_time_come_again_but_never_the_same_instant(
    world: World,
) -> None:
    """09:00 has been in Berlin; after the edit 09:00 in New York is six hours away, and is a new instant."""
    in_berlin = parse_instant("2027-06-01T07:00:00Z")
    world.clock.at = in_berlin - HOUR
    await put(world, "0 9 * * *", "Europe/Berlin")
    await turn_at(world, in_berlin)
    await put(world, "0 9 * * *", "America/New_York")
    await turn_at(world, in_berlin + 24 * HOUR)
    assert await fired(world) == {in_berlin: 1, parse_instant(NINE_IN_NEW_YORK): 1}


async def test_moving_the_zone_eastwards_does_not_run_what_is_already_over(world: World) -> None:
    """At 08:00 in New York it is past 09:00 in Berlin: the new rule begins with tomorrow's."""
    now = parse_instant("2027-06-01T12:00:00Z")
    world.clock.at = now
    await put(world, "0 9 * * *", "America/New_York")
    await put(world, "0 9 * * *", "Europe/Berlin")
    assert (await world.schedule()).next_nominal_at == parse_instant("2027-06-02T07:00:00Z")
    await turn_at(world, now + 12 * HOUR)
    assert await fired(world) == {}
