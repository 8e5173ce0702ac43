"""Use cases on the runs of one namespace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from backend.model.ids import uuid7
from backend.model.instants import DAY
from backend.model.plan import NewRun
from backend.model.run import RunState, TriggerType
from backend.model.schedule import Schedule
from backend.service.cursors import read_cursor, write_cursor
from backend.service.schedules import Surroundings
from backend.service.validation import check_text
from backend.service.views import RunView, run_view
from backend.store.port import NamespaceStore
from backend.store.repeats import shown
from backend.store.runs import Place, RunFilter, RunRow


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of one namespace, seen and changed in somebody's name."""

    store: NamespaceStore
    by: str
    around: Surroundings

    async def get(self, id_: str) -> RunView:
        """Show one run, or raise NotFound."""
        return run_view(await self.store.run(id_))

    async def page(self, wanted: RunFilter, *, cursor: str | None, limit: int) -> tuple[list[RunView], str | None]:
        """Show one page, newest nominal time first, and the cursor of the next."""
        place = read_cursor(cursor, int, str)
        after = Place(int(place[0]), str(place[1])) if place else None
        found = await self.store.runs(wanted, after=after, limit=limit + 1)
        last = found[limit - 1].run if len(found) > limit else None
        return [run_view(record) for record in found[:limit]], write_cursor(last.nominal_at, last.id) if last else None

    async def trigger(self, schedule_id: str, given: dict[str, Any]) -> RunView:
        """Run a schedule now, beside its own times; `given` goes over the schedule's input."""
        check_text(given, "input")

        def make(schedule: Schedule, now: int) -> NewRun:
            id_ = uuid7(now, self.around.entropy(10))
            return _beside_the_rule(schedule, id_, now, now)._replace(
                backfill_id=f"manual:{id_}",
                trigger_type=TriggerType.MANUAL,
                input=orjson.dumps(given).decode() if given else None,
            )

        record = await self.store.start_run(schedule_id, make, shown(run_view))
        self.around.wake_workers()
        return run_view(record)

    async def retry(self, id_: str) -> RunView:
        """Run again what has ended: a new run with the same nominal time."""

        def make(schedule: Schedule, ended: RunRow, now: int) -> NewRun:
            new = uuid7(ended.nominal_at, self.around.entropy(10))
            return _beside_the_rule(schedule, new, ended.nominal_at, now)._replace(
                backfill_id=f"retry:{new}", trigger_type=TriggerType.RETRY, input=ended.input
            )

        record = await self.store.retry_run(id_, make, shown(run_view))
        self.around.wake_workers()
        return run_view(record)

    async def cancel(self, id_: str) -> RunView:
        """End an open run; if a worker is at it, it is stopped."""
        record = await self.store.cancel_run(id_, self.by, shown(run_view))
        self.around.check_leases()
        return run_view(record)


def _beside_the_rule(schedule: Schedule, id_: str, nominal_at: int, now: int) -> NewRun:
    # A next time that is over already (the engine is behind, or the schedule in error) is no bound for retries.
    following, bound = schedule.next_nominal_at, now + DAY
    if following is not None and following > now:
        bound = min(following, bound)
    return NewRun(
        id=id_,
        schedule_key=schedule.key,
        namespace=schedule.namespace,
        nominal_at=nominal_at,
        backfill_id="",
        trigger_type=TriggerType.MANUAL,
        state=RunState.QUEUED,
        reason=None,
        scheduled_at=now,
        queued_at=now,
        available_at=now,
        finished_at=None,
        retry_until_at=bound,
        chained=0,
        missed_count=0,
        missed_first_at=None,
        missed_last_at=None,
        input=None,
        revision=schedule.revision,
    )
