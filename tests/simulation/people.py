"""What people do, through the use cases behind the API; they too may be told that nothing happened when it has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from random import Random
from typing import Any, NamedTuple

from backend.engine.clock_guard import ClockGuard, GuardedRunner
from backend.errors import SchedulerError
from backend.events import Events
from backend.model.ids import DEFAULT_NAMESPACE
from backend.model.instants import SECOND, rfc3339, to_datetime
from backend.model.run import FINAL_STATES
from backend.service.backfill import BackfillRequest, Backfills
from backend.service.calendars import Calendars
from backend.service.runs import Runs
from backend.service.schedules import Schedules, Surroundings
from backend.store.port import NamespaceStore
from backend.targets.base import TargetRules
from backend.triggers.zones import tzdata_version
from tests.simulation.database import STORE_ID
from tests.simulation.mirror import Mirror, RunNow, ScheduleNow
from tests.simulation.replicas import FaultyRunner
from tests.simulation.scenario import Act, Scenario, document


class Api(NamedTuple):
    """What people go through: it reads the database's clock, and is guarded against it."""

    now: Callable[[], int]
    guard: ClockGuard


class Person:
    """Does what a scenario says, to whatever is there then."""

    def __init__(self, scenario: Scenario, runner: FaultyRunner, mirror: Mirror, api: Api) -> None:
        self._scenario = scenario
        self._mirror = mirror
        self._now = api.now
        self._entropy = Random(f"{scenario.seed}/entropy/{runner.name}")
        store = NamespaceStore(GuardedRunner(runner, api.guard), STORE_ID, DEFAULT_NAMESPACE)
        around = Surroundings(
            rules=TargetRules(allow_commands=False, allow_private_urls=True),
            events=Events(),
            defaults={"retry": {}},
            wake_engine=_nothing,
            wake_workers=_nothing,
            check_leases=_nothing,
            entropy=self._entropy.randbytes,
        )
        self.schedules = Schedules(store, "person", around)
        self.runs = Runs(store, "person", around)
        self.backfills = Backfills(store, "person", around)
        self.calendars = Calendars(store, "person", around)

    async def prepare(self) -> None:
        """Make what there is in the beginning."""
        today = to_datetime(self._now()).date()
        await self.schedules.store.history().note_tzdata(tzdata_version())
        await self.calendars.put("holidays", [today + timedelta(days=1)])
        for wanted in self._scenario.documents.values():
            with suppress(SchedulerError):  # some have nothing to fire
                await self.schedules.create(wanted, self._now())

    async def do(self, act: Act) -> None:
        """Do one thing; what is refused, or did not get through, is not tried again."""
        with suppress(SchedulerError):
            await self._verbs()[act.verb](act, Random(act.seed))

    async def resume_all(self) -> None:
        """Leave nothing paused."""
        for schedule in self._alive():
            if schedule.state == "paused":
                await self.schedules.resume(schedule.id, None, catch_up=False)

    def _verbs(self) -> dict[str, Callable[[Act, Random], Awaitable[Any]]]:
        return {
            "trigger": lambda act, rng: self.runs.trigger(act.schedule, {}),
            "cancel": self._cancel,
            "retry": self._retry,
            "create": self._create,
            "update": self._update,
            "pause": lambda act, rng: self.schedules.pause(act.schedule, "", None),
            "resume": lambda act, rng: self.schedules.resume(act.schedule, None, catch_up=rng.random() < 0.6),
            "delete": lambda act, rng: self.schedules.delete(act.schedule, None),
            "backfill": self._backfill,
            "calendar": self._calendar,
        }

    async def _create(self, act: Act, rng: Random) -> None:
        await self.schedules.create(document(rng, act.schedule, self._now(), self._scenario.turn), self._now())

    async def _update(self, act: Act, rng: Random) -> None:
        wanted = document(rng, act.schedule, self._now(), self._scenario.turn)
        if rng.random() < 0.5:
            await self.schedules.put(act.schedule, wanted, None)
        else:
            name = rng.choice([name for name in wanted if name not in {"id", "target"}])
            await self.schedules.patch(act.schedule, {name: wanted[name]}, None)

    async def _cancel(self, act: Act, rng: Random) -> None:
        runs = self._runs(lambda run: run.state not in FINAL_STATES)
        if runs:
            await self.runs.cancel(rng.choice(runs).id)

    async def _retry(self, act: Act, rng: Random) -> None:
        runs = self._runs(lambda run: run.state in FINAL_STATES)
        if runs:
            await self.runs.retry(rng.choice(runs).id)

    async def _backfill(self, act: Act, rng: Random) -> None:
        begin, length = self._now() - rng.randint(30, 300) * SECOND, rng.randint(10, 200) * SECOND
        asked = {"from": rfc3339(begin), "to": rfc3339(min(begin + length, self._now()))}
        asked["overlap_policy"] = rng.choice(("buffer_all", "allow_all"))
        await self.backfills.start(act.schedule, BackfillRequest.model_validate(asked), self._now())

    async def _calendar(self, act: Act, rng: Random) -> None:
        today = to_datetime(self._now()).date()
        days = [today + timedelta(days=n) for n in range(-1, 3) if rng.random() < 0.4]
        await self.calendars.put("holidays", days)

    def _runs(self, wanted: Callable[[RunNow], bool]) -> list[RunNow]:
        return [run for run in self._mirror.runs.values() if wanted(run)]

    def _alive(self) -> list[ScheduleNow]:
        return [schedule for schedule in self._mirror.schedules.values() if schedule.deleted_at is None]


def _nothing() -> None:
    """Nobody is woken: who plans and works are other processes."""
