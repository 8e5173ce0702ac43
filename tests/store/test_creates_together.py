"""Creates that come in at the same time are written together, and each is its own, on both databases."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from backend.engine.definition import ScheduleDefinition
from backend.errors import Conflict, OverLimit, Refused, StoreUnavailable
from backend.model.change import Change, Moment
from backend.model.ids import NamespaceId
from backend.model.schedule import Schedule
from backend.service import drafts
from backend.service.drafts import Draft
from backend.store.operation import Operation, Runner
from backend.store.port import Store
from backend.store.repeats import Noted, Noting, Repeated, Ticket, shown
from backend.store.schedules import Seen, Wish
from tests.store.world import EVERY_MINUTE, World

pytestmark = pytest.mark.anyio
T = TypeVar("T")
ANSWER = Noted(201, "{}", "made")
ITSELF = shown(lambda seen: seen)


class Counting:
    """A runner that counts transactions."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.writes = 0

    async def write(self, operation: Operation[T]) -> T:
        self.writes += 1
        return await self.runner.write(operation)

    async def read(self, operation: Operation[T]) -> T:
        return await self.runner.read(operation)


async def create(
    store: Store, id_: str, *, namespace: str = "default", noting: Noting | None = None, **more: Any
) -> Any:
    document = {
        "namespace": namespace,
        "triggers": EVERY_MINUTE,
        "target": {"kind": "command", "argv": ["true"]},
    } | more
    draft = Draft(ScheduleDefinition.model_validate({"id": id_, **document}), "tester", only_create=True)

    def revise(_: str, current: Schedule | None, open_run: bool, moment: Moment) -> Change:
        return drafts.revise(draft, current, moment, open_run=open_run)

    port = replace(store.namespace(NamespaceId(namespace)), noting=noting)
    return await port.create_one(Wish([id_], revise), ITSELF)


async def outcomes(*attempts: Any) -> Counter[str]:
    answers = await asyncio.gather(*attempts, return_exceptions=True)
    return Counter(type(answer).__name__ for answer in answers)


async def tenants(world: World, number: int) -> list[str]:
    names = [f"tenant-{n}" for n in range(number)]
    for name in names:
        await world.store.namespaces().create(NamespaceId(name), "UTC", "{}")
    return names


def ids(world: World) -> list[tuple[str, str]]:
    return sorted((row[0], row[1]) for row in world.sql("select namespace, id from schedules where deleted_at is null"))


async def test_many_at_once_take_few_transactions_and_each_is_noted_as_its_asker_s(world: World) -> None:
    names = await tenants(world, 5)
    runner = Counting(world.store.runner)
    store = replace(world.store, runner=runner)
    made = await asyncio.gather(
        *(create(store.signed(f"key:{n}", f"request-{n}"), f"job-{n}", namespace=names[n % 5]) for n in range(50))
    )
    assert runner.writes <= 3
    assert len({seen.change.schedule.key for seen in made}) == 50
    assert ids(world) == sorted((names[n % 5], f"job-{n}") for n in range(50))
    log = world.sql("select namespace, object_id, verb, changed_by, request_id from audit where kind = 'schedule'")
    assert sorted(log) == sorted((names[n % 5], f"job-{n}", "created", "tester", f"request-{n}") for n in range(50))


async def test_the_same_id_is_one_schedule_of_each_namespace(world: World) -> None:
    names = await tenants(world, 3)
    found = await outcomes(*(create(world.store, "job", namespace=name) for name in names * 10))
    assert found == {"Seen": 3, "Conflict": 27}
    assert ids(world) == [(name, "job") for name in names]


