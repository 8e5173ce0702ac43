"""Use cases on many schedules at once: a maintenance window pauses what fits a filter, and resumes it afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from backend.errors import Conflict, FieldError
from backend.model.change import Change, Moment
from backend.model.schedule import Schedule, ScheduleState
from backend.service import drafts
from backend.service.cursors import read_cursor, write_cursor
from backend.service.schedules import Schedules
from backend.service.tags import TagFilter
from backend.service.views import View
from backend.store.schedules import ScheduleFilter, Wish
from backend.targets.registry import TargetKind

AT_ONCE = 500
"""Schedules of one transaction, for which others wait."""
MOST = 10_000
"""Schedules of one request; more by its cursor."""
TOLD = 100
"""Schedules that an answer names."""
PAUSABLE = frozenset({ScheduleState.ACTIVE, ScheduleState.ERROR})
Text = Annotated[str, Field(max_length=200)]


class Selection(BaseModel):
    """Which schedules; what is left out does not count, and all that is given must hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: ScheduleState | None = None
    tag: TagFilter | None = Field(default=None, description="`name:value`")
    target: TargetKind | None = Field(default=None, description="The kind of target.")
    owner: Text | None = Field(default=None, description="The whole owner.")
    name: Text | None = Field(default=None, description="The whole name.")
    q: Text | None = Field(default=None, description="A part of the id or name.")


EVERYTHING = Selection()


class _ManyBody(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    filter: Selection = EVERYTHING
    all: StrictBool = Field(default=False, description="Needed where the filter is empty.")
    dry_run: StrictBool = Field(default=False, description="Say which, and change nothing.")
    cursor: Annotated[str, Field(max_length=500)] | None = Field(
        default=None, description="`next_cursor` of the answer before."
    )

    @model_validator(mode="after")
    def _is_meant(self) -> _ManyBody:
        if self.filter == EVERYTHING and not self.all:
            raise FieldError("it is empty", 'name what is meant, or say {"all": true}', "filter")
        return self


class PauseManyBody(_ManyBody):
    """Which schedules to pause, and why."""

    note: str = Field(default="", max_length=1000)


class ResumeManyBody(_ManyBody):
    """Which paused schedules to resume."""

    note: str | None = Field(
        default=None, max_length=1000, description="Only those paused with this note; else all that a person paused."
    )
    catch_up: StrictBool = False


class ManyItem(View):
    """What happened to one schedule."""

    id: str
    change: str = Field(description="`paused`, `resumed`, or `refused`.")
    detail: str | None = Field(default=None, description="Why it was refused.")


class ManyView(View):
    """What happened to the schedules of a filter."""

    matched: int = Field(description="Schedules that fit the filter.")
    changed: int = Field(description="How many were changed, or would be.")
    refused: int = Field(description="How many could not be.")
    items: list[ManyItem] = Field(description="The first hundred that were changed or refused.")
    next_cursor: str | None = Field(description="Where to go on, after ten thousand; null when all has been seen.")


Turn = Callable[[Schedule, Moment, bool], Change | None]
"""(the schedule, moment, "has an open run?") → its change; None to leave it; Conflict to refuse it."""


@dataclass(frozen=True, slots=True)
class Maintenance:
    """Many schedules of one namespace, changed batch by batch: each whole or not at all, all of them repeatable."""

    schedules: Schedules

    async def pause(self, body: PauseManyBody) -> ManyView:
        """Pause whatever fits and fires; what is paused already keeps its author and note."""

        def turn(current: Schedule, moment: Moment, busy: bool) -> Change | None:  # noqa: FBT001
            if current.state not in PAUSABLE:
                return None
            return drafts.pause(current, body.note, self.schedules.by, moment, open_run=busy)

        return await self._walk(body, turn)

    async def resume(self, body: ResumeManyBody) -> ManyView:
        """Resume what was paused with this note, or by any person; what has paused itself only by its note."""

        def turn(current: Schedule, moment: Moment, busy: bool) -> Change | None:  # noqa: FBT001
            by_itself = not (current.note_by or "").startswith("key:")
            if current.state != ScheduleState.PAUSED or (by_itself if body.note is None else body.note != current.note):
                return None
            return drafts.resume(current, self.schedules.by, moment, open_run=busy, catch_up=body.catch_up)

        return await self._walk(body, turn)

    async def _walk(self, body: _ManyBody, turn: Turn) -> ManyView:
        place = read_cursor(body.cursor, int)
        after, matched, items, more = int(place[0]) if place else 0, 0, [], True
        wanted = ScheduleFilter(**body.filter.model_dump())
        while more and matched < MOST:
            page = await self.schedules.store.schedules(wanted, after=after, limit=AT_ONCE)
            ids, more = [one.schedule.id for one in page], len(page) == AT_ONCE
            after, matched = page[-1].schedule.key if page else after, matched + len(page)
            items += await self._change(ids, turn, dry_run=body.dry_run)
        refused = sum(item.change == "refused" for item in items)
        return ManyView(
            matched=matched,
            changed=len(items) - refused,
            refused=refused,
            items=items[:TOLD],
            next_cursor=write_cursor(after) if more else None,
        )

    async def _change(self, ids: list[str], turn: Turn, *, dry_run: bool) -> list[ManyItem]:
        refused: dict[str, str] = {}

        def revise(id_: str, current: Schedule | None, busy: bool, moment: Moment) -> Change:  # noqa: FBT001
            # Deleted since it was listed: there is nothing left to change.
            change = None
            try:
                change = None if current is None else turn(current, moment, busy)
            except Conflict as conflict:
                refused[id_] = str(conflict)
            return change or Change("unchanged", current or drafts.nothing(id_), self.schedules.by)

        changes = await self.schedules.change(Wish(ids, revise, dry_run=dry_run)) if ids else []
        done = [ManyItem(id=one.schedule.id, change=one.verb) for one in changes if one.verb != "unchanged"]
        return done + [ManyItem(id=id_, change="refused", detail=why) for id_, why in refused.items()]
