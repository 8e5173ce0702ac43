"""Which timing decided which times, and what a comparison makes of rows and occurrences: pure."""

from __future__ import annotations

from typing import Any

import pytest

from backend.engine.audit import (
    COUNTS_MORE,
    MOST_NAMED,
    NO_OCCURRENCE,
    TWICE,
    Comparison,
    Findings,
    Span,
    expected_in,
    is_zoned,
    spans_of,
)
from backend.engine.timing import Timing, dump_timing
from backend.events import LedgerAudited
from backend.model.history import LedgerRow, Revision
from backend.observe.metrics import Metrics
from backend.triggers.interval import IntervalTrigger

MINUTE = 60_000_000


def timing(every: str = "1m") -> str:
    return dump_timing(Timing((IntervalTrigger.model_validate({"every": every, "anchor": "1970-01-01T00:00:00Z"}),)))


def revision(cursor: int, *, text: str = "old", planned_to: int | None = None, changed: int = 0) -> Revision:
    ended = changed if planned_to is None else planned_to
    return Revision(1, 1, "updated", text, "active", "", 0, cursor, max(ended, 0), changed, "ann")


def spans(*revisions: Revision, cursor: int = 100) -> list[tuple[str, int, int]]:
    return [(span.timing, span.after_at, span.until_at) for span in spans_of(revisions, cursor)]


def test_one_revision_decides_all_up_to_the_cursor():
    assert spans(revision(10)) == [("old", 10, 100)]


def test_a_new_timing_takes_over_where_the_old_one_was_planned_to():
    assert spans(revision(10), revision(50, text="new", changed=50)) == [("old", 10, 50), ("new", 50, 100)]


def test_what_had_nothing_left_ends_before_the_change():
    ended = revision(50, text="new", planned_to=30, changed=50)
    assert spans(revision(10), ended) == [("old", 10, 30), ("new", 50, 100)]


def test_a_resume_that_catches_up_takes_over_from_all_that_was_planned_again():
    back = revision(20, text="again", changed=80)
    found = spans(revision(10), revision(40, text="renamed", changed=40), revision(60, text="x", changed=60), back)
    assert found == [("old", 10, 20), ("again", 20, 100)]


def test_a_cursor_before_a_revision_leaves_it_nothing():
    assert spans(revision(10), revision(50, text="new", changed=50), cursor=40) == [("old", 10, 40)]


@pytest.mark.parametrize(
    ("text", "zoned"), [('{"timezone":"UTC"}', False), ('{"timezone":"Asia/Tokyo"}', True), ("[]", False)]
)
def test_times_depend_on_zone_rules_only_where_a_zone_is_named(text, zoned):
    assert is_zoned([revision(0, text=text)]) is zoned


def test_expected_occurrences_are_bounded_and_say_how_far_they_reach():
    span = Span(timing(), 0, 0, 100 * MINUTE)
    found = expected_in([span], MINUTE, 10 * MINUTE, 4)
    assert (found.instants, found.until_at) == ([n * MINUTE for n in (1, 2, 3, 4)], 4 * MINUTE)
    rest = expected_in([span], found.until_at + 1, 10 * MINUTE, 100)
    assert (rest.instants, rest.until_at) == ([n * MINUTE for n in range(5, 11)], 10 * MINUTE)


def test_each_span_answers_for_its_own_part():
    both = [Span(timing(), 0, 0, 2 * MINUTE), Span(timing("3m"), 0, 2 * MINUTE, 100 * MINUTE)]
    assert expected_in(both, 0, 9 * MINUTE, 100).instants == [n * MINUTE for n in (1, 2, 3, 6, 9)]


def row(at: int, count: int = 0, last: int | None = None) -> LedgerRow:
    return LedgerRow(f"r{at}", at, "missed" if count else "succeeded", None, count, at if count else None, last)


def compared(*parts: tuple[list[int], list[LedgerRow]], end: int = 1000) -> Findings:
    found = Findings()
    comparison = Comparison("job", found)
    for expected, rows in parts:
        comparison.add(expected, rows)
    comparison.end(end)
    return found


