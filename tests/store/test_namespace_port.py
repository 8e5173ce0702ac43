"""The port of one namespace: changes to schedules all or nothing, runs on request, lists in pages."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from backend.engine.retry import settle
from backend.errors import Conflict, NotFound
from backend.model.change import Change, Moment
from backend.model.ids import NamespaceId
from backend.model.instants import MINUTE
from backend.model.run import AttemptState, RunState
from backend.model.schedule import Schedule
from backend.service import drafts
from backend.store.namespaces import Terms
from backend.store.operation import Operation, Query
from backend.store.runs import Place
from backend.store.schedules import ScheduleFilter, Wish, page_schedules
from tests.store.world import START, World, manual_run, nominal_times, result_of

pytestmark = pytest.mark.anyio


async def listed(world: World, *, after: int = 0, limit: int = 100, **wanted: Any) -> list[str]:
    port = world.store.namespace(NamespaceId("default"))
    found = await port.schedules(ScheduleFilter(**wanted), after=after, limit=limit)
    return [one.schedule.id for one in found]


async def test_deleting_skips_what_waits_and_lets_what_runs_end(world: World) -> None:
    await world.put(triggers=[{"kind": "interval", "every": "1h"}], overlap_policy="allow_all")
    running = await world.trigger()
    claim = await world.claim()
    waiting = await world.trigger()
    await world.delete()
    dropped = (await world.run(waiting.id)).run
    assert (dropped.state, dropped.reason, dropped.finished_at) == ("skipped", "deleted", world.clock.at)
    assert (await world.run(running.id)).run.state == "running"
    assert (await world.finish(claim)).finished[0].accepted
    assert (await world.run(running.id)).run.state == "succeeded"
    with pytest.raises(NotFound):
        await world.schedule()


@pytest.mark.parametrize("outcome", [AttemptState.FAILED, AttemptState.TIMED_OUT, AttemptState.RELEASED])
async def test_a_run_of_a_deleted_schedule_is_not_attempted_again(world: World, outcome: AttemptState) -> None:
    await world.put(triggers=[{"kind": "interval", "every": "1h"}])
    run = await world.trigger()
    claim = await world.claim()
    await world.delete()
    [finished] = (await world.finish(claim, outcome)).finished
    assert (finished.accepted, finished.settled.state, finished.settled.reason) == (True, "skipped", "deleted")
    record = await world.run(run.id)
    assert (record.run.state, record.run.reason, record.run.finished_at) == ("skipped", "deleted", world.clock.at)
    assert [attempt.state for attempt in record.attempts] == [outcome]
    world.clock.go(hours=1)
    assert (await world.claim()).runs == []


async def test_a_lost_run_of_a_deleted_schedule_is_not_attempted_again(world: World) -> None:
    await world.put(triggers=[{"kind": "interval", "every": "1h"}])
    run = await world.trigger()
    await world.claim()
    await world.delete()
    world.clock.go(seconds=16)
    assert (await world.reap())[:3] == (0, 1, False)
    stored = (await world.run(run.id)).run
    assert (stored.state, stored.reason, stored.losses) == ("skipped", "deleted", 1)


async def test_runs_of_a_deleted_schedule_are_found_by_its_id_until_another_has_it(world: World) -> None:
    await world.put()
    first = await world.trigger()
    await world.delete()
    assert [record.run.id for record in await world.records(schedule_id="job")] == [first.id]
    await world.put()
    await world.delete()
    assert await world.records(schedule_id="job") == []  # the newest of the deleted counts
    await world.put()
    second = await world.trigger()
    assert [record.run.id for record in await world.records(schedule_id="job")] == [second.id]


async def test_deleting_records_what_was_due_and_then_nothing_more(world: World) -> None:
    await world.put(overlap_policy="allow_all")
    world.clock.go(minutes=2)
    await world.delete()
    assert await world.states() == ["skipped", "skipped"]
    world.clock.go(minutes=5)
    assert (await world.turn()).schedules == 0
    assert len(await world.runs()) == 2


async def test_the_id_of_a_deleted_schedule_can_be_used_again_and_its_history_stays(world: World) -> None:
    old = await world.put()
    run = await world.trigger()
    await world.work()
    await world.delete()
    new = await world.put()
    assert new.key > old.key
    assert (await world.run(run.id)).run.state == "succeeded"
    assert [r.id for r in await world.runs()] == [run.id]
    assert await world.runs(schedule_id="job") == []
    world.clock.go(minutes=1)
    await world.turn()
    assert nominal_times(await world.runs(schedule_id="job")) == [START + MINUTE]


async def test_a_run_of_a_deleted_schedule_cannot_be_retried(world: World) -> None:
    await world.put()
    run = await world.trigger()
    await world.work()
    await world.delete()
    await world.put()
    with pytest.raises(Conflict, match="deleted"):
        await retry(world, run.id)


async def retry(world: World, id_: str) -> str:
    port = world.store.namespace(NamespaceId("default"))
    number = next(world.entropy)
    new = f"0{number:x}"
    record = await port.retry_run(id_, lambda schedule, _, now: manual_run(schedule, new, now))
    return record.run.id


async def test_only_a_run_that_has_ended_can_be_retried(world: World) -> None:
    await world.put()
    run = await world.trigger()
    with pytest.raises(Conflict, match="queued"):
        await retry(world, run.id)
    await world.work()
    assert (await world.run(await retry(world, run.id))).run.state == "queued"


async def test_cancelling_twice_is_no_error_but_what_has_ended_cannot_be_cancelled(world: World) -> None:
    await world.put()
    first = await world.trigger()
    assert (await world.cancel(first.id)).run.state == "cancelled"
    assert (await world.cancel(first.id)).run.state == "cancelled"
    second = await world.trigger()
    await world.work()
    with pytest.raises(Conflict, match="succeeded already"):
        await world.cancel(second.id)


async def test_resuming_with_catch_up_plans_the_pause_again(world: World) -> None:
    await world.put(misfire_policy="fire_all", misfire_threshold="1s")
    world.clock.go(minutes=1)
    await world.turn()
    await world.work()
    await world.pause()
    world.clock.go(minutes=30)
    await world.turn()
    world.clock.go(minutes=2)
    await world.resume(catch_up=True)
    assert {run.reason for run in await world.runs()} == {None}
    await world.turn()
    runs = await world.runs()
    assert nominal_times(runs) == [START + n * MINUTE for n in range(33, 0, -1)]
    assert {run.state for run in runs} == {"succeeded", "queued", "held"}


async def test_resuming_without_catch_up_leaves_the_pause_skipped(world: World) -> None:
    await world.put()
    await world.pause()
    world.clock.go(minutes=3)
    await world.resume()
    await world.turn()
    assert await world.states() == ["skipped"] * 3
    world.clock.go(minutes=1)
    await world.turn()
    assert await world.states() == ["skipped", "skipped", "skipped", "queued"]


async def test_changes_are_all_or_nothing(world: World) -> None:
    await world.put("a", name="before")

    def revise(id_: str, current: Schedule | None, open_run: bool, moment: Moment) -> Change:
        if id_ == "c":
            raise Conflict("c")
        assert current is not None
        return drafts.pause(current, "", "tester", moment, open_run=open_run)

    await world.put("b")
    with pytest.raises(Conflict):
        await world.change(Wish(["a", "b", "c"], revise))
    assert [(await world.schedule(id_)).state for id_ in ("a", "b")] == ["active", "active"]


async def test_a_dry_run_answers_the_changes_and_writes_nothing(world: World) -> None:
    await world.put("a")

    def revise(_: str, current: Schedule | None, open_run: bool, moment: Moment) -> Change:
        assert current is not None
        return drafts.delete(current, "tester", moment, open_run=open_run)

    world.clock.go(minutes=5)
    changes = await world.change(Wish(["a"], revise, dry_run=True))
    assert [change.verb for change in changes] == ["deleted"]
    assert (await world.schedule("a")).deleted_at is None
    assert await world.runs() == []


async def test_what_a_source_made_and_no_longer_names_is_dropped(world: World) -> None:
    for id_, source in (("a", "file"), ("b", "file"), ("c", "other"), ("d", None)):
        await world.put(id_)
        world.sql("update schedules set source = ? where id = ?", source, id_)

    def keep(_: str, current: Schedule | None, open_run: bool, moment: Moment) -> Change:
        assert current is not None
        return Change("unchanged", current, "tester")

    def drop(_: str, current: Schedule | None, open_run: bool, moment: Moment) -> Change:
        assert current is not None
        return drafts.delete(current, "tester", moment, open_run=open_run)

    await world.change(Wish(["a"], keep, source="file", drop=drop))
    assert await listed(world) == ["a", "c", "d"]


async def test_every_definition_is_kept_as_a_revision(world: World) -> None:
    await world.put()
    await world.put(name="other")
    await world.put(name="other")  # unchanged
    await world.pause()
    kept = "select revision, cursor_at from schedule_revisions where definition is not null"
    assert world.sql(kept) == [(1, START), (2, START)]


async def test_schedules_are_listed_in_order_of_creation_and_in_pages(world: World) -> None:
    keys = [(await world.put(id_)).key for id_ in ("c", "a", "b")]
    assert await listed(world) == ["c", "a", "b"]
    assert await listed(world, limit=2) == ["c", "a"]
    assert await listed(world, after=keys[1]) == ["b"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"state": "paused"}, ["b"]),
        ({"state": "active"}, ["a", "c"]),
        ({"owner": "ann"}, ["a", "b"]),
        ({"name": "Report"}, ["a"]),
        ({"target": "command"}, ["a", "b", "c"]),
        ({"target": "http"}, []),
        ({"tag": "team:growth"}, ["a", "c"]),
        ({"tag": "team:other"}, []),
        ({"q": "EPOR"}, ["a"]),
        ({"due_before": START + 2 * MINUTE}, ["a"]),
        ({"owner": "ann", "tag": "team:growth"}, ["a"]),
        ({"owner": "ann", "state": "paused", "q": "b"}, ["b"]),
    ],
)
async def test_schedules_are_listed_by_every_filter(world: World, wanted: dict[str, Any], expected: list[str]) -> None:
    await world.put("a", name="Report", owner="ann", tags={"team": "growth"})
    await world.put("b", owner="ann")
    await world.put("c", owner="bob", tags={"team": "growth"}, triggers=[{"kind": "interval", "every": "1h"}])
    await world.pause("b")
    assert await listed(world, **wanted) == expected


async def test_changed_tags_replace_the_former_ones(world: World) -> None:
    await world.put(tags={"team": "growth"})
    await world.put(tags={"team": "core"})
    assert await listed(world, tag="team:growth") == []
    assert await listed(world, tag="team:core") == ["job"]


async def test_a_schedule_is_shown_with_its_last_run_skipped_ones_apart(world: World) -> None:
    await world.put()
    world.clock.go(minutes=1)
    await world.turn()
    world.clock.go(minutes=1)
    assert (await world.turn()).dropped == 1  # the first is still open
    shown = await world.store.namespace(NamespaceId("default")).schedule("job")
    assert shown.last_run is not None
    assert (shown.last_run.nominal_at, shown.last_run.state) == (START + MINUTE, "queued")


async def test_one_namespace_never_sees_another(world: World) -> None:
    await world.put()
    run = await world.trigger()
    stranger = world.store.namespace(NamespaceId("other"))
    with pytest.raises(NotFound):
        await stranger.schedule("job")
    with pytest.raises(NotFound):
        await stranger.run(run.id)
    with pytest.raises(NotFound):
        await stranger.cancel_run(run.id, "x")
    with pytest.raises(NotFound):
        await stranger.start_run("job", lambda schedule, now: manual_run(schedule, "x", now))


@pytest.fixture
async def twenty(world: World) -> World:
    """Two schedules with ten runs each, all but two of them ended."""
    await world.put("a", overlap_policy="allow_all", misfire_threshold="1d")
    await world.put("b", overlap_policy="allow_all", misfire_threshold="1d")
    world.clock.go(minutes=9)
    await world.turn()
    await world.work()
    world.clock.go(minutes=1)
    await world.turn()
    return world


async def test_a_schedule_longer_than_a_page_is_a_page(world: World) -> None:
    port = world.store.namespace(NamespaceId("default"))
    for id_ in ("first", "longest", "last"):
        await world.put(id_)
    world.sql("update schedules set triggers = ? where id = 'longest'", f"[{'1,' * (2 * 2**20 + 1)}1]")
    found, following = [], 0
    async with asyncio.timeout(20):
        for _ in range(3):
            page, after = await port.schedules_page(ScheduleFilter(), after=following, limit=50)
            found.append([one.schedule.id for one in page])
            following = after or following
    assert found == [["first"], ["longest"], ["last"]]


async def test_a_page_of_very_long_definitions_ends_early_and_is_not_read_ahead(world: World) -> None:
    for n in range(12):
        await world.put(f"long-{n}", input={"text": "x" * 900_000})
    asked: list[int] = []

    def overheard(operation: Operation[Any]) -> Operation[Any]:
        step = next(operation)
        try:
            while True:
                if isinstance(step, Query) and "limit" in step.params:
                    asked.append(step.params["limit"])
                step = operation.send((yield step))
        except StopIteration as done:
            return done.value

    found: list[str] = []
    following: int | None = 0
    while following is not None:
        page = page_schedules("default", ScheduleFilter(), after=following, limit=50)
        listed, following = await world.store.runner.read(overheard(page))
        found += [one.schedule.id for one in listed]
    assert found == [f"long-{n}" for n in range(12)]
    assert max(asked) <= 10


async def test_runs_are_listed_newest_first_and_pages_join_without_gap_or_double(twenty: World) -> None:
    everything = await twenty.runs()
    assert len(everything) == 20
    assert nominal_times(everything) == sorted(nominal_times(everything), reverse=True)
    for schedule_id in (None, "a"):
        whole = await twenty.runs(schedule_id=schedule_id)
        paged, after = [], None
        while page := await twenty.records(after=after, limit=3, schedule_id=schedule_id):
            paged += [record.run for record in page]
            after = Place(page[-1].run.nominal_at, page[-1].run.id)
        assert paged == whole


@pytest.mark.parametrize("schedule_id", [None, "a"])
async def test_runs_are_listed_by_state_and_by_nominal_time(twenty: World, schedule_id: str | None) -> None:
    schedules = 1 if schedule_id else 2
    assert len(await twenty.runs(schedule_id=schedule_id, state="queued")) == schedules
    assert len(await twenty.runs(schedule_id=schedule_id, state="succeeded")) == 9 * schedules
    window = {"from_at": START + 3 * MINUTE, "to_at": START + 6 * MINUTE}
    found = await twenty.runs(schedule_id=schedule_id, **window)
    assert sorted(set(nominal_times(found))) == [START + n * MINUTE for n in (3, 4, 5)]
    assert len(found) == 3 * schedules
    assert await twenty.runs(schedule_id=schedule_id, from_at=START + MINUTE + 1, to_at=START + 2 * MINUTE) == []


@pytest.mark.parametrize("schedule_id", [None, "a"])
async def test_each_state_lists_its_own_runs_and_no_others(twenty: World, schedule_id: str | None) -> None:
    one = (await twenty.runs(schedule_id="a"))[-1].id
    for state in RunState:
        token = "'t'" if state is RunState.RUNNING else "null"
        twenty.sql(f"update runs set state = ?, lease_token = {token} where id = ?", state, one)
        expected = [run for run in await twenty.runs(schedule_id=schedule_id) if run.state == state]
        paged, after = [], None
        while page := await twenty.records(after=after, limit=2, schedule_id=schedule_id, state=state):
            paged += [record.run for record in page]
            after = Place(paged[-1].nominal_at, paged[-1].id)
        assert paged == expected
        assert expected


async def test_listed_runs_carry_their_attempts(twenty: World) -> None:
    records = await twenty.records(state="succeeded")
    assert {len(record.attempts) for record in records} == {1}
    assert all(record.attempts[0].run_key == record.run.key for record in records)


async def test_runs_of_an_unknown_schedule_are_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        await world.runs(schedule_id="nobody")


async def test_the_backlog_counts_what_waits_and_how_long(world: World) -> None:
    for id_ in ("a", "b", "c"):
        await world.put(id_)
    await world.trigger("a")
    await world.claim()
    await world.trigger("a")
    await world.pause("c")
    world.clock.go(minutes=1, seconds=30)
    backlog = await world.store.admin().backlog()
    assert (backlog.due, backlog.oldest_age) == (3, 30_000_000)
    assert backlog.open_runs == {"queued": 1, "running": 1}
    assert backlog.schedules == {"active": 2, "paused": 1}
    await world.turn()
    assert (await world.store.admin().backlog())[:2] == (0, 0)


async def test_a_key_is_known_by_its_hash_and_a_second_server_s_does_not_lock_out_the_first(world: World) -> None:
    admin = world.store.admin()
    for key_hash in ("first", "second-hash", "first", "third"):
        await admin.adopt_key(key_hash, f"host:{key_hash}/admin.key")
    terms = {"default": Terms("UTC", "{}", None)}
    assert await admin.arrive(None, "unknown", "no-such-namespace") == (world.clock.at, [], terms)
    known = [(await admin.arrive(None, key_hash, None)).keys for key_hash in ("first", "second-hash", "third")]
    assert [(row.id, row.namespace, row.scopes) for (row,) in known] == [
        (id_, None, "admin") for id_ in ("admin", "admin-second-h", "admin-third")
    ]
    assert all(row.in_force(world.clock.at) for (row,) in known)
    assert await admin.now() == world.clock.at


async def test_a_list_shows_the_beginning_of_the_newest_output_and_a_run_all_of_it(world: World) -> None:
    await world.put()
    run = await world.trigger()
    claim = await world.claim()
    long = result_of(claim, claim.runs[0], AttemptState.SUCCEEDED)._replace(output="é" * 10_000)
    await world.store.worker().finish([long], settle)
    [listed] = await world.records()
    assert (listed.attempts[0].output, listed.attempts[0].output_truncated) == ("é" * 4096, 1)
    whole = (await world.run(run.id)).attempts[0]
    assert (whole.output, whole.output_truncated) == ("é" * 10_000, 0)
