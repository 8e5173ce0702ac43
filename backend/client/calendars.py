"""What can be asked about calendars."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import TYPE_CHECKING

from backend.client import readers
from backend.client.flow import Call, Listing
from backend.client.operation import Speaking, operation, walk
from backend.client.wire import ICAL, Query, Request

if TYPE_CHECKING:
    from backend.service.calendars import CalendarAnswer, CalendarView
    from backend.service.views import Page


def _written(day: str | date) -> str:
    return str(day.date() if isinstance(day, datetime) else day)


class Calendars(Speaking):
    """Calendars: days such as holidays, kept once, which schedules exclude by name."""

    @operation
    def put_calendar(self, id: str, days: str | Iterable[str | date]) -> Call[CalendarAnswer]:
        """Make or replace a calendar from dates, or from the text of an iCalendar file."""
        if isinstance(days, str):
            request = Request(method="PUT", path=("calendars", id), body=days, media=ICAL)
        else:
            request = Request(method="PUT", path=("calendars", id), body={"days": list(map(_written, days))})
        return Call(request, readers.reading(readers.calendar_answer))

    @operation
    def get_calendar(self, id: str) -> Call[CalendarView]:
        """Show a calendar."""
        return Call(_at("GET", id), readers.reading(readers.calendar))

    @operation
    def list_calendars(self, *, limit: int = 50, cursor: str | None = None) -> Call[Page[CalendarView]]:
        """Read one page of calendars, by id."""
        return Call(_at("GET", query={"limit": limit, "cursor": cursor}), readers.page_of(readers.calendar))

    @walk
    def iterate_calendars(self, *, limit: int | None = None) -> Listing[CalendarView]:
        """Read all calendars, by id."""
        return Listing(_at("GET"), readers.calendar, limit)

    @operation
    def delete_calendar(self, id: str) -> Call[None]:
        """Delete a calendar; Conflict while schedules use it."""
        return Call(_at("DELETE", id), readers.nothing)


def _at(method: str, *path: str, query: Query | None = None) -> Request:
    return Request(method=method, path=("calendars", *path), query=query or {})
