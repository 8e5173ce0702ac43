"""Noted answers: one transaction does and notes, they are kept for a day, and are pruned in batches."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backend.errors import Refused
from backend.store.operation import Operation, Query
from backend.store.repeats import KEPT, Noted, Repeated, Ticket, once, shown
from backend.store.retention import Retention
from tests.store.world import World

pytestmark = pytest.mark.anyio
KEEP = Retention(timedelta(days=30), timedelta(days=90), timedelta(days=30), 1000)
ANSWER = Noted(201, "{}", "made")


def make(name: str) -> Operation[str]:
    yield Query("put_info", {"key": name, "value": "made"})
    return name


async def ask(world: World, name: str, fingerprint: str = "same") -> str:
    """Make something, once; in a real request, the look comes first and answers the time."""
    ticket = Ticket(name, fingerprint, world.clock.now())
    return await world.store.runner.write(once(ticket, make(name), shown(lambda _: ANSWER)))


async def test_what_was_done_is_not_done_again_and_what_failed_is(world: World) -> None:
    def fail(_: str) -> Noted:
        raise ValueError("before the commit")

    with pytest.raises(ValueError, match="before the commit"):
        await world.store.runner.write(once(Ticket("a", "same", world.clock.now()), make("a"), shown(fail)))
    assert await ask(world, "a") == "a"
    with pytest.raises(Repeated) as repeated:
        await ask(world, "a")
    assert repeated.value.noted == ANSWER
    with pytest.raises(Refused):
        await ask(world, "a", "another")


async def test_an_answer_is_kept_for_a_day_also_where_nobody_prunes(world: World) -> None:
    await ask(world, "a")
    store = world.store.repeats()
    world.clock.go(hours=23, minutes=59)
    assert (await store.look("a", "same"))[1] == ANSWER
    world.clock.go(minutes=1)
    assert await store.look("a", "another") == (world.clock.now(), None)
    assert await ask(world, "a", "another") == "a"
    assert (await store.look("a", "another"))[1] == ANSWER


async def test_old_answers_are_pruned_in_batches(world: World) -> None:
    for n in range(5):
        await ask(world, f"old {n}")
    world.clock.go(seconds=KEPT / 1e6)
    await ask(world, "new")
    pruned = [(await world.store.engine().prune(KEEP, 0, 3)).repeats for _ in range(3)]
    assert pruned == [3, 2, 0]
    assert world.sql("select id from repeats") == [("new",)]
