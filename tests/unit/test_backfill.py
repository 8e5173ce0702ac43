"""Backfills: which occurrences of the past, how many at a time, and never before what is live."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from backend.errors import Conflict, NotFound, Refused
from backend.events import BackfillStarted, Events, Fact
from backend.model.ids import DEFAULT_NAMESPACE
from backend.model.instants import DAY, MINUTE, SECOND, rfc3339
from backend.model.run import AttemptState
from backend.service.backfill import MOST, BackfillRequest, Backfills, BackfillView
from backend.service.schedules import Surroundings
from backend.service.validation import parse
from backend.store.leasing import Lessee
from backend.store.open import open_store
from backend.targets.base import TargetRules
from tests.databases import url_in
from tests.store.world import LEASE, START, StillClock, World

pytestmark = [pytest.mark.anyio, pytest.mark.each_database]
HOURLY = [{"kind": "cron", "expression": "0 * * * *"}]
MINUTELY = [{"kind": "cron", "expression": "* * * * *"}]
HOUR = 60 * MINUTE


class Town(World):
    """A world in which somebody backfills."""

    facts: list[Fact]
    woken: int = 0

    async def backfill(self, id_: str = "job", *, back: int = 5 * HOUR, to: int = START, **more: Any) -> BackfillView:
        request = parse(BackfillRequest, {"from": rfc3339(to - back), "to": rfc3339(to)} | more)
        return await self.backfills().start(id_, request, self.clock.at)

    def backfills(self) -> Backfills:
        events, self.facts = Events(), []
        events.subscribe(self.facts.append)
        numbers = itertools.count(len(self.sql("select distinct backfill_id from runs")))
        around = Surroundings(
            rules=TargetRules(allow_commands=True, allow_private_urls=True),
            events=events,
            defaults={},
            wake_engine=lambda: None,
            wake_workers=self._wake,
            check_leases=lambda: None,
            entropy=lambda size: next(numbers).to_bytes(size, "big"),
        )
        return Backfills(self.store.namespace(DEFAULT_NAMESPACE), "ann", around)

    def _wake(self) -> None:
        self.woken += 1

    def counts(self) -> dict[str, int]:
        return dict(self.sql("select state, count(*) from runs where trigger_type = 'backfill' group by 1"))


@asynccontextmanager
async def town(folder: Path) -> AsyncIterator[Town]:
    clock = StillClock()
    url = url_in(folder)
    store = await open_store(url, clock=clock)
    try:
        yield Town(store, clock, url)
    finally:
        store.close()


@pytest.mark.parametrize(
    ("changes", "field", "rule"),
    [
        ({"overlap_policy": "skip"}, "overlap_policy", "would leave out whatever is asked for"),
        ({"overlap_policy": "buffer_one"}, "overlap_policy", "all that is asked for but two"),
        ({"overlap_policy": "cancel_other"}, "overlap_policy", "would cancel the one before"),
        ({"overlap_policy": "terminate_other"}, "overlap_policy", "would end the one before"),
        ({"overlap_policy": "never"}, "overlap_policy", "is not an overlap policy"),
        ({"to": "2026-01-01T00:00:00Z"}, "to", "not after from"),
        ({"to": "yesterday"}, "to", "not an instant"),
        ({"from": None}, "from", "not an instant"),
        ({"until": "x"}, "until", "there is no such field"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_with_the_reason(changes, field, rule):
    with pytest.raises(Refused) as refused:
        parse(BackfillRequest, {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"} | changes)
    [problem] = refused.value.problems
    assert problem.field == field
    assert rule in problem.rule


async def test_the_occurrences_of_the_range_run_one_after_another(tmp_path):
    async with town(tmp_path) as world:
        await world.put(triggers=HOURLY)
        view = await world.backfill()
        assert (view.count, view.first, view.last) == (5, rfc3339(START - 5 * HOUR), rfc3339(START - HOUR))
        assert view.nominal_times[0] == view.first
        runs = list(reversed(await world.runs()))
        assert [run.nominal_at for run in runs] == [START - n * HOUR for n in range(5, 0, -1)]
        assert {(run.trigger_type, run.backfill_id) for run in runs} == {("backfill", view.backfill_id)}
        assert len({run.id for run in runs}) == 5
        for done in range(5):
            assert await world.states() == ["succeeded"] * done + ["queued"] + ["held"] * (4 - done)
            await world.work()
        assert world.woken == 1
        assert world.facts == [BackfillStarted("default", "job", str(view.backfill_id), 5, "ann")]


async def test_under_allow_all_four_run_at_a_time_however_many_end_at_once(tmp_path):
    async with town(tmp_path) as world:
        await world.put(triggers=HOURLY)
        await world.backfill(back=13 * HOUR, overlap_policy="allow_all")
        for left in (9, 5, 1):
            assert world.counts()["queued"] == 4
            assert world.counts()["held"] == left
            await world.work()
        assert world.counts() == {"succeeded": 12, "queued": 1}


async def test_a_run_that_fails_or_is_cancelled_lets_the_next_one_go(tmp_path):
    async with town(tmp_path) as world:
        await world.put(triggers=HOURLY)
        await world.backfill(back=3 * HOUR)
        await world.work(AttemptState.FAILED, permanent=True)
        assert await world.states() == ["failed", "queued", "held"]
        await world.cancel((await world.runs())[1].id)
        assert await world.states() == ["failed", "cancelled", "queued"]


async def test_two_backfills_of_a_schedule_do_not_run_at_a_time(tmp_path):
    async with town(tmp_path) as world:
        await world.put(triggers=HOURLY)
        one, two = await world.backfill(back=2 * HOUR), await world.backfill(back=2 * HOUR)
        assert one.backfill_id != two.backfill_id
        while world.counts().get("queued"):
            assert world.counts()["queued"] == 1
            await world.work()
        assert world.counts() == {"succeeded": 4}


async def test_a_dry_run_says_what_would_run_and_what_ran_already_and_records_nothing(tmp_path):
    async with town(tmp_path) as world:
        await world.put(triggers=MINUTELY, misfire_policy="fire_all", overlap_policy="allow_all")
        world.clock.go(minutes=3)
        await world.turn()
        before = await world.runs()
        world.clock.go(seconds=30)
        view = await world.backfill(to=world.clock.at, back=200 * MINUTE, dry_run=True)
        assert (view.backfill_id, view.count, view.recorded) == (None, 200, 3)
        assert len(view.nominal_times) == 100
        assert await world.runs() == before
        assert (world.facts, world.woken) == ([], 0)


async def test_what_ran_by_an_earlier_rule_is_no_occurrence_that_ran_already(tmp_path):
    async with town(tmp_path) as world:
        await world.put(triggers=MINUTELY, overlap_policy="allow_all")
        for _ in range(60):
            world.clock.go(minutes=1)
            await world.turn()
        await world.put(triggers=[{"kind": "cron", "expression": "30 * * * *"}], overlap_policy="allow_all")
        view = await world.backfill(to=world.clock.at, back=HOUR, dry_run=True)
        assert (view.count, view.recorded) == (1, 1)
        await world.put(triggers=[{"kind": "cron", "expression": "30 30 * * * *"}], overlap_policy="allow_all")
        view = await world.backfill(to=world.clock.at, back=HOUR, dry_run=True)
        assert (view.count, view.recorded) == (1, 0)


async def test_an_occurrence_that_ran_already_runs_again_in_a_backfill_and_keeps_its_own_record(tmp_path):
    async with town(tmp_path) as world:
        await world.put()
        world.clock.go(minutes=1)
        await world.turn()
        await world.work()
        world.clock.go(seconds=30)
        view = await world.backfill(to=world.clock.at, back=60 * SECOND)
        assert (view.count, view.first, view.recorded) == (1, rfc3339(START + MINUTE), 1)
        await world.work()
        assert [(run.nominal_at, run.state) for run in await world.runs()] == [(START + MINUTE, "succeeded")] * 2


async def test_exclusions_and_window_apply(tmp_path):
    async with town(tmp_path) as world:
        await world.put(triggers=HOURLY, start_at=rfc3339(START - 3 * HOUR))
        assert (await world.backfill(dry_run=True)).count == 3


async def test_what_is_to_come_is_refused(tmp_path):
    async with town(tmp_path) as world:
        await world.put(triggers=HOURLY)
        with pytest.raises(Refused, match="is to come"):
            await world.backfill(to=START + 1)


async def test_more_than_ten_thousand_are_refused_with_a_range_that_would_do(tmp_path):
    async with town(tmp_path) as world:
        await world.put(triggers=MINUTELY)
        with pytest.raises(Refused) as refused:
            await world.backfill(back=8 * DAY)
        [problem] = refused.value.problems
        assert problem.field == "to"
        assert str(MOST) in problem.rule
        assert rfc3339(START - 8 * DAY + MOST * MINUTE) in problem.fix
        assert await world.runs() == []
        assert (await world.backfill(back=MOST * MINUTE, dry_run=True)).count == MOST


async def test_an_empty_range_is_refused_and_a_dry_run_of_it_says_none(tmp_path):
    async with town(tmp_path) as world:
        await world.put(triggers=HOURLY)
        with pytest.raises(Refused, match="no occurrence"):
            await world.backfill(to=START - MINUTE, back=MINUTE)
        view = await world.backfill(to=START - MINUTE, back=MINUTE, dry_run=True)
        assert (view.count, view.first, view.last, view.nominal_times) == (0, None, None, [])


async def test_of_an_unknown_schedule_there_is_no_backfill(tmp_path):
    async with town(tmp_path) as world:
        with pytest.raises(NotFound):
            await world.backfill("nobody")


async def test_a_schedule_whose_rule_changes_meanwhile_is_not_backfilled_by_the_old_one(tmp_path):
    async with town(tmp_path) as world:
        await world.put(triggers=HOURLY)
        before = await world.schedule()
        backfills = world.backfills()
        read = backfills.store.schedule
        await world.put(triggers=[{"kind": "interval", "every": "2h"}])

        class Slow:
            """Answers with what was so when it was asked."""

            def __getattr__(self, name: str) -> Any:
                return getattr(backfills.store, name)

            async def schedule(self, id_: str) -> Any:
                return (await read(id_))._replace(schedule=before)

        slow = Backfills(Slow(), "ann", backfills.around)  # type: ignore[arg-type]
        request = parse(BackfillRequest, {"from": rfc3339(START - DAY), "to": rfc3339(START)})
        with pytest.raises(Conflict, match="just been changed"):
            await slow.start("job", request, START)
        assert await world.runs() == []


async def test_paused_and_completed_schedules_are_backfilled_too(tmp_path):
    async with town(tmp_path) as world:
        await world.put(triggers=HOURLY)
        await world.pause()
        await world.backfill(back=HOUR)
        await world.work()
        assert await world.states() == ["succeeded"]
        assert (await world.schedule()).state == "paused"


async def test_backfills_do_not_count_as_open_and_no_policy_touches_them(tmp_path):
    async with town(tmp_path) as world:
        for policy in ("skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other"):
            await world.put(policy, triggers=MINUTELY, overlap_policy=policy)
            await world.backfill(policy, back=3 * MINUTE)
        world.clock.go(minutes=1)
        await world.turn()
        live = [run.state for run in await world.runs() if run.trigger_type == "schedule"]
        assert live == ["queued"] * 5
        assert world.counts() == {"queued": 5, "held": 10}


async def test_a_backfill_goes_on_beside_live_runs_of_its_schedule(tmp_path):
    async with town(tmp_path) as world:
        await world.put(triggers=MINUTELY, overlap_policy="skip")
        await world.backfill(back=2 * MINUTE)
        world.clock.go(minutes=1)
        await world.turn()
        await world.claim(limit=1)  # the live one, which takes its time
        await world.work()
        assert world.counts() == {"succeeded": 1, "queued": 1}


async def test_failing_backfills_do_not_pause_the_schedule(tmp_path):
    async with town(tmp_path) as world:
        await world.put(triggers=HOURLY)
        await world.backfill(back=7 * HOUR)
        for _ in range(7):
            await world.work(AttemptState.FAILED, permanent=True)
        assert (await world.schedule()).state == "active"
        assert (await world.schedule()).failure_streak == 0


async def test_deleting_the_schedule_drops_what_waits_of_its_backfill(tmp_path):
    async with town(tmp_path) as world:
        await world.put(triggers=HOURLY)
        await world.backfill(back=3 * HOUR)
        await world.delete()
        assert world.counts() == {"skipped": 3}


async def test_a_thousand_backfill_runs_that_wait_do_not_delay_a_live_run(tmp_path):
    async with town(tmp_path) as world:
        for number in range(250):
            await world.put(f"b{number}", triggers=HOURLY)
            await world.backfill(f"b{number}", back=4 * HOUR, overlap_policy="allow_all")
        assert world.counts() == {"queued": 1000}
        await world.put("live", triggers=HOURLY)
        live = await world.trigger("live")
        claim = await world.claim(limit=3)
        assert claim.runs[0].id == live.id
        assert [run.trigger_type for run in claim.runs] == ["manual", "backfill", "backfill"]


async def test_a_worker_takes_no_more_backfill_runs_than_it_is_told(tmp_path):
    async with town(tmp_path) as world:
        await world.put(triggers=HOURLY)
        await world.backfill(overlap_policy="allow_all")
        worker = world.store.worker()
        none = await worker.claim(Lessee("w", "t", LEASE), 8, 0)
        assert none.runs == []
        assert none.next_at is None, "the worker does not look again at once for what it may not take"
        assert len((await worker.claim(Lessee("w", "t", LEASE), 8, 3)).runs) == 3
