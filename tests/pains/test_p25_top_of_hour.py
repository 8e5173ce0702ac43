"""P25: everybody's jobs start at minute 0, and the herd delays them all."""

from __future__ import annotations

from collections import Counter

import pytest

from backend.triggers.cron_fields import parse_fields, resolve_hash
from benchmarks.next_fire import plan_shared

IDS = [f"daily-digest-{number}" for number in range(10_000)]
# The value that a chi-square of so many degrees of freedom exceeds once in a million times.
ONCE_IN_A_MILLION = {99: 181.1, 59: 126.1, 29: 81.1, 27: 77.9, 23: 71.3, 9: 46.0}


def uneven(values: list[int], kinds: int) -> float:
    """Measure by chi-square how far values are from being spread evenly over so many kinds."""
    counts = Counter(values)
    expected = len(values) / kinds
    return sum((counts[kind] - expected) ** 2 / expected for kind in counts) + expected * (kinds - len(counts))


def lowest(bits: int) -> int:
    return (bits & -bits).bit_length() - 1


def minutes(expression: str) -> list[int]:
    """Give each schedule's first minute."""
    return [lowest(parse_fields(resolve_hash(expression, id_)).minutes) for id_ in IDS]


def test_hashed_minutes_spread_ten_thousand_schedules_evenly_over_the_hour():
    found = minutes("H * * * *")
    assert set(found) == set(range(60))
    assert uneven(found, 60) < ONCE_IN_A_MILLION[59]
    assert max(Counter(found).values()) < 240  # of 167 on average; without the hash it would be 10,000


def test_a_hashed_step_within_a_range_keeps_to_both_and_spreads():
    fields = [parse_fields(resolve_hash("H(0-29)/10 * * * *", id_)).minutes for id_ in IDS]
    for bits in fields:
        first = lowest(bits)
        assert first < 10
        assert bits == 1 << first | 1 << first + 10 | 1 << first + 20
    assert uneven([lowest(bits) for bits in fields], 10) < ONCE_IN_A_MILLION[9]


@pytest.mark.parametrize(
    ("expression", "unit", "first", "last"),
    [
        ("0 H * * *", "hours", 0, 23),
        ("H(0-29) * * * *", "minutes", 0, 29),
        ("0 0 H * *", "dates", 1, 28),
        ("H 0 * * * *", "seconds", 0, 59),
    ],
)
def test_every_hashed_field_fills_its_range_evenly(expression, unit, first, last):
    found = [lowest(getattr(parse_fields(resolve_hash(expression, id_)), unit)) for id_ in IDS]
    assert set(found) == set(range(first, last + 1))
    assert uneven(found, last - first + 1) < ONCE_IN_A_MILLION[last - first]


def test_minute_and_hour_of_one_schedule_are_independent():
    pairs = [tuple(map(int, resolve_hash("H(0-9) H(0-9) * * *", id_).split()[:2])) for id_ in IDS]
    assert len(set(pairs)) == 100
    assert uneven([10 * minute + hour for minute, hour in pairs], 100) < ONCE_IN_A_MILLION[99]


def test_a_schedule_keeps_its_minute_for_ever():
    assert resolve_hash("H * * * *", "daily-digest-1") == resolve_hash("h * * * *", "daily-digest-1")
    assert minutes("H * * * *")[:5] == minutes("H 3 * * *")[:5]


def test_a_herd_that_shares_expressions_asks_for_each_next_time_once():
    runs, calls, distinct, _ = plan_shared(4000, 200)
    assert (runs, calls, distinct) == (4000, 200, 200)
