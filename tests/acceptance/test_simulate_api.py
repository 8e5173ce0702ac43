"""`POST /simulate`: the load of the stored schedules or of drafts; nothing fires, and nothing has to wait for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from backend.engine import simulate as replay
from backend.service import simulate as service
from tests.acceptance.api_client import Answer, Client, api_on, draft

pytestmark = pytest.mark.anyio
DAY = {"from": "2098-12-01T00:00:00Z", "to": "2098-12-02T00:00:00Z"}
FIVE = {"kind": "cron", "expression": "*/5 * * * *"}
NINE = {"kind": "cron", "expression": "0 9 * * *"}


async def simulated(api: Client, **fields: Any) -> dict[str, Any]:
    answer = await api.post("/simulate", DAY | fields)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    return found


async def test_the_active_schedules_are_replayed_and_nothing_fires(tmp_path):
    async with api_on(tmp_path) as api:
        for n in range(3):
            await api.put(f"/schedules/nine-{n}", draft(triggers=[NINE]))
        await api.put("/schedules/five", draft(triggers=[FIVE]))
        await api.put("/schedules/paused", draft(triggers=[FIVE]))
        await api.post("/schedules/paused/pause")
        await api.put("/schedules/gone", draft(triggers=[FIVE]))
        await api.delete("/schedules/gone")
        found = await simulated(api)
        assert (found["schedules"], found["total"], found["bucket_seconds"]) == (4, 288 + 3, 60)
        assert len(found["minutes"]) == 288
        assert found["minutes"][0] == ["2098-12-01T00:00:00Z", 1]
        assert found["peak"] == {"starts": 4, "minutes": ["2098-12-01T09:00:00Z"]}
        assert {one["id"]: one["starts"] for one in found["peak_schedules"]} == {
            "five": 1,
            "nine-0": 1,
            "nine-1": 1,
            "nine-2": 1,
        }
        assert found["misfires"] is None
        assert (await api.get("/runs")).json["items"] == []


async def test_drafts_are_replayed_instead_of_what_is_stored(tmp_path):
    async with api_on(tmp_path) as api:
        await api.put("/schedules/five", draft(triggers=[FIVE]))
        found = await simulated(api, schedules=[draft("a", triggers=[NINE]), draft(triggers=[NINE])])
        assert (found["schedules"], found["total"]) == (2, 2)
        assert [one["id"] for one in found["peak_schedules"]] == ["a", "schedules[1]"]
        assert [one["id"] for one in (await api.get("/schedules")).json["items"]] == ["five"]


async def test_a_draft_may_leave_the_days_of_a_calendar_out(tmp_path):
    without = draft("a", triggers=[NINE], exclusions=[{"kind": "calendar", "calendar": "uk"}])
    async with api_on(tmp_path) as api:
        refused = await api.post("/simulate", DAY | {"schedules": [draft("b"), without]})
        assert list(refused.errors) == ["schedules[1].exclusions[0].calendar"]
        await api.put("/calendars/uk", {"days": ["2098-12-01"]})
        assert (await simulated(api, schedules=[without]))["total"] == 0


@pytest.mark.parametrize("durations", ["7m", {"five": "7m"}, {"*": "7m"}, {"five": 420, "*": "1s"}, 420])
async def test_what_overlaps_is_told_for_the_lengths_that_are_given(tmp_path, durations):
    async with api_on(tmp_path) as api:
        found = await simulated(api, schedules=[draft("five", triggers=[FIVE])], durations=durations)
        assert found["overlaps"]["count"] == found["overlaps"]["skipped"] > 100
        assert found["overlaps"]["schedules"][0]["id"] == "five"
        assert found["notes"] == []


async def test_without_lengths_nothing_overlaps_and_the_answer_says_why(tmp_path):
    async with api_on(tmp_path) as api:
        found = await simulated(api, schedules=[draft("five", triggers=[FIVE])])
        assert found["overlaps"]["count"] == 0
        assert found["notes"] == ["no durations were given, so every run is taken to end at once"]


async def test_an_outage_is_answered_with_what_the_misfire_policies_would_do(tmp_path):
    drafts = [draft(policy, triggers=[FIVE], misfire_policy=policy) for policy in ("skip", "fire_once", "fire_all")]
    outage = {"from": "2098-12-01T08:01:00Z", "to": "2098-12-01T09:02:00Z"}
    async with api_on(tmp_path) as api:
        found = (await simulated(api, schedules=drafts, outage=outage))["misfires"]
        assert (found["late"], found["run"], found["dropped"]) == (36, 13, {"missed": 23})
        assert {one["id"]: one["run"] for one in found["schedules"]} == {"skip": 0, "fire_once": 1, "fire_all": 12}


async def test_a_long_range_is_answered_in_wider_buckets_that_lose_nothing(tmp_path):
    async with api_on(tmp_path) as api:
        drafts = [draft("five", triggers=[FIVE]), draft("nine", triggers=[NINE])]
        year = await simulated(api, schedules=drafts, to="2099-12-01T00:00:00Z", durations="1s")
        assert year["bucket_seconds"] == 3600
        assert len(year["minutes"]) == 365 * 24 <= 10_080
        assert sum(number for _, number in year["minutes"]) == year["total"] == 365 * 289
        assert year["peak"]["starts"] == 2
        assert year["notes"] == ["the range is longer than a week, so each bucket is 60 minutes wide"]
        week = await simulated(api, schedules=drafts, to="2098-12-08T00:00:00Z")
        assert week["bucket_seconds"] == 60


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"to": "2098-12-01T00:00:00Z"}, "to"),
        ({"to": "2099-12-03T00:00:00Z"}, "to"),
        ({"to": "soon"}, "to"),
        ({"durations": "long"}, "durations"),
        ({"durations": {"a": "long"}}, "durations"),
        ({"outage": {"from": "2098-12-01T00:00:00Z", "to": "2098-12-01T00:00:00Z"}}, "outage.to"),
        ({"schedules": [{"id": "a"}]}, "schedules[0].triggers"),
        ({"schedules": [draft("a", triggers=[{"kind": "cron", "expression": "61 * * * *"}])]}, "schedules[0].triggers"),
        ({"schedules": {}}, "schedules"),
        ({"bogus": 1}, "bogus"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_its_field(tmp_path, fields, field):
    async with api_on(tmp_path) as api:
        errors = (await api.post("/simulate", DAY | fields)).errors
        assert any(name.startswith(field) for name in errors), errors


async def test_more_than_is_replayed_at_most_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(replay, "MOST", 100)
    async with api_on(tmp_path) as api:
        refused = await api.post("/simulate", DAY | {"schedules": [draft("five", triggers=[FIVE])]})
        assert list(refused.errors) == ["to"]


async def test_many_schedules_are_read_page_by_page(tmp_path, monkeypatch):
    monkeypatch.setattr(service, "PAGE", 3)
    async with api_on(tmp_path) as api:
        definitions = [draft(f"job-{n}", triggers=[NINE]) for n in range(6)]
        assert (await api.post("/schedules/batch", {"schedules": definitions})).status == 200
        assert (await simulated(api))["total"] == 6
        await api.put("/schedules/job-7", draft(triggers=[NINE]))
        assert (await simulated(api))["total"] == 7


async def test_the_event_loop_turns_again_and_again_while_a_simulation_goes_on(tmp_path):
    async with api_on(tmp_path) as api:
        drafts = [draft(f"job-{n}", triggers=[{"kind": "cron", "expression": f"*/{n} * * * *"}]) for n in range(2, 12)]
        going = asyncio.create_task(simulated(api, schedules=drafts, durations="90s"))
        turns = 0
        while not going.done():
            await asyncio.sleep(0.001)
            turns += 1
        found = await going
        # About thirty; with no pause in the replay it would have been a few, for the request itself.
        assert found["total"] > 1000
        assert turns > 8


async def test_a_namespace_waits_for_one_simulation_at_a_time_and_others_are_not_refused_for_it(tmp_path):
    async with api_on(tmp_path) as api:
        await api.post("/namespaces", {"id": "growth"})
        context = api.app.state.context

        async def start(namespace: str) -> asyncio.Task[Answer]:
            query = {"namespace": namespace}
            task = asyncio.create_task(api.call("POST", "/simulate", document=DAY, query=query))
            while namespace not in context.simulated:
                await api.get("/keys/self")
            return task

        async with context.simulating:
            going = [await start("default"), await start("growth")]
            refused = await api.post("/simulate", DAY)
            assert (refused.status, refused.headers["retry-after"]) == (429, "5")
        assert [(await task).status for task in going] == [200, 200]
        assert (await api.post("/simulate", DAY | {"to": "soon"})).status == 422
        assert (await api.post("/simulate", DAY)).status == 200
