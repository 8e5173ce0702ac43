"""Plans schedules anew when the time zone database is another release than the one that planned them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from backend.engine.due import next_nominal
from backend.engine.loop import Turn
from backend.engine.plan import scheduled_at
from backend.events import Events, ScheduleRetimed, TzdataChanged
from backend.model.instants import MINUTE
from backend.model.schedule import Schedule
from backend.store.tzdata import DONE, Retimed, Soon, TimezoneStore

BATCH = 200
BREATH = 0.01
REST = 3600.0
SOON = 10 * MINUTE
"""What is due within this time of a start is planned anew before the engine turns."""
LONGEST_SHIFT = 26 * 60 * MINUTE
"""No change of a zone's rules has ever moved its clocks further."""
MOST_IN_A_SHIFT = 200
"""What comes more often within that time has its wildcards, and follows real time."""


@dataclass(slots=True)
class Tzdata:
    """Walks over all schedules, once per release of the database; `release` is the one in use."""

    store: TimezoneStore
    events: Events
    release: str
    _changed: int = field(default=0)

    def soon_before(self, turn: Turn) -> Turn:
        """Plan anew, before the first of these turns, what is due soon: nothing fires at a time that has moved."""
        done = False

        async def first_anew() -> float:
            nonlocal done
            if not done:
                await self.before_the_first_turn()
                done = True
            return await turn()

        return first_anew

    async def before_the_first_turn(self) -> None:
        """Plan anew what is due soon."""
        soon: Soon | None = Soon(SOON)
        while soon is not None:
            retimed, soon = await self.store.retime_due(soon, self.release, retime_all, BATCH)
            self._report(retimed)

    async def turn(self) -> float:
        """Plan one batch anew; answers the seconds until the next."""
        walk = await self.store.retime(self.release, retime_all, BATCH)
        self._report(walk.retimed)
        if walk.state is not DONE:
            return BREATH
        if walk.before is not None:
            self.events.emit(TzdataChanged(walk.before, self.release, self._changed))
            self._changed = 0
        return REST

    def _report(self, retimed: Sequence[Retimed]) -> None:
        self._changed += len(retimed)
        for one in retimed:
            schedule = one.schedule
            fact = ScheduleRetimed(schedule.namespace, schedule.id, one.before, schedule.next_nominal_at, self.release)
            self.events.emit(fact)


def retime_all(schedules: Sequence[Schedule]) -> list[Retimed]:
    """Plan each anew; those whose next time stays are left out, as is what cannot be planned."""
    return [found for schedule in schedules if (found := _retimed_or_none(schedule)) is not None]


def _retimed_or_none(schedule: Schedule) -> Retimed | None:
    try:
        return retime(schedule)
    except Exception:  # the engine will quarantine it when its time comes; the others go on
        return None


def retime(schedule: Schedule) -> Retimed | None:
    """Find the next time after the cursor by the zones' present rules; None when it stays.

    What has been decided stays so: nothing at or before the cursor comes again, nor the last occurrence at the
    new time that its rule now gives it.
    """
    following = next_nominal(schedule.triggers, schedule.cursor_at, schedule.effective_at)
    if following == schedule.next_nominal_at:
        return None
    moved, skips = schedule, False
    if following is not None and _is_the_last_one_again(schedule, following):
        moved, skips = schedule._replace(cursor_at=following, effective_at=following), True
        following = next_nominal(schedule.triggers, following, following)
    return Retimed(scheduled_at(moved, following), schedule.next_nominal_at, skips)


def _is_the_last_one_again(schedule: Schedule, following: int) -> bool:
    """Tell an occurrence that has been decided already, when the clocks of its zone were thought to be others."""
    cursor = schedule.cursor_at
    if cursor <= schedule.effective_at or following - cursor > LONGEST_SHIFT:
        return False
    # Without a bound by `effective_at`: the question is what the rule says, not what was planned.
    if next_nominal(schedule.triggers, cursor - 1, 0) == cursor:
        return False
    last, instant = None, next_nominal(schedule.triggers, cursor - LONGEST_SHIFT, 0)
    for _ in range(MOST_IN_A_SHIFT):
        if instant is None or instant > cursor:
            return last is None or following - cursor < cursor - last
        last, instant = instant, next_nominal(schedule.triggers, instant, 0)
    return False
