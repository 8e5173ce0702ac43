"""Figures of a namespace, on both databases."""

from __future__ import annotations

import pytest

from backend.model.ids import DEFAULT_NAMESPACE
from backend.model.run import AttemptState
from backend.service.stats import stats_view
from tests.store.world import World

pytestmark = pytest.mark.anyio


async def test_figures_say_what_there_is_and_what_has_been_in_the_last_hour(world: World) -> None:
    await world.store.namespaces().change("default", lambda row: row._replace(limits='{"concurrent_runs":5}'))
    for id_ in ("a", "b", "c"):
        await world.put(id_, retry={"max_attempts": 1}, overlap_policy="buffer_one")
    await world.pause("c")
    world.clock.go(minutes=1)
    await world.turn()
    world.clock.go(seconds=4)
    await world.work()
    world.clock.go(seconds=56)
    await world.turn()
    claim = await world.claim(1)
    await world.finish(claim, AttemptState.FAILED)
    world.clock.go(minutes=1)
    await world.turn()
    world.clock.go(seconds=2)
    shown = stats_view("default", await world.store.namespace(DEFAULT_NAMESPACE).stats())
    assert {k: v for k, v in shown.schedules.items() if v} == {"active": 2, "paused": 1}
    assert {k: v for k, v in shown.open_runs.items() if v} == {"queued": 2, "buffered": 1}
    assert dict(shown.last_hour) == {
        "buffered": 1,
        "failed": 1,
        "queued": 2,
        "skipped": 3,
        "succeeded": 2,
    }
    assert (shown.failures, shown.last_hour_complete) == (1, True)
    assert (shown.lateness.runs, shown.lateness.p50, shown.lateness.p99) == (3, 4.0, 4.0)
    assert (shown.backlog.due_schedules, shown.backlog.queued_age_seconds) == (0, 62.0)
    assert [(one.name, one.limit, one.used) for one in shown.limits] == [("concurrent_runs", 5, 0)]
    world.clock.go(hours=2)
    shown = stats_view("default", await world.store.namespace(DEFAULT_NAMESPACE).stats())
    assert (shown.last_hour, shown.backlog.due_schedules) == ({}, 3)
    assert shown.backlog.due_age_seconds == 2 * 3600 - 58


async def test_figures_of_one_namespace_say_nothing_of_another(world: World) -> None:
    await world.put()
    await world.trigger()
    await world.store.namespaces().create("other", "UTC", "{}")  # type: ignore[arg-type] # an id
    shown = stats_view("other", await world.store.namespace("other").stats())  # type: ignore[arg-type] # an id
    assert sum(shown.schedules.values()) + sum(shown.open_runs.values()) + len(shown.last_hour) == 0
