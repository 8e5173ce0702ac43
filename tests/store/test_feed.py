"""The feed of events: everything that happens, in order, from what is recorded, wherever one goes on."""

from __future__ import annotations

import pytest

from backend.model.ids import DEFAULT_NAMESPACE
from backend.model.run import AttemptState
from backend.service import feed
from backend.service.feed import Feed, Taste, feed_from
from tests.store.world import World

pytestmark = pytest.mark.anyio
EVERYTHING = Taste()


def follow(world: World, last: int | None = None, taste: Taste = EVERYTHING) -> Feed:
    return feed_from(world.store.namespace(DEFAULT_NAMESPACE).feed(), taste, last, world.clock.at)


async def kinds(one: Feed) -> list[str]:
    return [news.kind for news in await one.news()]


async def test_what_happens_is_told_in_order_and_each_thing_once(world: World) -> None:
    reader = follow(world)
    world.clock.go(seconds=1)
    await world.put()
    world.clock.go(seconds=1)
    await world.trigger()
    assert await kinds(reader) == ["schedule.created", "run.queued"]
    world.clock.go(seconds=1)
    claim = await world.claim()
    assert await kinds(reader) == ["run.started"]
    world.clock.go(seconds=1)
    await world.finish(claim)
    assert await kinds(reader) == ["run.finished"]
    assert await kinds(reader) == []


async def test_what_began_and_ended_between_two_looks_is_told_in_full(world: World) -> None:
    await world.put()
    world.clock.go(seconds=10)
    reader = follow(world, taste=Taste(kind="run"))
    await _a_run(world)
    news = await reader.news()
    assert [one.kind for one in news] == ["run.queued", "run.started", "run.finished"]
    assert news[-1].document["state"] == "failed"
    assert [one.at for one in news] == sorted(one.at for one in news)


async def _a_run(world: World, id_: str = "job") -> None:
    for act in (lambda: world.trigger(id_), lambda: world.work(AttemptState.FAILED, permanent=True)):
        world.clock.go(seconds=1)
        await act()


async def test_who_comes_back_hears_what_was_missed_and_nothing_from_long_before(world: World) -> None:
    await world.put()
    world.clock.go(minutes=1)
    first = follow(world)
    await _a_run(world)
    last = (await first.news())[-1].at
    world.clock.go(minutes=1)
    await _a_run(world)
    world.clock.go(hours=1)
    again = follow(world, last)
    told = [one for one in await again.news() if one.at > last]
    assert [one.kind for one in told] == ["run.queued", "run.started", "run.finished"]


async def test_a_filter_leaves_only_one_schedule_or_one_kind(world: World) -> None:
    await world.put("a")
    await world.put("b")
    world.clock.go(minutes=1)
    one, ends = follow(world, taste=Taste(schedule="b")), follow(world, taste=Taste(kind="run.finished"))
    await _a_run(world, "a")
    await _a_run(world, "b")
    assert {news.schedule_id for news in await one.news()} == {"b"}
    assert [news.schedule_id for news in await ends.news()] == ["a", "b"]


async def test_what_is_committed_late_is_told_although_later_things_are_known(world: World) -> None:
    reader = follow(world)
    world.clock.go(seconds=3)
    await world.put("a")
    assert await kinds(reader) == ["schedule.created"]
    world.clock.go(seconds=-1)
    await world.put("b")
    world.clock.go(seconds=2)
    assert await kinds(reader) == ["schedule.created"]


async def test_more_than_a_page_at_one_instant_is_told_in_full(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "AT_ONCE", 4)
    monkeypatch.setattr(Feed, "_limit", 4)
    reader = follow(world, world.clock.at)
    reader._limit = 4
    for second in range(2):
        world.clock.go(seconds=10)
        for number in range(9):
            await world.put(f"job-{second}-{number}")
    world.clock.go(seconds=10)
    told: list[str] = []
    for _ in range(20):
        told += [str(one.schedule_id) for one in await reader.news()]
    assert sorted(told) == sorted(f"job-{second}-{number}" for second in range(2) for number in range(9))
