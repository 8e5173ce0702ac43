"""The turn of the engine: claim due schedules, plan them, write the runs; then sleep until the next is due."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from backend.clock import Clock
from backend.engine.plan import plan_all
from backend.events import Events, OccurrencesRecorded, OverlapStreak, ScheduleChanged, ScheduleQuarantined
from backend.model.instants import SECOND
from backend.model.plan import Planner
from backend.store.planning import Turn
from backend.store.port import EngineStore

BATCH = 1000
ELSEWHERE = 0.05
"""Seconds until the next look when others are at work on all that is due."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Plans what is due. `poll` is the floor of polling, in seconds.

    `wake_workers` is called after new runs, `check_leases` when runs are to stop.
    """

    store: EngineStore
    clock: Clock
    events: Events
    wake_workers: Callable[[], None]
    poll: float = 1.0
    batch: int = BATCH
    check_leases: Callable[[], None] = lambda: None
    plan: Planner = plan_all

    async def turn(self) -> float:
        """Plan one batch; answers the seconds until the next schedule is due."""
        began = self.clock.monotonic()
        turn = await self.store.take_turn(self.plan, self.batch)
        self._report(turn, (self.clock.monotonic() - began) * 1000)
        if turn.runs:
            self.wake_workers()
        if turn.displaced:
            self.check_leases()
        if turn.next_at is None:
            return self.poll
        if not turn.schedules and turn.next_at <= turn.now:
            # Another engine is at all that is due: look again soon, but do not ask in a circle meanwhile.
            return min(self.poll, ELSEWHERE)
        return min(self.poll, max(0.0, (turn.next_at - turn.now) / SECOND))

    def _report(self, turn: Turn, milliseconds: float) -> None:
        if turn.schedules:
            self.events.emit(OccurrencesRecorded(turn.schedules, turn.runs, turn.dropped, milliseconds))
        for schedule, error in turn.quarantined:
            retry_at = schedule.next_scheduled_at or turn.now
            self.events.emit(ScheduleQuarantined(schedule.namespace, schedule.id, error, retry_at))
        for schedule in turn.streaks:
            self.events.emit(OverlapStreak(schedule.namespace, schedule.id, schedule.skip_count))
        for namespace, schedule_id in turn.completed:
            self.events.emit(ScheduleChanged(namespace, schedule_id, "completed", "scheduler"))
