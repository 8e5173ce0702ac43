"""A calendar that changes while schedules run: the old days count up to now, the new ones from now on."""

from __future__ import annotations

from typing import Any

import pytest

from backend.engine.definition import ScheduleDefinition
from backend.engine.timing import load_timing
from backend.errors import Conflict, Refused
from backend.model.change import Change, Moment
from backend.model.ids import DEFAULT_NAMESPACE
from backend.model.instants import DAY, MINUTE, rfc3339
from backend.model.schedule import Schedule
from backend.service.drafts import Draft, retime, revise
from backend.store.calendars import Replaced, Replacement
from backend.store.schedules import Wish
from tests.store.world import START, World, nominal_times

pytestmark = pytest.mark.anyio
HOURLY = [{"kind": "interval", "every": "1h", "anchor": rfc3339(START)}]
HOUR = 60 * MINUTE
TODAY, TOMORROW = rfc3339(START)[:10], rfc3339(START + DAY)[:10]


async def put_days(world: World, *days: str, id_: str = "uk") -> Replaced:
    def revise_user(_: str, current: Schedule | None, open_run: bool, moment: Moment) -> Change:
        assert current is not None
        return retime(current, f"calendar:{id_}", moment, open_run=open_run)

    text = "[" + ",".join(f'"{day}"' for day in days) + "]"
    store = world.store.namespace(DEFAULT_NAMESPACE).calendars()
    return await store.put(Replacement(id_, text, "tester", revise_user))


async def put_user(world: World, id_: str = "job", **fields: Any) -> Schedule:
    document = {
        "id": id_,
        "triggers": HOURLY,
        "target": {"kind": "command", "argv": ["true"]},
        "exclusions": [{"kind": "calendar", "calendar": "uk"}],
    }
    draft = Draft(ScheduleDefinition.model_validate(document | fields), "tester")

    def put(_: str, current: Schedule | None, open_run: bool, moment: Moment) -> Change:
        return revise(draft, current, moment, open_run=open_run)

    return (await world.change(Wish([id_], put, calendars=["uk"])))[0].schedule


async def test_what_the_old_days_left_due_is_planned_before_the_new_ones_count(world: World) -> None:
    await put_days(world)
    await put_user(world, misfire_policy="fire_all", overlap_policy="allow_all")
    world.clock.go(hours=2, minutes=30)
    # The engine has not turned yet, and today becomes a holiday.
    replaced = await put_days(world, TODAY)
    assert [change.verb for change in replaced.changes] == ["updated"]
    assert sorted(nominal_times(await world.runs())) == [START + HOUR, START + 2 * HOUR]
    next_at = (await world.schedule()).next_nominal_at
    assert next_at is not None
    assert rfc3339(next_at)[:10] == TOMORROW


async def test_a_day_that_is_given_back_brings_nothing_of_its_past(world: World) -> None:
    await put_days(world, TODAY)
    await put_user(world)
    world.clock.go(hours=2, minutes=30)
    await put_days(world)
    schedule = await world.schedule()
    assert (schedule.cursor_at, schedule.next_nominal_at) == (world.clock.at, START + 3 * HOUR)
    assert (await world.turn()).runs == 0
    world.clock.go(minutes=30)
    assert (await world.turn()).runs == 1
    assert nominal_times(await world.runs()) == [START + 3 * HOUR]


async def test_nothing_at_or_before_the_cursor_fires_again(world: World) -> None:
    await put_days(world)
    await put_user(world, overlap_policy="allow_all")
    for _ in range(4):
        world.clock.go(hours=1)
        await world.turn()
        await put_days(world, TOMORROW)
        await put_days(world)
        await world.turn()
    assert sorted(nominal_times(await world.runs())) == [START + n * HOUR for n in range(1, 5)]


async def test_each_change_is_a_revision_with_the_days_that_counted(world: World) -> None:
    await put_days(world)
    first = await put_user(world)
    world.clock.go(minutes=10)
    await put_days(world, TOMORROW)
    second = await world.schedule()
    assert (first.revision, second.revision) == (1, 2)
    assert second.definition == first.definition
    assert TOMORROW in second.triggers
    rows = world.sql("select revision, verb, triggers, effective_at, changed_by from schedule_revisions order by key")
    assert rows == [
        (1, "created", first.triggers, START, "tester"),
        (2, "updated", second.triggers, START + 10 * MINUTE, "calendar:uk"),
    ]


async def test_the_same_days_in_the_same_order_change_nothing(world: World) -> None:
    await put_days(world, TODAY, TOMORROW)
    await put_user(world)
    before = await world.schedule()
    world.clock.go(minutes=10)
    replaced = await put_days(world, TODAY, TOMORROW)
    assert (replaced.created, replaced.changes, replaced.calendar.updated_at) == (False, (), START)
    assert await world.schedule() == before


async def test_a_change_that_one_schedule_cannot_bear_changes_nothing_at_all(world: World) -> None:
    await put_days(world, TODAY)
    await put_user(world, "good")
    await put_user(world, "job")
    before = [await world.schedule(id_) for id_ in ("good", "job")]
    refusing = Replacement("uk", f'["{TOMORROW}"]', "tester", _refuse_job)
    with pytest.raises(Refused):
        await world.store.namespace(DEFAULT_NAMESPACE).calendars().put(refusing)
    assert [await world.schedule(id_) for id_ in ("good", "job")] == before
    assert (await world.store.namespace(DEFAULT_NAMESPACE).calendars().get("uk")).days == f'["{TODAY}"]'


def _refuse_job(id_: str, current: Schedule | None, open_run: bool, moment: Moment) -> Change:
    assert current is not None
    if id_ == "job":
        raise Refused([])
    return retime(current, "tester", moment, open_run=open_run)


async def test_a_schedule_whose_definition_cannot_be_read_does_not_stop_a_change(world: World) -> None:
    await put_days(world)
    await put_user(world, "good")
    await put_user(world, "odd")
    world.sql(
        "update schedules set definition = replace(definition, '\"version\":1', '\"version\":9') where id = 'odd'"
    )
    replaced = await put_days(world, TOMORROW)
    assert [(change.schedule.id, change.verb) for change in replaced.changes] == [
        ("good", "updated"),
        ("odd", "unchanged"),
    ]


async def test_deleted_schedules_use_no_calendar(world: World) -> None:
    await put_days(world)
    await put_user(world)
    store = world.store.namespace(DEFAULT_NAMESPACE).calendars()
    with pytest.raises(Conflict):
        await store.delete("uk")
    await world.delete()
    assert (await put_days(world, TODAY)).changes == []
    await store.delete("uk")
    assert await store.page(after="", limit=10) == []


async def test_users_of_one_calendar_share_its_days_however_many_they_are(world: World) -> None:
    await put_days(world, TODAY, TOMORROW)
    one = await put_user(world, "one")
    other = await put_user(world, "other", triggers=[{"kind": "interval", "every": "2h", "anchor": rfc3339(START)}])
    shared = [load_timing(schedule.triggers).exclusions for schedule in (one, other)]
    assert one.triggers != other.triggers
    assert shared[0] is shared[1]
