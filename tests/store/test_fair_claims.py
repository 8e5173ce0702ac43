"""Namespaces take turns: whoever has one run waiting does not wait for another's thousands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest

from backend.model.instants import DAY, SECOND
from backend.model.run import AttemptState
from backend.store.leasing import BACKFILL, NOTICES, Claim, Lessee, Served, claim_runs
from backend.store.operation import Now, Query, Statement
from backend.store.postgres.session import Done, advance
from tests.store.world import LEASE, START, World

pytestmark = pytest.mark.anyio

RUN = """
insert into runs (key, id, schedule_key, namespace, nominal_at, backfill_id, trigger_type, state, scheduled_at,
  queued_at, available_at, retry_until_at, chained, lane, revision)
select {range} + i, 'r-' || i, {key}, '{namespace}', {at} + i, '', 'schedule', '{state}', {at} + i, {at} + i, {at} + i,
  {at} + {day}, 0, {lane}, 1
from ({numbers}) n
"""
NUMBERS = "with recursive c (i) as (select {first} union all select i + 1 from c where i < {last}) select i from c"


def waiting(world: World, namespace: str, runs: int, **more: int | str) -> None:
    """Let so many runs wait in a namespace, each younger than all that were there before."""
    if not world.sql("select 1 from namespaces where id = ?", namespace):
        world.sql(f"insert into namespaces (id, created_at) values ('{namespace}', 0)")
    [(key,)] = world.sql("select min(key) from schedules")
    [(most,)] = world.sql("select count(*) from runs")
    numbers = NUMBERS.format(first=most + 1, last=most + runs)
    given = {"state": "queued", "lane": 0, "at": START - 3600 * SECOND, "day": DAY, "range": START // (28 * DAY) << 40}
    world.sql(RUN.format(**{**given, "key": key, "namespace": namespace, "numbers": numbers, **more}))


async def claim(world: World, limit: int, served: Served = Served()) -> Claim:  # noqa: B008 - a frozen value
    return await world.store.worker().claim(Lessee("w1", "t1", LEASE, served), limit)


def shares(claims: Iterable[Claim]) -> Counter[str]:
    return Counter(run.namespace for claim in claims for run in claim.runs)


async def test_a_claim_takes_from_each_namespace_in_turn_and_the_oldest_first(world: World) -> None:
    await world.put()
    waiting(world, "heavy", 100)
    waiting(world, "default", 2)
    waiting(world, "late", 1)
    first = await claim(world, 6)
    assert shares([first]) == {"heavy": 2, "default": 2, "late": 1}
    assert sorted(run.id for run in first.runs if run.namespace == "heavy") == ["r-1", "r-2"]
    assert first.next_at is not None
    assert first.next_at <= first.now, "who has room asks again at once"
    assert shares([await claim(world, 6)]) == {"heavy": 6}


async def test_a_worker_with_a_single_place_serves_namespaces_one_after_another(world: World) -> None:
    await world.put()
    for namespace, runs in (("a", 50), ("b", 1), ("c", 50)):
        waiting(world, namespace, runs)
    served, order = Served(), []
    for _ in range(6):
        one = await claim(world, 1, served)
        order += [run.namespace for run in one.runs]
        served = one.served
    assert order == ["a", "b", "c", "a", "c", "a"]


async def test_the_next_claim_goes_on_after_the_namespace_that_got_the_last_run(world: World) -> None:
    await world.put()
    for namespace in ("a", "b", "c"):
        waiting(world, namespace, 20)
    first = await claim(world, 4)
    assert (shares([first]), first.served.live) == ({"a": 2, "b": 1, "c": 1}, "a")
    second = await claim(world, 2, first.served)
    assert (shares([second]), second.served.live) == ({"b": 1, "c": 1}, "c")


async def test_more_namespaces_than_places_have_their_turn_all_the_same(world: World) -> None:
    await world.put()
    names = [f"n{number:02}" for number in range(7)]
    for name in names:
        waiting(world, name, 3)
    served, claims = Served(), []
    for _ in range(7):
        claims.append(await claim(world, 2, served))
        served = claims[-1].served
    assert shares(claims) == dict.fromkeys(names, 2)


async def test_a_retry_that_is_due_has_its_turn_among_new_runs_and_one_that_is_not_takes_no_share(
    world: World,
) -> None:
    await world.put()
    waiting(world, "heavy", 50)
    waiting(world, "other", 1, state="retrying")
    waiting(world, "later", 1, state="retrying", at=START + 60 * SECOND)
    found = await claim(world, 10)
    assert shares([found]) == {"heavy": 5, "other": 1}
    assert shares([await claim(world, 10)]) == {"heavy": 10}


async def test_a_retry_has_its_turn_however_many_older_ones_another_namespace_has(world: World) -> None:
    await world.put()
    waiting(world, "heavy", 500, state="retrying")
    waiting(world, "a", 1, state="retrying")
    waiting(world, "z", 1, state="retrying")
    waiting(world, "later", 1, state="retrying", at=START + 60 * SECOND)
    assert shares([await claim(world, 9, Served("m"))]) == {"heavy": 3, "a": 1, "z": 1}


@pytest.mark.parametrize("state", ["queued", "retrying"])
async def test_a_namespace_that_may_have_no_more_at_work_stands_in_nobody_s_way(world: World, state: str) -> None:
    await world.put()
    waiting(world, "full", 300, state=state)
    await world.store.namespaces().change("full", lambda row: row._replace(limits='{"concurrent_runs": 1}'))
    world.sql("insert into namespace_use (namespace) values ('full')")
    waiting(world, "default", 1, state=state)
    found = [await claim(world, 1) for _ in range(3)]
    assert shares(found) == {"full": 1, "default": 1}
    assert found[-1].next_at is not None
    assert found[-1].next_at > found[-1].now, "nobody asks in a circle"


async def test_backfills_take_turns_among_themselves_and_after_what_is_live(world: World) -> None:
    await world.put()
    waiting(world, "a", 30, lane=BACKFILL)
    waiting(world, "b", 1, lane=BACKFILL)
    waiting(world, "c", 1)
    first = await claim(world, 1, Served("a", "a"))
    assert (shares([first]), first.served) == ({"c": 1}, Served("c", "a"))
    assert shares([await claim(world, 1, first.served)]) == {"b": 1}


async def test_notifications_take_all_places_that_nothing_else_wants(world: World) -> None:
    await world.put()
    waiting(world, "a", 40, lane=NOTICES)
    assert len((await claim(world, 40)).runs) == 40
    waiting(world, "a", 40, lane=NOTICES)
    waiting(world, "b", 25)
    assert shares([await claim(world, 40)]) == {"a": 15, "b": 25}
    assert shares([await claim(world, 40)]) == {"a": 25}


@pytest.mark.parametrize(("left", "wait"), [(None, None), (0, SECOND), (100_000, 100_000)])
def test_who_finds_that_another_was_faster_sleeps_until_the_next_may_be_claimed(
    left: int | None, wait: int | None
) -> None:
    looks = iter([START, None if left is None else START + left])
    operation = claim_runs(Lessee("w1", "t1", LEASE, kinds=["command"]), 4)
    step: Statement | Done[Claim] = next(operation)
    while not isinstance(step, Done):
        # What the first look finds is gone when the claim comes to it.
        looks_ahead = isinstance(step, Query) and step.name == "next_available"
        rows = [(next(looks),)] if looks_ahead else [(START,)] if isinstance(step, Now) else []
        step = advance(operation, rows)
    assert (step.result.runs, step.result.next_at) == ([], None if wait is None else START + wait)


async def test_results_and_errands_go_back_to_where_they_came_from(world: World) -> None:
    await world.put()
    waiting(world, "a", 1)
    waiting(world, "b", 1)
    finish = await world.finish(await claim(world, 10), AttemptState.SUCCEEDED)
    assert {f.result.run.namespace for f in finish.finished if f.accepted} == {"a", "b"}
