"""Whatever the schedule and whenever the engine turns: every due instant is recorded exactly once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.engine import due, misfire
from backend.engine.plan import plan
from backend.model.instants import MINUTE, SECOND, rfc3339
from backend.model.policies import MisfirePolicy, OverlapPolicy
from backend.model.schedule import Schedule
from tests.unit.engine_cases import STORE, T0, Ledger, made

SPAN = 40 * MINUTE
STEPS = st.integers(1, 20 * 60).map(lambda seconds: seconds * SECOND)
TURNS = st.lists(st.tuples(st.integers(0, SPAN), st.booleans()), min_size=1, max_size=12)


@st.composite
def intervals(draw: st.DrawFn) -> list[tuple[int, int]]:
    """(step, anchor) pairs in microseconds."""
    one = st.tuples(STEPS, st.integers(-3600, 1800).map(lambda s: T0 + s * SECOND))
    return draw(st.lists(one, min_size=1, max_size=3))


@st.composite
def schedules(draw: st.DrawFn) -> tuple[Schedule, list[tuple[int, int]]]:
    pairs = draw(intervals())
    triggers = [
        {"kind": "interval", "every": timedelta(microseconds=step), "anchor": _text(anchor)} for step, anchor in pairs
    ]
    schedule = made(
        triggers,
        misfire_policy=draw(st.sampled_from(MisfirePolicy)),
        overlap_policy=draw(st.sampled_from(OverlapPolicy)),
        misfire_threshold=draw(st.sampled_from([0, 60, 600])),
        catchup_window=draw(st.sampled_from([0, 300, 86_400])),
        changes={"state": draw(st.sampled_from(["active", "active", "paused"]))},
    )
    return schedule, pairs


def _text(instant: int) -> str:
    return rfc3339(instant)


def expected(pairs: list[tuple[int, int]], until: int) -> list[int]:
    """Name every instant in (T0, until] by counting up from the anchors."""
    found: set[int] = set()
    for step, anchor in pairs:
        instant = anchor
        while instant <= until:
            if instant > T0:
                found.add(instant)
            instant += step
    return sorted(found)


@pytest.fixture(scope="module", params=[(3_000, 1_000, 1_000), (30, 10, 10)], ids=["as it is", "in small walks"])
def bounds(request):
    walk, reserve, cap = request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(due, "WALK", walk)
        patch.setattr(due, "RESERVE", reserve)
        patch.setattr(misfire, "CATCH_UP_CAP", cap)
        yield walk, cap


@settings(max_examples=150, deadline=None)
@given(schedules(), TURNS)
def test_every_due_instant_is_recorded_exactly_once(bounds, drawn, turns):
    schedule, pairs = drawn
    ledger = Ledger()
    now = T0
    for wait, busy in turns:
        now = T0 + max(now - T0, wait)
        before = schedule
        schedule = ledger.turn(schedule, now, open_run=busy)
        assert before.cursor_at <= schedule.cursor_at <= max(now, before.cursor_at)
        assert schedule.next_nominal_at is not None
        assert schedule.next_nominal_at > schedule.cursor_at
    decided = expected(pairs, schedule.cursor_at)
    assert ledger.covered(decided) == decided
    schedule = ledger.until(schedule, now)
    assert schedule.next_nominal_at is not None
    assert schedule.next_nominal_at > now, "nothing that is due is left"
    assert ledger.covered(expected(pairs, now)) == expected(pairs, now)


@settings(max_examples=75, deadline=None)
@given(schedules(), st.lists(st.integers(1, SPAN), min_size=1, max_size=10))
def test_many_small_steps_record_the_instants_of_one_big_step(bounds, drawn, waits):
    schedule, pairs = drawn
    now = T0 + sum(waits)
    at_once, step_by_step = Ledger(), Ledger()
    final = at_once.until(schedule, now)
    instant = T0
    for wait in waits:
        instant += wait
        schedule = step_by_step.until(schedule, instant)
    due_by_now = expected(pairs, now)
    assert at_once.covered(due_by_now) == step_by_step.covered(due_by_now) == due_by_now
    assert (final.cursor_at, final.next_nominal_at) == (schedule.cursor_at, schedule.next_nominal_at)
    if schedule.state == "paused":
        assert at_once.dropped.keys() <= {"paused"}
        assert at_once.dropped == step_by_step.dropped


@settings(max_examples=75, deadline=None)
@given(schedules(), st.integers(0, 10 * SPAN))
def test_the_policies_keep_their_promises_over_all_walks(bounds, drawn, away):
    schedule, pairs = drawn
    _, cap = bounds
    now = T0 + away
    ledger = Ledger()
    ledger.until(schedule._replace(state="active"), now)
    edge = now - schedule.misfire_threshold
    late = [run for run in ledger.accepted if run.nominal_at < edge]
    missed = ledger.dropped.get("missed", 0)
    assert all(run.nominal_at >= min(now - schedule.catchup_window, edge) for run in ledger.accepted)
    match schedule.misfire_policy:
        case MisfirePolicy.SKIP:
            assert late == []
        case MisfirePolicy.FIRE_ONCE:
            on_time = [run for run in ledger.accepted if run.nominal_at >= edge]
            assert len(late) <= (0 if on_time else 1)
            reported = [run for run in ledger.accepted if run.missed_count]
            assert [run.missed_count for run in reported] == ([missed] if missed and ledger.accepted else [])
            assert reported == ledger.accepted[: len(reported)]
        case MisfirePolicy.FIRE_ALL:
            eligible = [i for i in expected(pairs, now) if now - schedule.catchup_window <= i < edge]
            assert [run.nominal_at for run in late] == eligible[-cap:]
            assert missed == 0
    side_by_side = [run for run in ledger.accepted if run.state == "queued"]
    waiting = [run for run in ledger.accepted if run.state == "buffered"]
    match schedule.overlap_policy:
        case OverlapPolicy.SKIP:
            assert (len(side_by_side) <= 1, waiting) == (True, [])
        case OverlapPolicy.BUFFER_ONE:
            assert max(len(side_by_side), len(waiting)) <= 1
        case OverlapPolicy.BUFFER_ALL:
            assert len(side_by_side) <= 1


@settings(max_examples=100, deadline=None)
@given(schedules(), st.integers(0, SPAN), st.booleans())
def test_one_plan_is_bounded_and_pure(bounds, drawn, away, busy):
    schedule, _ = drawn
    walk, _ = bounds
    first = plan(schedule, T0 + away, STORE, open_run=busy)
    assert first == plan(schedule, T0 + away, STORE, open_run=busy)
    recorded = sum(max(run.missed_count, 1) if run.reason else 1 for run in first.runs)
    assert recorded + (first.extension.added if first.extension else 0) <= walk
