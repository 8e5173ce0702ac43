"""Foreseeing the load: what starts when, what overlaps, what an outage costs; told by counting, not by firing."""

from __future__ import annotations

from typing import Any

import pytest

from backend.engine import simulate as simulation
from backend.engine.due import due_instants, find_next
from backend.engine.plan import delay_of
from backend.engine.simulate import Forecast, Line, TooMany, simulate
from backend.engine.track import Offered, Range
from backend.model.instants import DAY, MINUTE, SECOND, parse_instant
from backend.model.policies import MisfirePolicy, OverlapPolicy
from tests.unit.engine_cases import Ledger, made

T0 = parse_instant("2026-12-01T00:00:00Z")
HOUR = 60 * MINUTE


def cron(expression: str) -> str:
    return f'[{{"kind":"cron","expression":"{expression}","timezone":"UTC","dst_gap":"shift","dst_overlap":"first"}}]'


def line(id_: str = "job", expression: str = "*/5 * * * *", **changes: Any) -> Line:
    plain: dict[str, Any] = {
        "timing": cron(expression),
        "seed": f"default/{id_}",
        "jitter": 0,
        "misfire_policy": MisfirePolicy.FIRE_ONCE,
        "misfire_threshold": MINUTE,
        "catchup_window": 365 * DAY,
        "overlap_policy": OverlapPolicy.SKIP,
        "runs_left": None,
        "duration": 0,
    }
    return Line(id=id_, **(plain | changes))


def replayed(*lines: Line, length: int = HOUR, outage: Range | None = None) -> Forecast:
    replay = simulate(lines, Range(T0, T0 + length), outage)
    while True:
        try:
            next(replay)
        except StopIteration as finished:
            forecast: Forecast = finished.value
            return forecast


def busy_minutes(forecast: Forecast) -> dict[int, int]:
    return {minute: count for minute, count in enumerate(forecast.counts) if count}


def offered(**fields: Any) -> Offered:
    return Offered()._replace(**fields)


def test_the_starts_of_each_minute_are_counted_from_the_beginning_to_before_the_end():
    found = replayed(line(expression="*/20 * * * *"), line("other", "40 * * * *"))
    assert busy_minutes(found) == {0: 1, 20: 1, 40: 2}
    assert (found.total, found.peak, found.peak_minutes) == (4, 2, [40])
    assert dict(found.peak_schedules) == {"job": 1, "other": 1}


def test_nothing_to_replay_has_no_peak():
    found = replayed(line(expression="0 0 1 1 *"))
    assert (found.total, found.peak, found.peak_minutes, found.peak_schedules) == (0, 0, [], [])


def test_the_last_time_of_a_schedule_counts_although_nothing_follows():
    once = '[{"kind":"once","at":"2026-12-01T00:30:00","timezone":"UTC","allow_past":false}]'
    assert busy_minutes(replayed(line(timing=once))) == {30: 1}


def test_a_schedule_with_durations_starts_as_often_as_one_without():
    plain, other = line(expression="*/7 * * * *"), line(expression="*/7 * * * *", duration=SECOND)
    assert busy_minutes(replayed(other)) == busy_minutes(replayed(plain)) == dict.fromkeys(range(0, 60, 7), 1)


