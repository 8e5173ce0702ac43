"""What is remembered of stored texts is bounded by their length, and what many share is still read once."""

from __future__ import annotations

import json
import tracemalloc
from datetime import date, timedelta

from backend.engine.cache import LONG_TEXTS, cached_by_length
from backend.engine.due import next_nominal
from backend.engine.timing import load_timing
from backend.model.instants import MINUTE
from tests.unit.engine_cases import T0

DAYS = [(date(2031, 1, 1) + timedelta(days=n)).isoformat() for n in range(3990)]
CALENDAR = f'{{"calendar":"closed","days":{json.dumps(DAYS, separators=(",", ":"))},"kind":"calendar"}}'


def timing(n: int) -> str:
    every = f'{{"anchor":"1970-01-01T00:00:00Z","every":"{n + 1}s","kind":"interval"}}'
    return f'{{"triggers":[{every}],"end_at":null,"exclusions":[{CALENDAR}],"start_at":null}}'


def counted(length_of_short: int = 10):
    calls: list[str] = []

    @cached_by_length(100, longest=length_of_short)
    def read(text: str, more: int = 0) -> int:
        calls.append(text)
        return len(text) + more

    return read, calls


def test_a_text_is_read_once_whether_short_or_long():
    read, calls = counted()
    for text in ("short", "long" * 10):
        assert [read(text, 1), read(text, 1)] == [len(text) + 1] * 2
        assert calls.pop() == text
        assert not calls


def test_the_other_arguments_tell_answers_about_a_long_text_apart():
    read, _ = counted()
    assert [read("long" * 10, more) for more in (1, 2, 1)] == [41, 42, 41]


def test_of_long_texts_those_asked_for_last_are_kept_while_they_fit():
    read, calls = counted()
    texts = [letter * (LONG_TEXTS // 2) for letter in "abc"]
    for place in (0, 1, 0, 2, 0, 1):
        read(texts[place])
    assert [text[0] for text in calls] == ["a", "b", "c", "b"]


def test_a_text_longer_than_all_that_is_kept_is_still_read_once():
    read, calls = counted()
    for _ in range(3):
        read("x" * (LONG_TEXTS + 1))
    assert len(calls) == 1


def test_schedules_that_exclude_one_long_calendar_leave_little_behind_and_share_its_days():
    def plan(first: int, last: int) -> None:
        for n in range(first, last):
            assert next_nominal(timing(n), T0, T0) is not None

    plan(0, 100)  # until the caches are full
    tracemalloc.start()
    try:
        plan(100, 400)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 2 * LONG_TEXTS < 300 * len(CALENDAR)
    one, other = load_timing(timing(901)), load_timing(timing(902))
    assert one.exclusions is other.exclusions


def test_a_long_timing_is_read_once_for_a_whole_walk():
    at = T0
    for _ in range(100):
        found = next_nominal(timing(59), at, T0)
        assert found == at + MINUTE
        at = found
    assert load_timing(timing(59)) is load_timing(timing(59))
