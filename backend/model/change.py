"""What a person's wish makes of schedules: the rows to write, decided purely, written in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from backend.model.limits import NO_LIMITS, NamespaceLimits
from backend.model.plan import Planned
from backend.model.schedule import Schedule


class Change(NamedTuple):
    """One schedule before and after.

    `verb` is created, updated, paused, resumed, deleted, moved (to another source) or unchanged.
    """

    verb: str
    schedule: Schedule
    """As it will be; the key of a created one is 0 until it is written."""
    by: str
    planned: Sequence[Planned] = ()
    """The occurrences of the old revision up to now, recorded before the new one takes over."""
    tags: Sequence[str] | None = None
    """`name:value` each; None: as they were."""
    gains_owner: bool = False
    """Belongs to somebody, to whom it has not belonged before."""
    replan_paused_after: int | None = None
    """Forget occurrences skipped while paused after this nominal time; the engine plans them again."""


class Moment(NamedTuple):
    """When and where a change is decided."""

    now: int
    store_id: str
    buffered: int = 0
    """Occurrences of the schedule that wait for the end of its open runs."""
    calendars: Mapping[str, str] = {}
    """The days of named calendars, as JSON lists of dates by id, as they are in this transaction."""
    secrets: frozenset[str] = frozenset()
    """The names of secrets that there are."""
    limits: NamespaceLimits = NO_LIMITS


Revise = Callable[[str, Schedule | None, bool, Moment], Change]
"""(id, the current schedule, "has an open run?", moment) → the change; raises SchedulerError to refuse all."""
