"""Runs over the API: triggered, listed, cancelled, retried, with engine and worker running."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.acceptance.api_client import Client, api_on, draft

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def api(tmp_path_factory) -> AsyncIterator[Client]:
    async with api_on(tmp_path_factory.mktemp("runs"), turning=True) as client:
        yield client


def command(id_: str, *argv: str, **fields: Any) -> dict[str, Any]:
    far = {"kind": "once", "at": "2090-01-01T00:00:00Z"}
    target = {"kind": "command", "argv": argv}
    return draft(id_, triggers=[far], target=target, retry={"max_attempts": 1}, **fields)


async def triggered(api: Client, definition: dict[str, Any], wish: Any = None) -> dict[str, Any]:
    await api.put(f"/schedules/{definition['id']}", definition)
    started = await api.post(f"/schedules/{definition['id']}/trigger", wish)
    assert started.status == 202
    assert started.headers["location"] == f"/api/v1/runs/{started.json['id']}"
    run: dict[str, Any] = started.json
    return run


async def test_a_triggered_run_gets_the_input_merged_over_the_schedules(api):
    run = await triggered(api, command("merge", "cat", input={"a": 1, "b": 2}), {"input": {"b": 3, "c": None}})
    assert (run["trigger_type"], run["input"]) == ("manual", {"b": 3, "c": None})
    ended = await api.until_run(run["id"], "succeeded")
    assert json.loads(ended["output"]) == {"a": 1, "b": 3, "c": None}
    assert [attempt["number"] for attempt in ended["attempts"]] == [1]
    assert (await api.get("/schedules/merge")).json["last_run"]["id"] == run["id"]


async def test_a_paused_schedule_still_runs_when_a_person_asks(api):
    await api.put("/schedules/paused", command("paused", "true"))
    await api.post("/schedules/paused/pause")
    run = (await api.post("/schedules/paused/trigger")).json
    assert (await api.until_run(run["id"], "succeeded"))["schedule_id"] == "paused"


async def test_a_failed_run_says_why_and_can_be_retried_at_its_own_nominal_time(api):
    run = await triggered(api, command("failing", "sh", "-c", "echo oops; exit 3"))
    ended = await api.until_run(run["id"], "failed")
    assert "3" in ended["error"]
    assert (ended["output"].strip(), ended["attempts"][0]["status_code"]) == ("oops", 3)
    again = await api.post(f"/runs/{run['id']}/retry")
    assert (again.status, again.headers["location"]) == (202, f"/api/v1/runs/{again.json['id']}")
    assert (again.json["trigger_type"], again.json["nominal_time"]) == ("retry", run["nominal_time"])
    assert again.json["id"] != run["id"]
    await api.until_run(again.json["id"], "failed")


async def test_a_running_run_can_be_cancelled_but_not_retried(api):
    run = await triggered(api, command("slow", "sleep", "60"))
    await api.until_run(run["id"], "running")
    assert (await api.post(f"/runs/{run['id']}/retry")).status == 409
    cancelled = await api.post(f"/runs/{run['id']}/cancel")
    assert (cancelled.status, cancelled.json["state"]) == (200, "cancelled")
    assert "key:admin" in cancelled.json["error"]
    assert (await api.post(f"/runs/{run['id']}/cancel")).json == cancelled.json


async def test_what_has_ended_cannot_be_cancelled(api):
    run = await triggered(api, command("quick", "true"))
    await api.until_run(run["id"], "succeeded")
    assert (await api.post(f"/runs/{run['id']}/cancel")).status == 409


async def test_a_run_of_a_deleted_schedule_stays_in_the_ledger_but_is_not_retried(api):
    run = await triggered(api, command("gone", "true"))
    await api.until_run(run["id"], "succeeded")
    await api.delete("/schedules/gone")
    assert (await api.get(f"/runs/{run['id']}")).json["schedule_id"] == "gone"
    assert (await api.post(f"/runs/{run['id']}/retry")).status == 409


async def test_runs_are_listed_newest_first_filtered_and_in_pages(api):
    await api.put("/schedules/many", command("many", "true"))
    made = [(await api.post("/schedules/many/trigger")).json for _ in range(7)]
    for run in made:
        await api.until_run(run["id"], "succeeded")
    newest = sorted(made, key=lambda run: (run["nominal_time"], run["id"]), reverse=True)
    expected = [run["id"] for run in newest]
    queries: list[tuple[str, dict[str, Any]]] = [("/schedules/many/runs", {}), ("/runs", {"schedule": "many"})]
    for path, query in [*queries, ("/runs", {"limit": 7})]:
        listed = (await api.get(path, **query)).json["items"]
        assert [item["id"] for item in listed] == expected
    assert await paged(api, "/schedules/many/runs", limit=3) == expected
    assert (await paged(api, "/runs", limit=3))[:7] == expected
    middle = newest[3]["nominal_time"]
    later = {run["id"] for run in newest if run["nominal_time"] >= middle}
    for path in ("/runs", "/schedules/many/runs"):
        assert {run["id"] for run in (await api.get(path, **{"from": middle})).json["items"]} == later
        earlier = (await api.get(path, to=middle)).json["items"]
        assert not later & {run["id"] for run in earlier}
        assert (await api.get(path, state="failed", **{"from": middle})).json["items"] == []
    assert (await api.get("/runs", schedule="none")).status == 404


async def paged(api: Client, path: str, limit: int) -> list[str]:
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await api.get(path, limit=limit, **cursor)).json
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            return seen
        assert len(page["items"]) == limit
        cursor = {"cursor": page["next_cursor"]}


async def test_a_completed_schedule_can_be_neither_paused_nor_resumed(api):
    soon = {"kind": "once", "at": "2020-01-01T00:00:00Z", "allow_past": True}
    definition = command("over", "true", misfire_policy="fire_once", catchup_window="36500d") | {"triggers": [soon]}
    await api.put("/schedules/over", definition)
    (run,) = [item for item in await runs_of(api, "over") if item["trigger_type"] == "schedule"]
    await api.until_run(run["id"], "succeeded", "missed", "skipped")
    assert (await api.get("/schedules/over")).json["state"] == "completed"
    for action in ("pause", "resume"):
        assert (await api.post(f"/schedules/over/{action}")).status == 409
    assert (await api.put("/schedules/over", definition)).json["state"] == "completed"


async def runs_of(api: Client, id_: str) -> list[dict[str, Any]]:
    async with asyncio.timeout(20):
        while True:
            items: list[dict[str, Any]] = (await api.get(f"/schedules/{id_}/runs")).json["items"]
            if items:
                return items
            await asyncio.sleep(0.02)


async def test_health_is_open_and_metrics_take_a_key(api):
    for path in ("/livez", "/readyz", "/health_check"):
        assert (await api.raw("GET", path)).status == 200
    assert (await api.raw("GET", "/metrics")).status == 401
    assert b"scheduler_due_backlog" in (await api.raw("GET", "/metrics", headers=api.key_and())).body
    assert (await api.raw("GET", "/health_check")).json == "OK"
