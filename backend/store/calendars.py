"""Transactions on named calendars: a change reaches every schedule that uses one, or nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from backend.errors import Conflict, NotFound
from backend.model.change import Change, Revise
from backend.model.ids import NamespaceId
from backend.store.audit_log import Entry, note
from backend.store.namespaces import hold_namespace
from backend.store.operation import Operation, Query, Runner, now
from backend.store.schedules import Wish, calendar_days, change_schedules

MOST_CALENDARS = 200
"""Calendars of one namespace."""
ALL = 2**62
NAMED = 10
"""Users of a calendar that a refusal names."""


class CalendarRow(NamedTuple):
    """A named calendar. `days` is a JSON list of dates, in order."""

    id: str
    days: str
    updated_at: int
    updated_by: str


class Replacement(NamedTuple):
    """New days for a calendar, and what they make of a schedule that uses it."""

    id: str
    days: str
    by: str
    revise: Revise


class Replaced(NamedTuple):
    """A calendar as it is now, what became of its users, and whether it is new."""

    calendar: CalendarRow
    changes: Sequence[Change]
    created: bool


def put_calendar(namespace: str, store_id: str, wanted: Replacement) -> Operation[Replaced]:
    """Make or replace a calendar, and plan what uses it anew. The same days change nothing.

    If we die before the commit, neither the calendar nor a schedule has changed.
    """
    yield from hold_namespace(namespace)
    known = yield Query("calendar_by_id", {"namespace": namespace, "id": wanted.id})
    if known and known[0][1] == wanted.days:
        return Replaced(CalendarRow._make(known[0]), (), created=False)
    if not known:
        yield from _check_number(namespace)
    row = CalendarRow(wanted.id, wanted.days, (yield from now()), wanted.by)
    yield Query("put_calendar", {"namespace": namespace, **row._asdict()})
    before = {"days": json.loads(known[0][1])} if known else None
    verb = "updated" if known else "created"
    entry = Entry(namespace, "calendar", wanted.id, verb, before, {"days": json.loads(wanted.days)}, wanted.by)
    yield from note([entry], row.updated_at)
    users = yield from calendar_users(namespace, wanted.id, ALL)
    changes = yield from change_schedules(namespace, store_id, Wish(users, wanted.revise, calendars=None))
    return Replaced(row, changes, created=not known)


def _check_number(namespace: str) -> Operation[None]:
    number = (yield Query("count_calendars", {"namespace": namespace}))[0][0]
    if number >= MOST_CALENDARS:
        raise Conflict(f"the namespace has {MOST_CALENDARS} calendars already; delete one, or put days into another")


def get_calendar(namespace: str, id_: str) -> Operation[CalendarRow]:
    """Read one calendar; NotFound if there is none."""
    rows = yield Query("calendar_by_id", {"namespace": namespace, "id": id_})
    if not rows:
        raise _no_such_calendar(id_)
    return CalendarRow._make(rows[0])


def list_calendars(namespace: str, *, after: str, limit: int) -> Operation[list[CalendarRow]]:
    """Read one page of calendars with ids above `after`."""
    rows = yield Query("list_calendars", {"namespace": namespace, "after": after, "limit": limit})
    return [CalendarRow._make(row) for row in rows]


def calendar_users(namespace: str, id_: str, limit: int) -> Operation[list[str]]:
    """Name the schedules that use a calendar."""
    rows = yield Query("schedules_with_calendar", {"namespace": namespace, "id": id_, "limit": limit})
    return [row[0] for row in rows]


def delete_calendar(namespace: str, id_: str) -> Operation[None]:
    """Forget a calendar; Conflict while schedules use it, NotFound if there is none."""
    yield from hold_namespace(namespace)
    calendar = yield from get_calendar(namespace, id_)
    users = yield from calendar_users(namespace, id_, NAMED + 1)
    if users:
        named = ", ".join(users[:NAMED]) + (" and more" if len(users) > NAMED else "")
        raise Conflict(f"schedules use the calendar {id_!r}: {named}; take it out of their exclusions first")
    yield Query("delete_calendar", {"namespace": namespace, "id": id_})
    gone = Entry(namespace, "calendar", id_, "deleted", {"days": json.loads(calendar.days)})
    yield from note([gone], (yield from now()))


@dataclass(frozen=True, slots=True)
class CalendarStore:
    """What may be seen and done with the calendars of one namespace."""

    runner: Runner
    store_id: str
    namespace: NamespaceId

    async def put(self, wanted: Replacement) -> Replaced:
        """Make or replace a calendar, and plan what uses it anew."""
        return await self.runner.write(put_calendar(self.namespace, self.store_id, wanted))

    async def get(self, id_: str) -> CalendarRow:
        """Read one calendar, or raise NotFound."""
        return await self.runner.read(get_calendar(self.namespace, id_))

    async def page(self, *, after: str, limit: int) -> list[CalendarRow]:
        """Read one page of calendars with ids above `after`."""
        return await self.runner.read(list_calendars(self.namespace, after=after, limit=limit))

    async def days(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Read the days of these calendars, as JSON lists of dates by id; unknown ones are left out."""
        return await self.runner.read(calendar_days(self.namespace, ids))

    async def delete(self, id_: str) -> None:
        """Forget a calendar; Conflict while schedules use it."""
        await self.runner.write(delete_calendar(self.namespace, id_))


def _no_such_calendar(id_: str) -> NotFound:
    return NotFound(f"there is no calendar {id_!r} in this namespace")
