"""What a namespace may use at most, on both databases."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from backend.errors import OverLimit, Refused
from backend.model.instants import MINUTE, SECOND, rfc3339
from backend.model.run import AttemptState
from tests.store.world import START, World

pytestmark = pytest.mark.anyio

SECONDLY = [{"kind": "interval", "every": "1s"}]
HOURLY = [{"kind": "cron", "expression": "0 * * * *"}]


async def limit(world: World, limits: str) -> None:
    await world.store.namespaces().change("default", lambda row: row._replace(limits=limits))


def at(seconds: int) -> str:
    """Write an instant so many seconds after the worlds begin."""
    return rfc3339(START + seconds * SECOND)


async def outcomes(*attempts: Any) -> Counter[str]:
    answers = await asyncio.gather(*attempts, return_exceptions=True)
    return Counter(type(answer).__name__ for answer in answers)


async def test_of_many_who_create_the_last_schedule_exactly_one_does(world: World) -> None:
    await world.put("first")
    await limit(world, '{"schedules": 2}')
    found = await outcomes(*(world.put(f"job-{number}") for number in range(50)))
    assert found == {"Schedule": 1, "OverLimit": 49}
    with pytest.raises(OverLimit) as over:
        await world.put("more")
    assert over.value.members == {"limit": {"name": "schedules", "limit": 2, "used": 2}}
    await world.put("first", triggers=HOURLY)
    await world.delete("first")
    await world.put("more")


async def test_an_owner_has_a_number_of_schedules_however_they_come_to_be_his(world: World) -> None:
    await limit(world, '{"schedules_per_owner": 2}')
    await world.put("a", owner="ann")
    await world.put("b", owner="ann")
    await world.put("c", owner="bob")
    for id_ in ("c", "d"):
        with pytest.raises(OverLimit, match=r"schedules_per_owner.* no room for 1 more of the owner 'ann'"):
            await world.put(id_, owner="ann")
    await world.put("a", owner="ann", triggers=HOURLY)
    await world.put("e")


async def test_of_many_who_start_the_last_run_of_a_minute_exactly_one_does(world: World) -> None:
    await world.put()
    await limit(world, '{"starts_per_minute": 3}')
    world.clock.go(seconds=10)
    found = await outcomes(*(world.trigger() for _ in range(20)))
    assert found == {"RunRow": 3, "OverLimit": 17}
    with pytest.raises(OverLimit) as over:
        await world.trigger()
    assert (over.value.name, over.value.retry_after) == ("starts_per_minute", 60 - world.clock.at // SECOND % 60)
    world.clock.go(seconds=over.value.retry_after)
    await world.trigger()


async def test_occurrences_beyond_the_starts_of_a_minute_are_recorded_as_skipped(world: World) -> None:
    await world.put("a", triggers=SECONDLY, overlap_policy="allow_all", misfire_policy="fire_all")
    await world.put("b", triggers=SECONDLY, overlap_policy="allow_all", misfire_policy="fire_all")
    await limit(world, '{"starts_per_minute": 5}')
    assert world.clock.at % MINUTE == 0
    world.clock.go(seconds=4)
    await world.turn()
    found = Counter((run.state, run.reason) for run in await world.runs())
    assert found == {("queued", None): 5, ("skipped", "quota"): 3}
    with pytest.raises(OverLimit):
        await world.trigger("a")
    world.clock.go(seconds=56)
    await world.turn(1)
    await world.turn(1)
    assert (await world.states()).count("queued") == 10, "the next minute has starts of its own"


async def test_runs_beyond_those_that_may_be_at_work_wait_and_are_not_lost(world: World) -> None:
    await world.put()
    await limit(world, '{"concurrent_runs": 2}')
    for _ in range(5):
        world.clock.go(seconds=1)
        await world.trigger()
    claims = await asyncio.gather(*(world.claim(token=f"t{number}", worker=f"w{number}") for number in range(8)))
    claimed = [(claim, run) for claim in claims for run in claim.runs]
    assert len(claimed) == 2, "whoever claims, and however many at once"
    idle = await world.claim(token="later")
    assert not idle.runs
    assert idle.next_at is not None
    assert idle.next_at >= idle.now + SECOND, "nobody asks in a circle"
    ended = 0
    while ended < 5:
        for claim, run in claimed:
            token = next(f"t{n}" for n, one in enumerate(claims) if one is claim)
            await world.finish(claim._replace(runs=[run]), token=token)
            ended += 1
        claims = [await world.claim(token="t0")]
        claimed = [(claims[0], run) for run in claims[0].runs]
        assert len(claimed) <= 2
    assert set(await world.states()) == {"succeeded"}


async def test_retries_wait_for_their_place_as_well(world: World) -> None:
    await world.put(retry={"max_attempts": 3, "initial": "0s", "maximum": "0s"})
    await limit(world, '{"concurrent_runs": 1}')
    await world.trigger()
    world.clock.go(seconds=1)
    await world.trigger()
    first = await world.claim()
    await world.finish(first, AttemptState.FAILED)
    assert len((await world.claim()).runs) == 1
    assert not (await world.claim()).runs


async def test_a_schedule_that_fires_too_often_is_refused_and_the_trigger_named(world: World) -> None:
    await world.put("old", triggers=SECONDLY)
    await limit(world, '{"minimum_interval": "PT5M"}')
    halves = [{"kind": "cron", "expression": "0 * * * *"}, {"kind": "cron", "expression": "2 * * * *"}]
    refused = {
        "triggers[0]": [{"kind": "interval", "every": "4m"}],
        "triggers[1]": [*HOURLY, {"kind": "cron", "expression": "0,1 9 * * *"}],
        "triggers": halves,
    }
    for field, triggers in refused.items():
        with pytest.raises(Refused, match="minimum_interval") as why:
            await world.put("new", triggers=triggers)
        assert [problem.field for problem in why.value.problems] == [field]
    await world.put("new", triggers=[{"kind": "interval", "every": "5m"}])
    # What begins only now meets what has been firing all day, and two intervals meet some day.
    together = [
        [{"kind": "cron", "expression": "*/5 * * * *"}, {"kind": "interval", "every": "10m", "anchor": at(200)}],
        [{"kind": "interval", "every": "10m", "anchor": at(200)}, {"kind": "cron", "expression": "0 0 * * *"}],
        [
            {"kind": "interval", "every": "1d", "anchor": at(0)},
            {"kind": "interval", "every": "86401s", "anchor": at(9)},
        ],
        [
            {"kind": "cron", "expression": "*/10 * * * *"},
            *({"kind": "interval", "every": "10m", "anchor": at(60 * n)} for n in range(20)),
        ][:20],
    ]
    for triggers in together:
        with pytest.raises(Refused, match="together they fire"):
            await world.put("new", triggers=triggers)
    for n, apart in enumerate((300, 600)):
        both = [
            {"kind": "interval", "every": "10m", "anchor": at(0)},
            {"kind": "interval", "every": "20m", "anchor": at(apart)},
        ]
        await world.put(f"apart-{n}", triggers=both)
    await world.put("old", triggers=SECONDLY, timeout="1m")
