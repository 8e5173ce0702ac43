"""A store on a file of its own, a clock that stands still, and short words for what the parts around it do."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from backend.engine.definition import ScheduleDefinition
from backend.engine.errand import load_errand
from backend.engine.plan import plan_all
from backend.engine.retry import settle, settle_lost
from backend.model.attempt import AttemptResult, Ended, Limits
from backend.model.change import Change, Moment
from backend.model.ids import DEFAULT_NAMESPACE, uuid7
from backend.model.instants import DAY, SECOND
from backend.model.plan import NewRun
from backend.model.run import AttemptState, ClaimedRun
from backend.model.schedule import Schedule
from backend.service import drafts
from backend.service.drafts import Draft
from backend.store.leasing import Claim, Finish, Lessee
from backend.store.planning import Reaping, Turn
from backend.store.port import Store
from backend.store.runs import Place, RunFilter, RunRecord, RunRow
from backend.store.schedules import Wish
from tests.databases import sql

START = 1_800_000_000 * SECOND
LEASE = timedelta(seconds=15)
EVERY_MINUTE = ({"kind": "interval", "every": "1m"},)


class StillClock:
    """Moves only when a test says so."""

    def __init__(self, at: int = START) -> None:
        self.at = at

    def now(self) -> int:
        return self.at

    def monotonic(self) -> float:
        return self.at / SECOND

    def uptime(self) -> float:
        return self.at / SECOND

    def go(self, **length: float) -> int:
        self.at += timedelta(**length) // timedelta(microseconds=1)
        return self.at


@dataclass
class World:
    """A store with an engine and a worker whose every step is the test's."""

    store: Store
    clock: StillClock
    url: str
    entropy: Any = field(default_factory=lambda: itertools.count(1))

    async def put(self, id_: str = "job", **fields: Any) -> Schedule:
        document = {"id": id_, "triggers": EVERY_MINUTE, "target": {"kind": "command", "argv": ["true"]}} | fields
        draft = Draft(ScheduleDefinition.model_validate(document), "tester", source=document.pop("source", None))

        def revise(_: str, current: Schedule | None, open_run: bool, moment: Moment) -> Change:
            return drafts.revise(draft, current, moment, open_run=open_run)

        return (await self.change(Wish([id_], revise)))[0].schedule

    async def change(self, wish: Wish) -> list[Change]:
        return await self.store.namespace(DEFAULT_NAMESPACE).change(wish)

    async def delete(self, id_: str = "job") -> None:
        await self._revise(id_, lambda s, moment, open_run: drafts.delete(s, "tester", moment, open_run=open_run))

    async def pause(self, id_: str = "job") -> None:
        await self._revise(id_, lambda s, moment, open_run: drafts.pause(s, "", "tester", moment, open_run=open_run))

    async def resume(self, id_: str = "job", *, catch_up: bool = False) -> None:
        await self._revise(
            id_,
            lambda s, moment, open_run: drafts.resume(s, "tester", moment, open_run=open_run, catch_up=catch_up),
        )

    async def _revise(self, id_: str, act: Any) -> None:
        def revise(_: str, current: Schedule | None, open_run: bool, moment: Moment) -> Change:
            assert current is not None
            change: Change = act(current, moment, open_run)
            return change

        await self.change(Wish([id_], revise))

    async def schedule(self, id_: str = "job") -> Schedule:
        return (await self.store.namespace(DEFAULT_NAMESPACE).schedule(id_)).schedule

    async def turn(self, limit: int = 1000) -> Turn:
        return await self.store.engine().take_turn(plan_all, limit)

    async def reap(self, limit: int = 1000) -> Reaping:
        return await self.store.engine().reap(settle_lost, limit, LEASE)

    async def trigger(self, id_: str = "job") -> RunRow:
        number = next(self.entropy)

        def make(schedule: Schedule, now: int) -> NewRun:
            new = uuid7(now, number.to_bytes(10, "big"))
            return manual_run(schedule, new, now)

        return (await self.store.namespace(DEFAULT_NAMESPACE).start_run(id_, make)).run

    async def cancel(self, run_id: str) -> RunRecord:
        return await self.store.namespace(DEFAULT_NAMESPACE).cancel_run(run_id, "tester")

    async def claim(self, limit: int = 100, *, token: str = "t1", worker: str = "w1") -> Claim:
        return await self.store.worker().claim(Lessee(worker, token, LEASE), limit)

    async def finish(self, claim: Claim, outcome: AttemptState = AttemptState.SUCCEEDED, **more: Any) -> Finish:
        results = [result_of(claim, run, outcome, **more) for run in claim.runs]
        return await self.store.worker().finish(results, settle)

    async def work(self, outcome: AttemptState = AttemptState.SUCCEEDED, **more: Any) -> Finish:
        """Claim all that waits, and end it."""
        return await self.finish(await self.claim(), outcome, **more)

    async def run(self, run_id: str) -> RunRecord:
        return await self.store.namespace(DEFAULT_NAMESPACE).run(run_id)

    async def runs(self, **wanted: Any) -> list[RunRow]:
        records = await self.records(**wanted)
        return [record.run for record in records]

    async def records(self, *, after: Place | None = None, limit: int = 500, **wanted: Any) -> list[RunRecord]:
        return await self.store.namespace(DEFAULT_NAMESPACE).runs(RunFilter(**wanted), after=after, limit=limit)

    async def states(self, **wanted: Any) -> list[str]:
        """The states of all runs, oldest nominal time first."""
        return [run.state for run in reversed(await self.runs(**wanted))]

    def sql(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        """Ask the database itself, on a connection of our own."""
        return sql(self.url, statement, *params)


def result_of(
    claim: Claim,
    run: ClaimedRun,
    outcome: AttemptState,
    *,
    permanent: bool = False,
    error: str | None = None,
    token: str = "t1",
    retry_after: float | None = None,
) -> AttemptResult:
    schedule_id, text = claim.errands[run.schedule_key]
    errand = load_errand(text)
    limits = Limits(errand.retry, errand.delivery, run.losses + run.released, run.retry_until_at)
    ended = Ended(run.id, run.attempt, outcome, permanent, retry_after)
    said = error if error is not None or outcome is AttemptState.SUCCEEDED else "boom"
    return AttemptResult(
        run=run,
        token=token,
        worker="w1",
        schedule_id=schedule_id,
        target=errand.target.kind,
        ended=ended,
        limits=limits,
        error=said,
        output="out",
        output_truncated=False,
        status_code=None,
    )


def manual_run(schedule: Schedule, id_: str, now: int) -> NewRun:
    return NewRun(
        id=id_,
        schedule_key=schedule.key,
        namespace=schedule.namespace,
        nominal_at=now,
        backfill_id=f"manual:{id_}",
        trigger_type="manual",
        state="queued",
        reason=None,
        scheduled_at=now,
        queued_at=now,
        available_at=now,
        finished_at=None,
        retry_until_at=now + DAY,
        chained=0,
        missed_count=0,
        missed_first_at=None,
        missed_last_at=None,
        input=None,
        revision=schedule.revision,
    )


def nominal_times(runs: Sequence[RunRow]) -> list[int]:
    return [run.nominal_at for run in runs]