def test_jitter_moves_starts_as_in_the_engine():
    schedule = made([{"kind": "cron", "expression": "0 * * * *"}], now=T0 - 1, id="job", jitter=1800)
    due = due_instants(schedule.triggers, T0, until=T0 + DAY, effective_at=0, delay=delay_of(schedule), wait=False)
    expected = [(nominal_at + due.delays[nominal_at] - T0) // MINUTE for nominal_at in due.instants[:-1]]
    found = replayed(line(expression="0 * * * *", jitter=30 * MINUTE), length=DAY)
    assert list(busy_minutes(found)) == expected
    assert len({minute % 60 for minute in expected}) > 10


def test_what_is_delayed_into_the_range_starts_in_it():
    # Its hash delays this one from 23:55 by more than five minutes.
    found = replayed(line("job-1", "55 23 * * *", jitter=HOUR), line("job-2", "55 23 * * *", jitter=HOUR))
    assert found.total == 2


def test_a_run_limit_ends_the_starts():
    assert replayed(line(runs_left=3)).total == 3


@pytest.mark.parametrize(
    ("policy", "starts", "found"),
    [
        (OverlapPolicy.SKIP, [0, 10, 20, 30, 40, 50], offered(overlapping=6, skipped=6)),
        (OverlapPolicy.BUFFER_ONE, [0, 7, 14, 21, 28, 35, 42, 49, 56], offered(overlapping=11, waited=8, skipped=3)),
        (OverlapPolicy.BUFFER_ALL, [0, 7, 14, 21, 28, 35, 42, 49, 56], offered(overlapping=11, waited=11)),
        (OverlapPolicy.CANCEL_OTHER, list(range(0, 60, 5)), offered(overlapping=11, replaced=11)),
        (OverlapPolicy.TERMINATE_OTHER, list(range(0, 60, 5)), offered(overlapping=11, replaced=11)),
        (OverlapPolicy.ALLOW_ALL, list(range(0, 60, 5)), offered(overlapping=11)),
    ],
)
def test_each_overlap_policy_is_replayed(policy: OverlapPolicy, starts: list[int], found: Offered):
    # It begins with the range, so that nothing is open yet.
    text = cron("*/5 * * * *")
    timing = f'{{"triggers":{text},"exclusions":[],"start_at":{T0},"end_at":null}}'
    seen = replayed(line(timing=timing, overlap_policy=policy, duration=7 * MINUTE))
    assert list(busy_minutes(seen)) == starts
    assert dict(seen.offered)["job"] == found


def test_a_run_that_began_before_the_range_is_still_open_in_it():
    seen = replayed(line(expression="30 * * * *", duration=45 * MINUTE))
    assert busy_minutes(seen) == {30: 1}
    early = replayed(line(expression="0,50 * * * *", duration=45 * MINUTE))
    assert busy_minutes(early) == {50: 1}  # the start at 23:50 is still open at 00:00
    assert dict(early.offered)["job"] == offered(overlapping=1, skipped=1)


OUTAGE = Range(T0 + 10 * MINUTE, T0 + 32 * MINUTE)


@pytest.mark.parametrize(
    ("policy", "starts", "found"),
    [
        (MisfirePolicy.FIRE_ONCE, {32: 1}, offered(late=5, ran_late=1, dropped={"missed": 4})),
        (MisfirePolicy.SKIP, {}, offered(late=5, dropped={"missed": 5})),
        (MisfirePolicy.FIRE_ALL, {32: 5}, offered(late=5, ran_late=5)),
    ],
)
def test_what_falls_into_an_outage_is_decided_at_its_end(policy: MisfirePolicy, starts: dict[int, int], found: Offered):
    seen = replayed(line(misfire_policy=policy), outage=OUTAGE)
    assert busy_minutes(seen) == dict.fromkeys((0, 5, 35, 40, 45, 50, 55), 1) | starts
    assert dict(seen.offered)["job"] == found


def test_an_outage_that_ends_as_something_is_due_leaves_the_late_ones_to_it():
    seen = replayed(line(), outage=Range(T0 + 10 * MINUTE, T0 + 30 * MINUTE))
    assert busy_minutes(seen)[30] == 1
    assert dict(seen.offered)["job"] == offered(late=4, dropped={"missed": 4})


def test_all_that_becomes_due_in_an_outage_counts_also_what_then_runs_within_the_threshold():
    """A minutely schedule: 01:09 runs late at 01:10, and what is due then overlaps it."""
    seen = replayed(line(expression="* * * * *"), outage=Range(T0 + 10 * MINUTE, T0 + 20 * MINUTE))
    found = offered(overlapping=1, skipped=1, at_return=1, late=10, ran_late=1, dropped={"missed": 9})
    assert (busy_minutes(seen)[20], dict(seen.offered)["job"]) == (1, found)


def test_what_is_late_and_finds_another_late_one_open_is_counted_as_skipped_for_that():
    half_minutes = line(timing='[{"kind":"interval","every":"30s","anchor":"2026-12-01T00:00:00Z"}]')
    seen = dict(replayed(half_minutes, outage=Range(T0 + 10 * MINUTE, T0 + 11 * MINUTE + SECOND)).offered)["job"]
    assert (seen.late, seen.ran_late, seen.dropped) == (3, 1, {"missed": 1, "overlap": 1})


def test_what_is_caught_up_runs_one_after_another():
    chained = line(misfire_policy=MisfirePolicy.FIRE_ALL, duration=2 * MINUTE)
    seen = replayed(chained, outage=OUTAGE)
    assert [m for m in busy_minutes(seen) if 32 <= m < 45] == [32, 34, 36, 38, 40]


def test_what_is_too_late_for_any_policy_is_dropped_for_that():
    seen = replayed(line(misfire_policy=MisfirePolicy.FIRE_ALL, catchup_window=10 * MINUTE), outage=OUTAGE)
    assert dict(seen.offered)["job"] == offered(late=5, ran_late=2, dropped={"catchup_window": 3})


def test_the_same_outage_is_decided_as_the_engine_decides_it():
    for policy in MisfirePolicy:
        schedule = made([{"kind": "cron", "expression": "*/5 * * * *"}], now=T0 + 9 * MINUTE, misfire_policy=policy)
        ledger = Ledger()
        ledger.until(schedule, OUTAGE.to_at, open_run=False)
        seen = dict(replayed(line(misfire_policy=policy), outage=OUTAGE).offered)["job"]
        assert (seen.ran_late, dict(seen.dropped)) == (len(ledger.accepted), ledger.dropped)


def test_a_schedule_that_cannot_be_planned_is_left_out_and_named():
    seen = replayed(line("broken", timing="[]"), line("unreadable", timing="{"), line())
    assert [id_ for id_, _ in seen.unplannable] == ["broken", "unreadable"]
    assert seen.total == 12


def test_more_than_is_replayed_at_most_is_refused_before_it_is_walked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(simulation, "MOST", 1000)
    assert replayed(line(expression="* * * * *"), length=1000 * MINUTE).total == 1000
    with pytest.raises(TooMany, match="more than 1,000 occurrences"):
        replayed(line(expression="* * * * *"), length=1001 * MINUTE)
    with pytest.raises(TooMany):
        replayed(*(line(f"job-{n}", "* * * * *") for n in range(2)), length=501 * MINUTE)


def test_schedules_that_share_a_timing_are_walked_once(monkeypatch: pytest.MonkeyPatch):
    asked = 0

    def counting(*given: Any) -> int | None:
        nonlocal asked
        asked += 1
        return find_next(*given)

    monkeypatch.setattr("backend.engine.simulate.find_next", counting)
    seen = replayed(*(line(f"job-{n}") for n in range(500)))
    assert (seen.total, seen.peak) == (6000, 500)
    assert asked == 13


def test_a_replay_pauses_every_few_instants_whatever_it_is_at(monkeypatch: pytest.MonkeyPatch):
    since = most = 0

    def counting(*given: Any) -> int | None:
        nonlocal since, most
        since += 1
        most = max(most, since)
        return find_next(*given)

    monkeypatch.setattr("backend.engine.simulate.find_next", counting)
    lines = [line(expression="* * * * * *"), line("slow", "* * * * *", duration=MINUTE, jitter=MINUTE)]
    for _ in simulate(lines, Range(T0, T0 + HOUR)):
        since = 0
    assert 0 < most <= simulation.STEP + 1