def summary(found: Findings) -> tuple[Any, ...]:
    return (
        found.expected,
        found.recorded,
        [(m.nominal_at, m.number) for m in found.missing],
        [(d.nominal_at, d.number, d.why) for d in found.doubled],
    )


CASES: list[tuple[str, list[int], list[LedgerRow], tuple[Any, ...]]] = [
    ("nothing", [], [], (0, 0, [], [])),
    ("each has its row", [1, 2, 3], [row(1), row(2), row(3)], (3, 3, [], [])),
    ("the first is missing", [1, 2], [row(2)], (2, 1, [(1, 1)], [])),
    ("the last is missing", [1, 2], [row(1)], (2, 1, [(2, 1)], [])),
    ("one too many", [1, 3], [row(1), row(2), row(3)], (2, 2, [], [(2, 1, NO_OCCURRENCE)])),
    ("a range", [1, 2, 3, 4], [row(1), row(2, 3, 4)], (4, 4, [], [])),
    ("a row in a range", [1, 2, 3], [row(1, 3, 3), row(2)], (3, 3, [], [(2, 1, TWICE)])),
    ("a stranger in a range", [1, 5], [row(1, 2, 5), row(3)], (2, 2, [], [(3, 1, TWICE)])),
    ("a range that counts less", [1, 2, 3], [row(1, 2, 3)], (3, 2, [(1, 1)], [])),
    ("a range that counts more", [1, 2, 3], [row(1, 5, 3)], (3, 3, [], [(1, 2, COUNTS_MORE)])),
    ("after a range", [1, 2, 3, 4], [row(1, 2, 2), row(4)], (4, 3, [(3, 1)], [])),
    ("two ranges", [1, 2, 3, 4], [row(1, 2, 2), row(3, 2, 4)], (4, 4, [], [])),
]


@pytest.mark.parametrize(("expected", "rows", "said"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_comparison_tells_missing_from_doubled(expected, rows, said):
    assert summary(compared((expected, rows))) == said


def test_a_range_is_counted_over_all_parts():
    parts: tuple[tuple[list[int], list[LedgerRow]], ...] = ([1, 2], [row(1, 5, 5)]), ([3, 4], []), ([5, 6], [row(6)])
    assert summary(compared(*parts)) == (6, 6, [], [])


def test_a_range_that_goes_on_after_the_end_is_not_counted():
    assert summary(compared(([1, 2], [row(1, 9, 9)]), end=2)) == (2, 2, [], [])


def test_a_range_that_began_before_is_believed_and_one_that_grew_is_counted_as_it_is_now():
    found = Findings()
    comparison = Comparison("job", found)
    comparison.begin(row(1, 4, 4), 3)
    comparison.add([3, 4, 5], [row(5, 2, 6)])
    comparison.begin(row(5, 3, 7), 6)
    comparison.add([6, 7], [])
    comparison.end(7)
    assert summary(found) == (5, 5, [], [])


def test_a_range_that_was_planned_again_meanwhile_stands_for_nothing_more():
    found = Findings()
    comparison = Comparison("job", found)
    comparison.add([1, 2], [row(1, 9, 9)])
    comparison.begin(row(2), 3)
    comparison.add([3, 4], [row(3)])
    comparison.end(4)
    assert summary(found) == (4, 3, [(4, 1)], [])


def test_the_first_hundred_are_named_and_all_are_counted():
    found = compared((list(range(250)), []))
    assert (len(found.missing), found.missing_count) == (MOST_NAMED, 250)


def test_the_latest_audit_is_what_the_metrics_say():
    metrics = Metrics()
    for missing, doubled in ((4, 2), (0, 1)):
        metrics.observe(LedgerAudited(3, 9, missing, doubled, "", 1.0))
    text = metrics.render()[0].decode()
    assert "scheduler_audit_missing 0.0" in text
    assert "scheduler_audit_doubled 1.0" in text
