"""Transactions that plan schedules anew after a change of the time zone database."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple

from backend.model.schedule import Schedule
from backend.store.operation import Batch, Operation, Query, Runner, now, think
from backend.store.planning import with_open_run

VERSION = "tzdata_version"
PLACE = "tzdata_place"
"""How far the walk has come: `[release, schedule key]`."""


class Walked(Enum):
    """How far a walk over all schedules is."""

    DONE = "done"
    MORE = "more"


DONE: Final = Walked.DONE


class Retimed(NamedTuple):
    """A schedule with its new times, and its next nominal time before; `skips`: an occurrence was passed over."""

    schedule: Schedule
    before: int | None
    skips: bool


Retime = Callable[[Sequence[Schedule]], Sequence[Retimed]]


class Soon(NamedTuple):
    """What is due within so many microseconds from now, after a place in that order."""

    within: int
    after_at: int = 0
    after_key: int = 0


class Walk(NamedTuple):
    """What one batch did; `before` is the former release, when this batch has been the last."""

    state: Walked
    retimed: Sequence[Retimed] = ()
    before: str | None = None


def retime_batch(release: str, retime: Retime, limit: int) -> Operation[Walk]:
    """Plan the next few schedules anew, unless all have been by this release.

    The place is kept with each batch: if we die between two, the walk goes on where it was. If we die after the
    last, the release is remembered and there is nothing to do.
    """
    facts = yield from _facts()
    before = facts.get(VERSION)
    if before is None:
        yield Query("put_info", {"key": VERSION, "value": release})
    if before in {None, release}:
        return Walk(DONE)
    after_key = _place(facts.get(PLACE), release)
    rows = yield Query("zoned_schedules", {"after_key": after_key, "limit": limit})
    schedules = [with_open_run(row)[0] for row in rows]
    yield from think()
    retimed = yield from _write(retime(_live(schedules)), release)
    if len(rows) == limit:
        yield Query("change_info", {"key": PLACE, "value": json.dumps([release, schedules[-1].key])})
        return Walk(Walked.MORE, retimed)
    yield Query("change_info", {"key": VERSION, "value": release})
    return Walk(DONE, retimed, before)


def retime_due(
    soon: Soon, release: str, retime: Retime, limit: int
) -> Operation[tuple[Sequence[Retimed], Soon | None]]:
    """Plan the next few that are due within a time anew; answers what changed, and where to go on."""
    facts = yield from _facts()
    if facts.get(VERSION, release) == release:
        return (), None
    until = (yield from now()) + soon.within
    params = {"after_at": soon.after_at, "after_key": soon.after_key, "until": until, "limit": limit}
    rows = yield Query("zoned_schedules_due", params)
    schedules = [with_open_run(row)[0] for row in rows]
    yield from think()
    retimed = yield from _write(retime(_live(schedules)), release)
    if len(rows) < limit:
        return retimed, None
    return retimed, Soon(soon.within, schedules[-1].next_scheduled_at or 0, schedules[-1].key)


def _live(schedules: Sequence[Schedule]) -> list[Schedule]:
    # Somebody may have been at work on one while we waited for it.
    return [one for one in schedules if one.next_nominal_at is not None and one.deleted_at is None]


def _facts() -> Operation[dict[str, str]]:
    return {row[0]: row[1] for row in (yield Query("tzdata_facts"))}


def _place(text: str | None, release: str) -> int:
    walked, key = json.loads(text) if text else (release, 0)
    return int(key) if walked == release else 0


def _write(retimed: Sequence[Retimed], release: str) -> Operation[Sequence[Retimed]]:
    instant = yield from now()
    yield Batch("update_schedules", [one.schedule._asdict() for one in retimed])
    skipped = [_revision_row(one.schedule, release, instant) for one in retimed if one.skips]
    yield Batch("insert_revisions", skipped)
    return retimed


def _revision_row(schedule: Schedule, release: str, instant: int) -> dict[str, Any]:
    """Keep that an occurrence was passed over, for whoever recomputes the ledger."""
    return {
        "schedule_key": schedule.key,
        "revision": schedule.revision,
        "verb": "updated",
        "definition": None,
        "triggers": schedule.triggers,
        "state": schedule.state,
        "note": schedule.note,
        "effective_at": schedule.effective_at,
        "cursor_at": schedule.cursor_at,
        "planned_to_at": schedule.cursor_at,
        "changed_at": instant,
        "changed_by": f"tzdata:{release}",
    }


@dataclass(frozen=True, slots=True)
class TimezoneStore:
    """What a change of the time zone database needs."""

    runner: Runner

    async def retime(self, release: str, retime: Retime, limit: int) -> Walk:
        """Plan the next few schedules anew, unless all have been by this release."""
        return await self.runner.write(retime_batch(release, retime, limit))

    async def retime_due(
        self, soon: Soon, release: str, retime: Retime, limit: int
    ) -> tuple[Sequence[Retimed], Soon | None]:
        """Plan the next few that are due soon anew; answers where to go on."""
        return await self.runner.write(retime_due(soon, release, retime, limit))
