"""Use cases on named calendars: days such as holidays, kept once, which schedules exclude by name."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from pydantic import BaseModel, ConfigDict, Field

from backend.errors import FieldError, FieldProblem, Refused
from backend.events import CalendarChanged, ScheduleChanged
from backend.model.change import Change, Moment
from backend.model.instants import rfc3339, to_datetime
from backend.model.schedule import Schedule
from backend.service.cursors import read_cursor, write_cursor
from backend.service.drafts import retime
from backend.service.schedules import Surroundings
from backend.service.timings import text_of
from backend.service.validation import parse
from backend.service.views import View
from backend.store.calendars import CalendarRow, Replacement
from backend.store.port import NamespaceStore
from backend.triggers.exclusions import WrittenDate
from backend.triggers.ical import days_of_calendar

MOST_DAYS = 4000
"""Days of one calendar: a schedule that uses it carries them all in its timing."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@~-]{0,199}")


class CalendarBody(BaseModel):
    """The days of a calendar; their order does not count."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: tuple[WrittenDate, ...] = Field(max_length=MOST_DAYS, examples=[["2026-12-25", "2026-12-26"]])


class CalendarView(View):
    """A named calendar."""

    id: str
    days: list[str] = Field(description="Dates, in order.")
    updated_at: str
    updated_by: str


class CalendarAnswer(CalendarView):
    """A calendar that was put, and the schedules that were planned anew by it."""

    replanned: list[str] = Field(description="Ids of the schedules that use it, if its days changed.")


@dataclass(frozen=True, slots=True)
class Calendars:
    """The calendars of one namespace, changed in somebody's name."""

    store: NamespaceStore
    by: str
    around: Surroundings

    async def put(self, id_: str, days: Sequence[date]) -> tuple[CalendarAnswer, bool]:
        """Make or replace a calendar; what uses it is planned anew from now on. Answers whether it is new."""
        if _ID.fullmatch(id_) is None:
            rule = "an id has up to 200 letters, digits and . _ : @ ~ - , and begins with a letter or digit"
            raise Refused([FieldProblem("id", rule, 'choose one such as "uk-holidays"')])

        def revise(_: str, current: Schedule | None, open_run: bool, moment: Moment) -> Change:  # noqa: FBT001
            assert current is not None
            return retime(current, f"calendar:{id_}", moment, open_run=open_run)

        replaced = await self.store.calendars().put(Replacement(id_, text_of(days), self.by, revise))
        changed = [change.schedule for change in replaced.changes if change.verb != "unchanged"]
        if changed or replaced.created:
            self.around.events.emit(CalendarChanged(self.store.namespace, id_, len(days), len(changed), self.by))
        for schedule in changed:
            self.around.events.emit(ScheduleChanged(schedule.namespace, schedule.id, "updated", f"calendar:{id_}"))
        self.around.wake_engine()
        view = _view(replaced.calendar)
        ids = [schedule.id for schedule in changed]
        return CalendarAnswer(**view.model_dump(), replanned=ids), replaced.created

    async def get(self, id_: str) -> CalendarView:
        """Show one calendar, or raise NotFound."""
        return _view(await self.store.calendars().get(id_))

    async def page(self, *, cursor: str | None, limit: int) -> tuple[list[CalendarView], str | None]:
        """Show one page by id, and the cursor of the next."""
        place = read_cursor(cursor, str)
        found = await self.store.calendars().page(after=str(place[0]) if place else "", limit=limit + 1)
        page = found[:limit]
        return [_view(row) for row in page], write_cursor(page[-1].id) if len(found) > limit else None

    async def delete(self, id_: str) -> None:
        """Delete a calendar; Conflict while schedules use it."""
        await self.store.calendars().delete(id_)
        self.around.events.emit(CalendarChanged(self.store.namespace, id_, 0, 0, self.by))


def _view(row: CalendarRow) -> CalendarView:
    return CalendarView(
        id=row.id, days=json.loads(row.days), updated_at=rfc3339(row.updated_at), updated_by=row.updated_by
    )


def read_days(document: object) -> tuple[date, ...]:
    """Read `{"days": [...]}`; Refused names what is wrong."""
    return parse(CalendarBody, document).days


def read_ical(text: str, now: int) -> tuple[date, ...]:
    """Read an iCalendar; its yearly rules are followed for ten years around `now`."""
    try:
        days = days_of_calendar(text, around=to_datetime(now).date())
    except FieldError as error:
        raise Refused([FieldProblem(error.field or "body", error.rule, error.fix)]) from error
    if len(days) > MOST_DAYS:
        rule = f"it has {len(days)} days, a calendar at most {MOST_DAYS}"
        raise Refused([FieldProblem("body", rule, "leave some out, or divide it into several")])
    return days