async def test_what_is_refused_or_fails_is_nobody_else_s_matter(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    past = [{"kind": "once", "at": "2001-01-01T00:00:00Z"}]
    decide = drafts.revise

    def fail(draft: Draft, *given: Any, **more: Any) -> Change:
        change = decide(draft, *given, **more)
        if draft.definition.id == "raises":
            raise ZeroDivisionError
        if draft.definition.id == "unwritable":  # whatever the database takes of nobody
            return change._replace(schedule=change.schedule._replace(target_kind=None))  # type: ignore[arg-type]
        return change

    monkeypatch.setattr(drafts, "revise", fail)
    attempts = [create(world.store, f"job-{n}") for n in range(10)]
    attempts += [create(world.store, "past", triggers=past), create(world.store, "raises")]
    attempts += [create(world.store, "nowhere", namespace="no-such"), create(world.store, "unwritable")]
    answers = await asyncio.gather(*attempts, return_exceptions=True)
    assert [type(answer).__name__ for answer in answers[:10]] == ["Seen"] * 10
    assert isinstance(answers[10], Refused)
    assert [type(answer).__name__ for answer in answers[11:13]] == ["ZeroDivisionError", "NotFound"]
    assert isinstance(answers[13], Exception)
    assert ids(world) == [("default", f"job-{n}") for n in range(10)]


async def test_no_limit_is_passed_by_coming_together(world: World) -> None:
    await world.store.namespaces().change("default", lambda row: row._replace(limits='{"schedules": 3}'))
    await tenants(world, 1)
    attempts = [create(world.store, f"job-{n}") for n in range(10)]
    found = await outcomes(*attempts, *(create(world.store, f"job-{n}", namespace="tenant-0") for n in range(10)))
    assert found == {"Seen": 13, "OverLimit": 7}
    with pytest.raises(OverLimit):
        await create(world.store, "more")


def noting(world: World, id_: str, fingerprint: str = "same") -> Noting:
    return Noting(Ticket(id_, fingerprint, world.clock.now()), lambda _: ANSWER)


async def test_a_request_that_comes_twice_at_once_is_done_once(world: World) -> None:
    found = await outcomes(*(create(world.store, f"job-{n}", noting=noting(world, f"r-{n // 2}")) for n in range(10)))
    assert found == {"Seen": 5, "Repeated": 5}
    assert len(ids(world)) == 5
    with pytest.raises(Repeated) as repeated:
        await create(world.store, "job-99", noting=noting(world, "r-1"))
    assert repeated.value.noted == ANSWER


async def test_of_two_requests_with_one_key_at_once_the_second_is_refused(world: World) -> None:
    for n in range(5):
        keyed = [(f"{name}-{n}", noting(world, f"r-{n}", name)) for name in ("b", "a")]
        answers = await asyncio.gather(
            create(world.store, f"neighbour-{n}"),
            *(create(world.store, id_, noting=one) for id_, one in keyed),
            return_exceptions=True,
        )
        assert [type(answer).__name__ for answer in answers] == ["Seen", "Seen", "Refused"]
        assert world.sql(f"select fingerprint from repeats where id = 'r-{n}'") == [("b",)]
    assert ("default", "a-1") not in ids(world)


async def test_a_request_that_was_refused_may_come_again(world: World) -> None:
    await create(world.store, "job")
    found = await outcomes(*(create(world.store, "job", noting=noting(world, f"r-{n}")) for n in range(3)))
    assert found == {"Conflict": 3}
    assert world.sql("select id from repeats") == []
    again = noting(world, "r-1")
    seen: Seen = await create(world.store, "another", noting=again)
    assert (seen.change.schedule.id, again.kept) == ("another", True)
    assert world.sql("select id, body from repeats") == [("r-1", "made")]


async def test_what_was_not_committed_is_told_to_all(world: World) -> None:
    class Failing(Counting):
        async def write(self, operation: Operation[T]) -> T:
            def fails() -> Operation[T]:
                yield from operation
                raise StoreUnavailable("cut off")

            return await super().write(fails())

    store = replace(world.store, runner=Failing(world.store.runner))
    first = noting(world, "r-1")
    found = await outcomes(create(store, "job-1", noting=first), *(create(store, f"job-{n}") for n in range(2, 9)))
    assert found == {"StoreUnavailable": 8}
    assert (ids(world), first.kept) == ([], False)


async def test_one_that_exists_is_a_conflict_also_when_it_comes_alone(world: World) -> None:
    await create(world.store, "job")
    with pytest.raises(Conflict, match="exists already"):
        await create(world.store, "job")
