"""The client against the real API: each operation of its OpenAPI document has a method, and each method works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from backend.client import Conflict, Forbidden, NotFound, PreconditionFailed, Refused, readers
from backend.client.flow import Ended, Flow, Listing, Pages, Send, Wait, advance
from backend.client.operation import Awaiting, Following, Operation, Walk
from backend.client.operations import Operations
from backend.client.terms import terms_of
from backend.client.wire import Answer
from backend.engine.definition import ScheduleDefinition
from backend.service.views import ScheduleView
from backend.store.keyring import make_key
from tests.acceptance.api_client import PREFIX, Client, api_on, draft

T = TypeVar("T")
STREAMED = ("GET", f"{PREFIX}/events")
"""Without an end, which an answer in this process has to have."""
BESIDES = {"docs", "dashboard"}
"""Pages for people."""
pytestmark = pytest.mark.anyio


class Within(Operations, Awaiting):
    """A client of the application in this process, whose answers are compared with what is documented."""

    def __init__(self, api: Client, key: str, namespace: str | None = None) -> None:
        self.terms = terms_of("http://here", key, namespace, timeout=30, retry=None, agent="tests")
        self.api = api

    async def carry_out(self, flow: Flow[T]) -> T:
        step = advance(flow, None)
        while not isinstance(step, Ended):
            step = advance(flow, await self._done(step))
        return step.result

    async def _done(self, step: Send | Wait) -> Answer | None:
        if isinstance(step, Wait):
            await asyncio.sleep(step.seconds)
            return None
        target, _, query = step.wire.target.partition("?")
        headers = [(name.lower().encode(), value.encode()) for name, value in step.wire.headers.items()]
        body = step.wire.content or b""
        answer = await self.api.raw(step.wire.method, target, query=query.encode(), headers=headers, pieces=[body])
        return Answer(answer.status, answer.headers, answer.body)

    async def walk(self, listing: Listing[T]) -> AsyncIterator[T]:
        pages = Pages(listing.request, listing.limit)
        for call in pages:
            for item in pages.took(await self.carry_out(self.terms.flow(call))):
                yield listing.read(item)

    def follow(self, following: Following[T]) -> AsyncIterator[T]:
        raise NotImplementedError


def operations(api: Client) -> set[str]:
    """Name what the OpenAPI document lists."""
    paths = api.document()["paths"].values()
    return {operation["operationId"] for path in paths for operation in path.values()}


def methods() -> set[str]:
    return {name for name in dir(Operations) if isinstance(getattr(Operations, name), (Operation, Walk))}


async def test_each_operation_of_the_api_is_a_method_of_the_client(tmp_path: Path):
    async with api_on(tmp_path) as api:
        missing = operations(api) - methods() - BESIDES
        assert not missing, "describe them in backend/client, each under the name that its route has"


async def items(walked: AsyncIterator[T]) -> list[T]:
    return [item async for item in walked]


def strictly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Insist that every answer is the whole model: nothing of it is unknown to the client."""

    def unknown(model: type, document: Any) -> Any:
        raise AssertionError(f"no {model.__name__}: {document}")

    monkeypatch.setattr(readers, "_as_far_as_known", unknown)


@pytest.mark.each_database
async def test_each_method_sends_what_its_operation_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    strictly(monkeypatch)
    async with api_on(tmp_path, secret_keys=make_key("k1")) as api:
        client = Within(api, api.key)
        await schedules(client)
        await runs(client)
        await calendars(client)
        await forecasts(client)
        await tenants(client)
        await guards(client)
        await many(client)
        await callbacks(client)
        await told(client)
        await system(client)
        documented = {
            (method.upper(), path)
            for path, found in api.document()["paths"].items()
            for method in found
            if path.startswith(PREFIX)
        }
        asked = {(method, path) for method, path, _ in api.seen} | {STREAMED}
        assert documented - asked == set()


async def many(client: Within) -> None:
    assert (await client.pause_schedules({"tag": "team:growth"}, "moving"))["changed"] == 1
    assert (await client.resume_schedules({}, note="moving"))["changed"] == 1


