"""What is known of a schedule's past: the changes to it, and what the ledger says of its occurrences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Revision(NamedTuple):
    """One change to a schedule, and what was in force after it. Instants in microseconds.

    `verb` is created, updated, paused, resumed or deleted; `triggers` is the stored timing.
    """

    key: int
    revision: int
    verb: str
    triggers: str
    state: str
    note: str
    effective_at: int
    cursor_at: int
    """Planning went on after this nominal time; a resume that catches up moves it back."""
    planned_to_at: int
    """Occurrences up to here were planned by what was in force before."""
    changed_at: int
    changed_by: str


class LedgerRow(NamedTuple):
    """What the ledger says of an occurrence, or of many in a row that did not run."""

    id: str
    nominal_at: int
    state: str
    reason: str | None
    missed_count: int
    missed_first_at: int | None
    missed_last_at: int | None

    @property
    def last_at(self) -> int:
        """The last nominal time that the row stands for: its own, unless it is a range row."""
        # A run that reports missed ones before it begins its count earlier than itself.
        is_range = self.missed_first_at == self.nominal_at and self.missed_last_at is not None
        return self.missed_last_at if is_range and self.missed_last_at is not None else self.nominal_at

    @property
    def stands_for(self) -> int:
        """How many occurrences the row stands for."""
        return self.missed_count if self.missed_first_at == self.nominal_at else 1


class LedgerPage(NamedTuple):
    """A part of one schedule's ledger with the changes that decide what should stand there, as of one instant."""

    key: int
    id: str
    namespace: str
    cursor_at: int
    complete_from: int
    """Before, rows have been pruned."""
    zoned_from: int
    """Before, times of zones other than UTC followed another release of the time zone database."""
    revisions: Sequence[Revision]
    """The last one before the part begins, and all that follow."""
    before: LedgerRow | None
    """The row before the first one; a range row may reach into the part."""
    rows: Sequence[LedgerRow]
    more: bool
    """Rows after the last one were left off."""


class Stretch(NamedTuple):
    """Which part of the ledger to read: nominal times from `from_at` to `until_at`, both inclusive."""

    from_at: int
    until_at: int
    rows: int
    """At most so many rows of a schedule."""
