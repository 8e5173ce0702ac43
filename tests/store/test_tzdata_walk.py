"""Another release of the time zone database: all schedules are planned anew, in batches, and once."""

from __future__ import annotations

import pytest

from backend.engine import tzdata
from backend.engine.tzdata import Tzdata
from backend.events import Events, Fact, ScheduleRetimed, TzdataChanged
from backend.model.instants import DAY, MINUTE
from tests.store.world import World

pytestmark = pytest.mark.anyio
HOUR = 60 * MINUTE
DAILY = [{"kind": "cron", "expression": "0 9 * * *", "timezone": "Africa/Cairo"}]
PLANT = "update schedules set next_nominal_at = next_nominal_at + ?, next_scheduled_at = next_scheduled_at + ?"


class Facts(list[Fact]):
    def of(self, kind: type[Fact]) -> list[Fact]:
        return [fact for fact in self if type(fact) is kind]


def walker(world: World, release: str = "2026z") -> tuple[Tzdata, Facts]:
    events, facts = Events(), Facts()
    events.subscribe(facts.append)
    return Tzdata(world.store.engine().timezones(), events, release), facts


async def settle(walk: Tzdata) -> int:
    """Take turns until the walk rests; answers how many it took."""
    turns = 1
    while await walk.turn() < tzdata.REST:
        turns += 1
    return turns


def info(world: World, key: str) -> str | None:
    rows = world.sql("select value from store_info where key = ?", key)
    return rows[0][0] if rows else None


def nexts(world: World) -> list[tuple[str, int]]:
    return world.sql("select id, next_nominal_at from schedules order by key")


async def plant(world: World, number: int = 5, wrong_by: int = HOUR) -> list[tuple[str, int]]:
    """Make schedules, let an old release have planned them wrongly; answers the right next times."""
    for n in range(number):
        await world.put(f"job-{n}", triggers=DAILY)
    right = nexts(world)
    world.sql(PLANT, wrong_by, wrong_by)
    world.sql("insert or replace into store_info values ('tzdata_version', '2025a')")
    return right


async def test_the_first_start_remembers_the_release_and_changes_nothing(world: World) -> None:
    await world.put(triggers=DAILY)
    walk, facts = walker(world)
    assert await settle(walk) == 1
    assert info(world, "tzdata_version") == "2026z"
    assert facts == []


async def test_the_same_release_reads_no_schedule(world: World) -> None:
    right = await plant(world)
    walk, facts = walker(world, "2025a")
    await walk.before_the_first_turn()
    assert await settle(walk) == 1
    assert nexts(world) != right
    assert facts == []


async def test_wrong_next_times_become_right_and_each_difference_is_told(world: World) -> None:
    right = await plant(world)
    walk, facts = walker(world)
    await settle(walk)
    assert nexts(world) == right
    assert facts.of(ScheduleRetimed) == [ScheduleRetimed("default", id_, at + HOUR, at, "2026z") for id_, at in right]
    assert facts.of(TzdataChanged) == [TzdataChanged("2025a", "2026z", 5)]
    assert info(world, "tzdata_version") == "2026z"
    again, silence = walker(world)
    assert await settle(again) == 1
    assert silence == []


async def test_only_what_is_wrong_is_told(world: World) -> None:
    right = await plant(world, wrong_by=0)
    world.sql(f"{PLANT} where id = 'job-3'", HOUR, HOUR)
    walk, facts = walker(world)
    await settle(walk)
    assert nexts(world) == right
    assert [fact.schedule_id for fact in facts.of(ScheduleRetimed) if isinstance(fact, ScheduleRetimed)] == ["job-3"]


async def test_a_walk_that_dies_between_two_batches_goes_on_where_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tzdata, "BATCH", 2)
    right = await plant(world)
    first, _ = walker(world)
    await first.turn()
    assert info(world, "tzdata_version") == "2025a"
    assert [id_ for id_, at in nexts(world) if (id_, at) in right] == ["job-0", "job-1"]
    # The process is gone; what it has done is not done again, which wrong times planted anew would show.
    world.sql(f"{PLANT} where id = 'job-0'", HOUR, HOUR)
    second, facts = walker(world)
    assert await settle(second) == 2
    assert [id_ for id_, at in nexts(world) if (id_, at) not in right] == ["job-0"]
    assert len(facts.of(ScheduleRetimed)) == 3
    assert info(world, "tzdata_version") == "2026z"


async def test_a_third_release_begins_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tzdata, "BATCH", 2)
    right = await plant(world)
    interrupted, _ = walker(world, "2025b")
    await interrupted.turn()
    world.sql(f"{PLANT} where id = 'job-0'", HOUR, HOUR)
    walk, _ = walker(world, "2026z")
    await settle(walk)
    assert nexts(world) == right


async def test_what_is_due_soon_is_right_before_the_engine_turns(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tzdata, "BATCH", 2)
    right = await plant(world, wrong_by=-HOUR)
    # The wrong next times are five minutes away; the engine would plan them as soon as it could.
    world.clock.at = right[0][1] - HOUR - 5 * MINUTE
    walk, facts = walker(world)
    await walk.before_the_first_turn()
    assert nexts(world) == right
    assert len(facts.of(ScheduleRetimed)) == 5
    world.clock.at = right[0][1] - HOUR
    assert (await world.turn()).runs == 0
    world.clock.at = right[0][1]
    assert (await world.turn()).runs == 5


async def test_nothing_that_has_fired_fires_again(world: World) -> None:
    # It fired at the time of the old release, an hour before the right one.
    (_, at), *_ = await plant(world, 1, wrong_by=-HOUR)
    world.clock.at = at - HOUR
    assert (await world.turn()).runs == 1
    await world.work()
    world.sql("update schedules set next_nominal_at = ?, next_scheduled_at = ?", at + DAY - HOUR, at + DAY - HOUR)
    walk, _ = walker(world)
    await settle(walk)
    assert nexts(world) == [("job-0", at + DAY)]
    world.clock.at = at
    assert (await world.turn()).runs == 0
    world.clock.at = at + DAY
    assert (await world.turn()).runs == 1
    kept = world.sql("select verb, cursor_at, changed_by from schedule_revisions order by key")
    assert kept[-1] == ("updated", at, "tzdata:2026z")


async def test_schedules_without_a_zone_or_a_next_time_are_not_asked(world: World) -> None:
    await world.put("interval")
    await world.put("gone", triggers=DAILY)
    await world.delete("gone")
    world.sql("update schedules set next_nominal_at = next_nominal_at + 1, next_scheduled_at = 0 where id = 'interval'")
    world.sql("insert or replace into store_info values ('tzdata_version', '2025a')")
    walk, facts = walker(world)
    await walk.before_the_first_turn()
    await settle(walk)
    assert facts.of(ScheduleRetimed) == []
