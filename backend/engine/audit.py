"""Expected occurrences, computed again from what was in force, against what the ledger says. Pure.

What was in force comes from the revisions: each tells after which nominal time planning went on, and by which timing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from backend.engine.due import next_nominal
from backend.model.history import LedgerPage, LedgerRow, Revision

MOST_NAMED = 100
"""Missing and doubled occurrences that are named one by one; the others are counted."""
_ZONED = re.compile(r'"timezone":"(?!UTC")')


class Span(NamedTuple):
    """The timing that decided the nominal times in (after_at, until_at]."""

    timing: str
    effective_at: int
    after_at: int
    until_at: int


class Missing(NamedTuple):
    """An occurrence without a record; or, of a range row, how many fewer it counts than there were."""

    schedule_id: str
    nominal_at: int
    number: int


class Doubled(NamedTuple):
    """A record without an occurrence of its own."""

    schedule_id: str
    nominal_at: int
    number: int
    run_id: str
    why: str


NO_OCCURRENCE = "it is no occurrence"
TWICE = "a range row stands for it already"
COUNTS_MORE = "the range row counts more than there were"


@dataclass(slots=True)
class Findings:
    """What a comparison found."""

    schedules: int = 0
    expected: int = 0
    recorded: int = 0
    missing: list[Missing] = field(default_factory=list)
    missing_count: int = 0
    doubled: list[Doubled] = field(default_factory=list)
    doubled_count: int = 0
    unverified: list[tuple[str, str]] = field(default_factory=list)
    """(schedule id, why) of those of which not all could be compared."""
    unverified_count: int = 0

    def miss(self, missing: Missing) -> None:
        """Count occurrences without a record."""
        self.missing_count += missing.number
        if len(self.missing) < MOST_NAMED:
            self.missing.append(missing)

    def double(self, doubled: Doubled) -> None:
        """Count records without an occurrence."""
        self.doubled_count += doubled.number
        if len(self.doubled) < MOST_NAMED:
            self.doubled.append(doubled)

    def leave(self, schedule_id: str, why: str) -> None:
        """Note a schedule of which not all could be compared."""
        self.unverified_count += 1
        if len(self.unverified) < MOST_NAMED:
            self.unverified.append((schedule_id, why))


def spans_of(revisions: Sequence[Revision], cursor_at: int) -> list[Span]:
    """Say which timing decided which nominal times, up to the schedule's cursor.

    Each revision begins at its cursor and ends what came before there. One whose cursor lies further back (a resume
    that catches up) takes over what was planned before and is planned again.
    """
    spans: list[Span] = []
    for revision in revisions:
        end = min(revision.cursor_at, revision.planned_to_at)
        spans = [s._replace(until_at=min(s.until_at, revision.cursor_at)) for s in spans]
        if spans:
            spans[-1] = spans[-1]._replace(until_at=min(spans[-1].until_at, end))
        spans.append(Span(revision.triggers, revision.effective_at, revision.cursor_at, cursor_at))
    return [span for span in spans if span.after_at < span.until_at]


def is_zoned(revisions: Sequence[Revision]) -> bool:
    """Tell whether nominal times depend on the rules of a time zone."""
    return any(_ZONED.search(revision.triggers) for revision in revisions)


class Expected(NamedTuple):
    """Occurrences in order, and the instant up to which they are complete."""

    instants: list[int]
    until_at: int


def expected_in(spans: Sequence[Span], from_at: int, until_at: int, at_most: int) -> Expected:
    """List the occurrences from `from_at` to `until_at` (inclusive), at most so many; ValueError as planning raises."""
    instants: list[int] = []
    for span in spans:
        last = min(span.until_at, until_at)
        instant = next_nominal(span.timing, max(span.after_at, from_at - 1), span.effective_at)
        while instant is not None and instant <= last:
            if len(instants) == at_most:
                return Expected(instants, instants[-1])
            instants.append(instant)
            instant = next_nominal(span.timing, instant, span.effective_at)
    return Expected(instants, until_at)


@dataclass(slots=True)
class _OpenRange:
    row: LedgerRow
    counted: int
    whole: bool
    """All of it lies in what is compared, so that its count can be checked."""


class Comparison:
    """Compares one schedule's ledger part by part, in order of time; findings are added up in `found`."""

    def __init__(self, schedule_id: str, found: Findings) -> None:
        self._schedule_id = schedule_id
        self._found = found
        self._range: _OpenRange | None = None

    def begin(self, before: LedgerRow | None, from_at: int) -> None:
        """Begin a part, told the newest row before it: a range row may reach into the part, or have grown since."""
        known = self._range
        if known is not None:
            same = before is not None and before.nominal_at == known.row.nominal_at
            # A resume that catches up may have deleted the row: what is planned again is compared again.
            self._range = _OpenRange(before, known.counted, known.whole) if same and before else None
        elif before is not None and before.last_at >= from_at:
            self._range = _OpenRange(before, 0, whole=False)

    def add(self, expected: Sequence[int], rows: Sequence[LedgerRow]) -> None:
        """Compare a part: its occurrences and its rows, both in order."""
        place = 0
        for row in rows:
            while place < len(expected) and expected[place] < row.nominal_at:
                self._occurrence(expected[place])
                place += 1
            matches = place < len(expected) and expected[place] == row.nominal_at
            self._row(row, matches=matches)
            place += matches
        for instant in expected[place:]:
            self._occurrence(instant)

    def end(self, until_at: int) -> None:
        """End the comparison; a range row that goes on after `until_at` is not counted."""
        if self._range is not None and self._range.row.last_at <= until_at:
            self._close()

    def _occurrence(self, instant: int) -> None:
        self._found.expected += 1
        if self._covers(instant):
            self._found.recorded += 1
        else:
            self._found.miss(Missing(self._schedule_id, instant, 1))

    def _row(self, row: LedgerRow, *, matches: bool) -> None:
        found = self._found
        found.expected += matches
        found.recorded += matches
        covered = self._covers(row.nominal_at, counts=matches)
        if covered or not matches:
            why = TWICE if covered else NO_OCCURRENCE
            found.double(Doubled(self._schedule_id, row.nominal_at, 1, row.id, why))
        if not covered and row.last_at > row.nominal_at:
            self._range = _OpenRange(row, 1, whole=True)

    def _covers(self, instant: int, *, counts: bool = True) -> bool:
        """Tell whether a range row stands for the instant; one that has ended before is closed."""
        if self._range is None:
            return False
        if instant > self._range.row.last_at:
            self._close()
            return False
        self._range.counted += counts
        return True

    def _close(self) -> None:
        assert self._range is not None
        row, surplus = self._range.row, self._range.row.stands_for - self._range.counted
        if self._range.whole and surplus > 0:
            self._found.double(Doubled(self._schedule_id, row.nominal_at, surplus, row.id, COUNTS_MORE))
        elif self._range.whole and surplus < 0:
            self._found.recorded += surplus
            self._found.miss(Missing(self._schedule_id, row.nominal_at, -surplus))
        self._range = None


class Part(NamedTuple):
    """What one page gave: where the next one begins, or None when the schedule is done."""

    next_at: int | None
    expected: int


def compare_page(comparison: Comparison, page: LedgerPage, from_at: int, until_at: int, at_most: int) -> Part:
    """Compare what one page shows from `from_at` (inclusive) on, at most so many occurrences."""
    last = min(until_at, page.cursor_at)
    if page.more:
        last = min(last, page.rows[-1].nominal_at)
    expected = expected_in(spans_of(page.revisions, page.cursor_at), from_at, last, at_most)
    comparison.begin(page.before, from_at)
    comparison.add(expected.instants, [row for row in page.rows if row.nominal_at <= expected.until_at])
    if page.more or expected.until_at < last:
        return Part(expected.until_at + 1, len(expected.instants))
    comparison.end(last)
    return Part(None, len(expected.instants))