async def schedules(client: Within) -> None:
    made = await client.create_schedule(draft("digest", tags={"team": "growth"}))
    assert type(made) is ScheduleView
    assert await client.get_schedule("digest") == made
    with pytest.raises(Conflict):
        await client.create_schedule(draft("digest"))
    with pytest.raises(Refused) as refused:
        await client.create_schedule(draft("bad", triggers=[{"kind": "cron", "expression": "61 * * * *"}]))
    assert refused.value.problems[0].field.startswith("triggers[0]")
    await change(client, made)
    answer = await client.apply_batch([draft("a"), draft("b")], source="test", prune=True, dry_run=False)
    assert [item.change for item in answer.items] == ["created", "created"]
    assert {one.id for one in await items(client.iterate_schedules())} == {"digest", "a", "b"}
    assert [one.id for one in await items(client.iterate_schedules(tag="team:growth"))] == ["digest"]
    assert [one.id for one in (await client.list_schedules(limit=2, q="i")).items] == ["digest"]
    assert len(await client.list_upcoming("digest", 3)) == 3
    assert (await client.explain_instant("digest", datetime.now(UTC))).schedule_id == "digest"
    await client.delete_schedule("b")
    with pytest.raises(NotFound):
        await client.get_schedule("b")


async def told(client: Within) -> None:
    route = {"id": "ops", "events": ["failure"], "target": {"kind": "http", "url": "https://example.org/x"}}
    made = await client.create_route(route)
    assert await client.get_route("ops") == made
    await client.put_route("ops", route)
    assert [one.id for one in await items(client.iterate_routes())] == ["ops"]
    assert (await client.list_routes()).items[0].id == "ops"
    run = await client.try_route("ops")
    assert [one.id for one in await items(client.iterate_notifications("ops"))] == [run.id]
    assert (await client.list_notifications("ops")).items[0].id == run.id
    await client.delete_route("ops")
    day = datetime.now(UTC) - timedelta(days=1)
    assert await items(client.iterate_changes(kind="schedule", id="digest", from_=day))
    assert (await client.list_changes(limit=1)).next_cursor


async def callbacks(client: Within) -> None:
    run = await client.trigger_schedule("digest")
    with pytest.raises(Conflict):
        await client.heartbeat_run(run.id)
    with pytest.raises(Conflict):
        await client.complete_run(run.id, "succeeded")
    await client.cancel_run(run.id)
    assert (await client.get_stats()).namespace == "default"


async def change(client: Within, made: ScheduleView) -> None:
    kept = await client.put_schedule("digest", made, revision=made.revision)
    assert kept.revision == made.revision, "what was read can be written back"
    definition = ScheduleDefinition.model_validate(draft("digest", timeout="5m"))
    put = await client.put_schedule("digest", definition)
    assert put.timeout == timedelta(minutes=5)
    patched = await client.patch_schedule("digest", {"timeout": timedelta(minutes=4), "tags": {"team": "growth"}})
    assert patched.timeout == timedelta(minutes=4)
    with pytest.raises(PreconditionFailed):
        await client.patch_schedule("digest", {"owner": "ops"}, revision=made.revision)
    assert (await client.pause_schedule("digest", "moving")).note == "moving"
    assert (await client.resume_schedule("digest", catch_up=True)).state == "active"


async def runs(client: Within) -> None:
    run = await client.trigger_schedule("digest", {"topic": "news"})
    assert run.input == {"topic": "news"}
    assert (await client.get_run(run.id)).id == run.id
    cancelled = await client.cancel_run(run.id)
    assert await client.wait_for_run(run.id) == cancelled
    again = await client.retry_run(run.id)
    await client.cancel_run(again.id)
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    planned = await client.backfill_schedule("digest", day - timedelta(days=1), day, dry_run=True)
    assert planned.count == 24
    both = {run.id, again.id}
    assert {one.id for one in await items(client.iterate_runs(schedule="digest", state="cancelled"))} == both
    assert {one.id for one in await items(client.iterate_schedule_runs("digest", from_=day))} <= both
    assert len((await client.list_runs(limit=1)).items) == 1
    list_runs: Any = client.list_runs
    for name in ("statee", "from"):
        with pytest.raises(Refused, match=name):
            await list_runs(**{name: "garbage"})
    assert len((await client.list_schedule_runs("digest", limit=1)).items) == 1


