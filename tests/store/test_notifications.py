"""Notifications: runs that are recorded with what they tell; none is lost, doubled, or begets another."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from backend.errors import Conflict, Refused
from backend.model.ids import DEFAULT_NAMESPACE
from backend.model.run import AttemptState, RunState
from backend.service.notifications import Notifications
from backend.service.schedules import Surroundings
from backend.service.stats import stats_view
from backend.store.leasing import Lessee
from backend.store.open import check_database
from backend.store.runs import RunRecord
from backend.store.secrets import NewValue
from backend.targets.base import TargetRules
from backend.worker.attempt import Assignment, dispatch_of
from tests.store.world import LEASE, World

pytestmark = pytest.mark.anyio
FAILED, SUCCEEDED = AttemptState.FAILED, AttemptState.SUCCEEDED
ONCE: dict[str, Any] = {"retry": {"max_attempts": 1}, "pause_after_failures": 0}
EVERYTHING = ["failure", "recovery", "missed", "late", "overlap", "auto_pause", "error"]


def nothing() -> None:
    """Nobody is to be woken."""


def use_cases(world: World) -> Notifications:
    rules = TargetRules(allow_commands=True, allow_private_urls=True)
    around = Surroundings(rules, None, {}, nothing, nothing, nothing, bytes)  # type: ignore[arg-type]
    return Notifications(world.store.namespace(DEFAULT_NAMESPACE), "tester", around)


async def route(world: World, id_: str = "oncall", **fields: Any) -> None:
    target = {"kind": "http", "url": "http://127.0.0.1:9/hook"}
    await use_cases(world).put(id_, {"events": EVERYTHING, "target": target} | fields)


async def sent(world: World, id_: str = "oncall") -> list[RunRecord]:
    """What was recorded for a route, oldest first."""
    return (await world.store.namespace(DEFAULT_NAMESPACE).notifications().runs(id_, after=None, limit=500))[::-1]


async def told(world: World, id_: str = "oncall") -> list[dict[str, Any]]:
    return [json.loads(record.run.input or "{}") for record in await sent(world, id_)]


async def events(world: World, id_: str = "oncall") -> list[str]:
    return [one["data"]["event"] for one in await told(world, id_)]


async def run_once(world: World, outcome: AttemptState, id_: str = "job", **more: Any) -> None:
    """Run a schedule now, and let its run and no notification end so."""
    await world.trigger(id_)
    claim = await world.claim()
    theirs = [run for run in claim.runs if run.schedule_key > 0]
    await world.finish(claim._replace(runs=theirs), outcome, **more)
    world.clock.go(seconds=1)


async def test_a_failure_is_told_once_enough_in_a_row_and_the_success_after_it_too(world: World) -> None:
    await world.put(**ONCE, owner="ann")
    await route(world, after_failures=2)
    await run_once(world, FAILED)
    assert await events(world) == []
    await run_once(world, FAILED, error="exit 1")
    await run_once(world, SUCCEEDED)
    await run_once(world, SUCCEEDED)
    assert await events(world) == ["failure", "recovery"]
    event = (await told(world))[0]
    assert event["data"]["text"] == "job failed (2 in a row): exit 1"
    assert (event["subject"], event["data"]["owner"], event["data"]["failures"]) == ("job", "ann", 2)
    assert event["id"] == (await sent(world))[0].run.id


async def test_what_goes_on_failing_is_told_again_only_after_a_while(world: World) -> None:
    await world.put(**ONCE)
    await route(world, every="1h")
    for outcome in (FAILED, FAILED, SUCCEEDED, FAILED, SUCCEEDED):
        await run_once(world, outcome)
    assert await events(world) == ["failure", "recovery"]
    world.clock.go(hours=1)
    await run_once(world, FAILED)
    assert await events(world) == ["failure", "recovery", "failure"]


async def test_a_route_hears_only_of_the_tag_owner_and_events_that_it_names(world: World) -> None:
    await world.put("a", **ONCE, tags={"team": "growth"}, owner="ann")
    await world.put("b", **ONCE, tags={"team": "sales"}, owner="bob")
    await route(world, "growth", tag="team:growth")
    await route(world, "bob", owner="bob")
    await route(world, "others", events=["missed"])
    for id_ in ("a", "b"):
        await run_once(world, FAILED, id_)
    told_of = {id_: [one["subject"] for one in await told(world, id_)] for id_ in ("growth", "bob", "others")}
    assert told_of == {"growth": ["a"], "bob": ["b"], "others": []}


async def test_a_schedule_that_pauses_itself_is_told_with_the_way_to_resume_it(world: World) -> None:
    await world.put(retry={"max_attempts": 1}, pause_after_failures=1)
    await route(world, events=["auto_pause", "recovery"])
    await run_once(world, FAILED, permanent=True, error="401")
    [event] = await told(world)
    assert event["type"] == "scheduler.notification.auto_pause"
    assert "401" in event["data"]["note"]
    assert event["data"]["resume"] == "POST /api/v1/schedules/job/resume?namespace=default"
    await world.resume()
    await run_once(world, SUCCEEDED)
    assert await events(world) == ["auto_pause", "recovery"]


async def test_missed_occurrences_are_told_by_the_turn_that_records_them(world: World) -> None:
    await world.put(misfire_policy="skip")
    await route(world)
    world.clock.go(hours=1)
    await world.turn()
    [event] = await told(world)
    assert (event["data"]["event"], event["data"]["count"] > 1) == ("missed", True)


async def test_a_run_that_waits_for_too_long_is_told_once_whoever_notices(world: World) -> None:
    await world.put()
    await route(world, late_by="1m", every="1m")
    await world.trigger()
    assert await world.store.engine().look_for_late() == 0
    world.clock.go(minutes=2)
    assert await world.store.engine().look_for_late() == 1
    world.clock.go(minutes=2)
    assert await world.store.engine().look_for_late() == 0
    claim = await world.claim()
    await world.finish(claim._replace(runs=[run for run in claim.runs if run.schedule_key > 0]))
    assert await events(world) == ["late"]


async def test_a_worker_that_dies_too_often_is_told(world: World) -> None:
    await world.put(pause_after_failures=0)
    await route(world)
    await world.trigger()
    for _ in range(6):
        await world.claim(1)
        world.clock.go(minutes=5)
        await world.reap()
    assert (await told(world))[0]["data"]["run"]["state"] == "dead"


async def test_a_notification_that_fails_is_retried_and_begets_no_other(world: World) -> None:
    await world.put(**ONCE)
    await route(world)
    await run_once(world, FAILED)
    for _ in range(10):
        await world.work(FAILED)
        world.clock.go(minutes=11)
    [record] = await sent(world)
    assert (record.run.state, len(record.attempts)) == ("failed", 10)
    assert await events(world) == ["failure"]


async def test_a_notification_whose_worker_dies_is_taken_over(world: World) -> None:
    await route(world)
    await use_cases(world).test("oncall")
    await world.claim()
    world.clock.go(minutes=5)
    assert (await world.reap()).requeued == 1
    await world.work()
    assert [record.run.state for record in await sent(world)] == ["succeeded"]


async def test_the_failures_of_many_at_once_are_told_together(world: World) -> None:
    for number in range(25):
        await world.put(f"job-{number:02}", **ONCE)
    await route(world)
    for number in range(25):
        await world.trigger(f"job-{number:02}")
    await world.work(FAILED)
    [event] = await told(world)
    assert event["data"]["schedule_count"] == 25
    assert "subject" not in event


async def test_notifications_stay_out_of_the_lists_of_schedules_and_runs(world: World) -> None:
    await route(world)
    run = await use_cases(world).test("oncall")
    assert run.trigger_type == "notification"
    assert await world.runs() == []
    assert await world.store.namespace(DEFAULT_NAMESPACE).schedules(_any(), after=0, limit=10) == []


def _any() -> Any:
    from backend.store.schedules import ScheduleFilter

    return ScheduleFilter()


async def test_notifications_are_no_runs_of_the_namespace_nor_rows_that_belong_to_nothing(world: World) -> None:
    await world.put(**ONCE)
    await route(world)
    await run_once(world, FAILED)
    claim = await world.claim()
    shown = stats_view(DEFAULT_NAMESPACE, await world.store.namespace(DEFAULT_NAMESPACE).stats())
    assert [run.schedule_key < 0 for run in claim.runs] == [True]
    assert (shown.open_runs[RunState.RUNNING], dict(shown.last_hour)) == (0, {"failed": 1})
    await world.finish(claim, FAILED)
    shown = stats_view(DEFAULT_NAMESPACE, await world.store.namespace(DEFAULT_NAMESPACE).stats())
    assert (dict(shown.last_hour), shown.failures) == ({"failed": 1}, 1)
    await use_cases(world).delete("oncall")
    assert await asyncio.to_thread(check_database, world.url) == []


async def test_a_deleted_route_sends_nothing_more_and_a_run_of_it_under_way_ends(world: World) -> None:
    await route(world)
    await use_cases(world).test("oncall")
    claim = await world.claim()
    await use_cases(world).test("oncall")
    await use_cases(world).delete("oncall")
    assert (await world.claim()).runs == []
    await world.finish(claim)
    world.clock.go(minutes=5)
    await world.reap()
    assert world.sql("select state from runs order by state") == [("skipped",), ("succeeded",)]


async def test_no_limit_of_runs_at_work_holds_a_notification_up_and_none_counts(world: World) -> None:
    limits = '{"concurrent_runs": 1}'
    await world.store.namespaces().change(DEFAULT_NAMESPACE, lambda row: row._replace(limits=limits))
    await route(world)
    await world.put("job", overlap_policy="allow_all")
    for _ in range(3):
        await use_cases(world).test("oncall")
        world.clock.go(seconds=1)
    notices = await world.claim()
    assert {run.trigger_type for run in notices.runs} == {"notification"}
    for seconds in (1, 2):
        world.clock.go(seconds=seconds)
        await world.trigger()
    assert [run.trigger_type for run in (await world.claim()).runs] == ["manual"]
    await use_cases(world).test("oncall")
    assert [run.trigger_type for run in (await world.claim()).runs] == ["notification"]
    assert sorted(await world.states()) == ["queued", "running"]


async def test_a_route_that_exists_is_not_made_again_and_the_same_put_changes_nothing(world: World) -> None:
    await route(world)
    body = {"id": "oncall", "events": ["late"], "target": {"kind": "http", "url": "http://127.0.0.1:9/"}}
    with pytest.raises(Conflict):
        await use_cases(world).create(body)
    await route(world)
    await route(world, events=["late"])
    log = await world.store.audit(DEFAULT_NAMESPACE).page(_every_line(), after=None, limit=10)
    assert [(row.kind, row.verb) for row in log.rows] == [("notification", "updated"), ("notification", "created")]


def _every_line() -> Any:
    from backend.store.audit_log import AuditFilter

    return AuditFilter()


async def test_what_a_route_s_target_refers_to_and_whom_it_may_call_comes_with_the_claim(world: World) -> None:
    ours = world.store.namespace(DEFAULT_NAMESPACE)
    await ours.secrets().put(NewValue("hook", "sealed", "k1", "tester"))
    await ours.egress().put(["example.org"], lambda _: None)
    target = {"kind": "http", "url": "https://example.org/hook", "signing_secret": {"secret": "hook"}}
    await route(world, target=target)
    await use_cases(world).test("oncall")
    claim = await world.claim()
    assert claim.secrets == {DEFAULT_NAMESPACE: {"hook": "sealed"}}
    assert claim.egress == {DEFAULT_NAMESPACE: '["example.org"]'}


async def test_a_route_names_secrets_and_hosts_that_there_are_and_keeps_its_secrets(
    world: World,
) -> None:
    ours = world.store.namespace(DEFAULT_NAMESPACE)
    target = {"kind": "http", "url": "https://example.org/hook", "headers": {"X-Key": {"secret": "hook"}}}
    with pytest.raises(Refused, match=r"target\.headers\.X-Key: there is no secret 'hook'"):
        await route(world, target=target)
    await ours.secrets().put(NewValue("hook", "sealed", "k1", "tester"))
    await route(world, target=target)
    with pytest.raises(Conflict, match="notification route oncall"):
        await ours.secrets().delete("hook")
    await ours.egress().put(["example.com"], lambda _: None)
    with pytest.raises(Refused, match=r"target\.url"):
        await route(world, "other", target=target)


async def test_notifications_wait_for_workers_that_send_e_mail(world: World) -> None:
    await route(world, target={"kind": "http", "url": "http://127.0.0.1:9/hook"})
    await use_cases(world).test("oncall")
    world.sql('update notification_routes set errand = replace(errand, \'"kind":"http"\', \'"kind":"email"\')')
    await use_cases(world).test("oncall")
    worker = world.store.worker()
    claims = [await worker.claim(Lessee("w1", "t1", LEASE, kinds=[kind]), 9) for kind in ("command", "http", "email")]
    assert [len(claim.runs) for claim in claims] == [0, 1, 1]


async def test_a_worker_sends_the_cloud_event_itself(world: World) -> None:
    from backend.engine.errand import load_errand, telling

    await route(world)
    await use_cases(world).test("oncall")
    claim = await world.claim()
    run = claim.runs[0]
    schedule_id, text = claim.errands[run.schedule_key]
    errand = telling(load_errand(text), json.loads(run.input or ""))
    dispatch = dispatch_of(Assignment(run, "t1", "w1", schedule_id, text), errand)
    assert errand.target.body["id"] == dispatch.run_id == run.id  # type: ignore[attr-defined]
    assert errand.target.headers["Content-Type"].startswith("application/cloudevents+json")  # type: ignore[attr-defined]
