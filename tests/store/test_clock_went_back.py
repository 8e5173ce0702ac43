"""A clock that goes back takes nothing out of the ledger, and the audit knows."""

from __future__ import annotations

import pytest

from backend.engine.auditor import Audit, Bookmark

pytestmark = pytest.mark.anyio


async def test_what_was_planned_before_a_clock_went_back_is_not_doubled_for_the_audit(world):
    await world.put()
    world.clock.go(minutes=3)
    await world.turn()
    world.clock.go(seconds=-90)
    await world.pause()
    world.clock.go(minutes=5)
    await world.turn()
    audit = Audit(world.store.engine().history(), 0, world.clock.now())
    await audit.batch(Bookmark())
    assert (audit.found.missing, audit.found.doubled) == ([], [])
    assert audit.found.expected == audit.found.recorded


async def test_a_change_that_bears_an_earlier_time_than_the_one_before_it_hides_nothing(world):
    await world.put()
    world.clock.go(minutes=1)
    await world.turn()
    world.clock.go(minutes=-3)
    await world.pause()
    world.clock.go(minutes=5)
    await world.turn()
    audit = Audit(world.store.engine().history(), 0, world.clock.now())
    await audit.batch(Bookmark())
    assert (audit.found.missing, audit.found.doubled) == ([], [])
    assert audit.found.expected == audit.found.recorded == 3


async def test_an_audit_that_begins_before_what_a_change_by_an_earlier_time_left_planned_finds_it(world):
    await world.put()
    created_at = world.clock.now()
    world.clock.go(minutes=3)
    await world.turn()
    world.clock.go(minutes=-15)
    await world.pause()
    world.clock.go(minutes=16)
    await world.resume()
    audit = Audit(world.store.engine().history(), created_at + 1, world.clock.now())
    await audit.batch(Bookmark())
    assert (audit.found.missing, audit.found.doubled) == ([], [])
    assert audit.found.expected == audit.found.recorded == 4