async def calendars(client: Within) -> None:
    put = await client.put_calendar(
        "uk", ["2026-12-25", datetime(2026, 12, 28, tzinfo=UTC).date(), datetime(2026, 12, 29, tzinfo=UTC)]
    )
    assert put.days == ["2026-12-25", "2026-12-28", "2026-12-29"]
    ical = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:a\nDTSTART;VALUE=DATE:20261225\nEND:VEVENT\nEND:VCALENDAR\n"
    assert (await client.put_calendar("de", ical)).days == ["2026-12-25"]
    assert [one.id for one in await items(client.iterate_calendars())] == ["de", "uk"]
    assert (await client.get_calendar("uk")).days == put.days
    await client.delete_calendar("uk")
    assert [one.id for one in (await client.list_calendars()).items] == ["de"]


async def forecasts(client: Within) -> None:
    shown = await client.preview_draft({"triggers": draft()["triggers"]}, count=2)
    assert len(shown.occurrences) == 2
    begin = datetime.now(UTC) + timedelta(hours=1)
    end, outage = begin + timedelta(hours=10), (begin, begin + timedelta(hours=2))
    load = await client.simulate_range(begin, end, durations={"*": timedelta(minutes=5)}, outage=outage)
    assert load.schedules == 2
    assert load.misfires
    assert (await client.simulate_range(begin, end, schedules=[draft("x")])).schedules == 1
    assert (await client.audit_occurrences(schedule="digest")).missing_count == 0


async def tenants(client: Within) -> None:
    made = await client.create_namespace("growth", timezone="Europe/London", limits={"schedules": 10})
    assert (made.timezone, made.limits.schedules) == ("Europe/London", 10)
    changed = await client.patch_namespace("growth", limits={"minimum_interval": timedelta(minutes=1)})
    assert await client.get_namespace("growth") == changed
    key = await client.create_key(["read"], name="reader", namespace="growth")
    reader = Within(client.api, key.key)
    assert (await reader.get_own_key()).namespace == "growth"
    with pytest.raises(Forbidden):
        await reader.create_schedule(draft("x"))
    there = await Within(client.api, client.api.key, "growth").create_key(["read"])
    assert there.namespace == "growth"
    assert (await client.create_key(["read"], namespace=None)).namespace is None
    newer = await client.rotate_key(key.id, overlap="1m")
    assert (await client.get_key(key.id)).successor == newer.id
    assert {key.id, newer.id} <= {one.id for one in await items(client.iterate_keys())}
    assert (await client.list_keys(limit=1)).next_cursor
    for one in (key, newer, there):
        await client.revoke_key(one.id)
    assert {one.id for one in await items(client.iterate_namespaces())} == {"default", "growth"}
    assert (await client.list_namespaces()).items[0].id == "default"
    await client.delete_namespace("growth")


async def guards(client: Within) -> None:
    assert (await client.put_secret("token", "s3cret")).key_id == "k1"
    assert [one.name for one in await items(client.iterate_secrets())] == ["token"]
    await client.delete_secret("token")
    assert (await client.list_secrets()).items == []
    assert (await client.put_egress(["example.org"])).allowed_hosts == ["example.org"]
    assert (await client.put_egress(None)) == await client.get_egress()


async def system(client: Within) -> None:
    named = [worker.name for worker in (await client.list_workers()).items]
    assert [worker.name for worker in await items(client.iterate_workers())] == named
    assert (await client.call("GET", "schedules", "digest"))["id"] == "digest"
    assert (await client.call("POST", "schedules", "digest", "pause"))["state"] == "paused"
    assert [one["id"] for one in await items(client.iterate("schedules", limit=1))] == ["digest"]
    assert "scheduler_" in await client.metrics()
