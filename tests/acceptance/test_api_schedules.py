"""Schedules over the API: every route, its statuses, headers and conditions."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.acceptance.api_client import CALL, HOURLY, PREFIX, Client, api_on, draft, segment

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path) -> AsyncIterator[Client]:
    async with api_on(tmp_path) as client:
        yield client


@pytest.fixture(scope="module")
async def shared(tmp_path_factory) -> AsyncIterator[Client]:
    async with api_on(tmp_path_factory.mktemp("shared")) as client:
        yield client


async def test_a_created_schedule_is_answered_with_its_place_and_version(api):
    made = await api.post("/schedules", draft("a", tags={"team": "growth"}, owner="u1"))
    assert (made.status, made.headers["location"], made.etag) == (201, "/api/v1/schedules/a", '"1"')
    assert made.json["created_by"] == "key:admin"
    assert made.json["state"] == "active"
    assert made.json["next_nominal_time"].endswith(":00:00Z")
    assert (await api.get("/schedules/a")).json == made.json


async def test_a_schedule_without_an_id_gets_one(api):
    made = await api.post("/schedules", draft())
    assert made.json["name"] == made.json["id"]
    assert (await api.get(made.headers["location"].removeprefix("/api/v1"))).status == 200


async def test_the_answer_holds_exactly_the_documented_fields(api):
    made = await api.post("/schedules", draft("a"))
    assert set(made.json) == set(api.document()["components"]["schemas"]["ScheduleView"]["properties"])


async def test_creating_an_id_that_exists_is_a_conflict(api):
    await api.post("/schedules", draft("a"))
    assert (await api.post("/schedules", draft("a"))).status == 409


async def test_putting_creates_then_replaces_then_changes_nothing(api):
    first = await api.put("/schedules/a", draft())
    changed = await api.put("/schedules/a", draft(timeout="1m"))
    again = await api.put("/schedules/a", draft(timeout="60"))
    assert [first.status, changed.status, again.status] == [201, 200, 200]
    assert [first.json["revision"], changed.json["revision"]] == [1, 2]
    assert again.json == changed.json


async def test_what_was_read_can_be_written_back_and_changes_nothing(api):
    interval = {"kind": "interval", "every": "90s"}
    once = {"kind": "once", "at": "2090-01-01T09:00:00", "timezone": "Europe/London"}
    await api.put("/schedules/a", draft(triggers=[HOURLY, interval, once], tags={"a": "b"}, input={"x": [1, None]}))
    await api.post("/schedules/a/pause", {"note": "why"})
    read = await api.get("/schedules/a")
    assert (await api.put("/schedules/a", read.json, if_match=read.etag)).json == read.json


async def test_the_id_in_a_put_body_is_that_of_the_path(api):
    assert (await api.put("/schedules/a", draft("a"))).status == 201
    assert "id" in (await api.put("/schedules/a", draft("b"))).errors


async def test_a_merge_patch_changes_removes_and_nests(api):
    await api.put("/schedules/a", draft(owner="u", tags={"a": "1", "b": "2"}, input={"x": {"y": 1, "z": 2}}))
    patch = {"owner": None, "tags": {"a": None, "c": "3"}, "input": {"x": {"y": 9}}}
    patched = await api.patch("/schedules/a", patch)
    assert patched.etag == '"2"'
    assert patched.json["owner"] is None
    assert patched.json["tags"] == {"b": "2", "c": "3"}
    assert patched.json["input"] == {"x": {"y": 9, "z": 2}}
    assert patched.json["target"]["url"] == CALL["url"]


async def test_a_merge_patch_takes_back_what_was_said_about_retries(api):
    usual = (await api.put("/schedules/job", draft())).json["retry"]
    assert (await api.patch("/schedules/job", {"retry": {"max_attempts": 9}})).json["retry"]["max_attempts"] == 9
    assert (await api.patch("/schedules/job", {"retry": None})).json["retry"] == usual
    assert "retry" in (await api.put("/schedules/job", draft(retry=None))).errors


async def test_a_merge_patch_cannot_rename_nor_remove_what_is_needed(api):
    await api.put("/schedules/a", draft())
    assert "id" in (await api.patch("/schedules/a", {"id": "b"})).errors
    assert "target" in (await api.patch("/schedules/a", {"target": None})).errors
    assert (await api.patch("/schedules/a", [])).status == 422
    assert (await api.get("/schedules/a")).json["revision"] == 1


async def test_an_empty_merge_patch_changes_nothing(api):
    made = await api.put("/schedules/a", draft())
    assert (await api.patch("/schedules/a", {})).json == made.json


@pytest.mark.parametrize("action", ["put", "patch", "pause", "resume", "delete"])
async def test_a_write_that_names_another_version_is_refused(api, action):
    await api.put("/schedules/a", draft())

    async def write(version: str):
        if action == "put":
            return await api.put("/schedules/a", draft(timeout="1m"), if_match=version)
        if action == "patch":
            return await api.patch("/schedules/a", {"timeout": "1m"}, if_match=version)
        if action == "delete":
            return await api.delete("/schedules/a", if_match=version)
        return await api.post(f"/schedules/a/{action}", if_match=version)

    assert (await write('"2"')).status == 412
    assert "If-Match" in (await write("one")).errors
    assert (await write('W/"1"')).status in {200, 204}


async def test_a_put_for_whatever_version_needs_one(api):
    assert (await api.put("/schedules/a", draft(), if_match="*")).status == 412
    assert (await api.put("/schedules/a", draft(), if_match='"1"')).status == 412
    assert (await api.put("/schedules/a", draft())).status == 201
    assert (await api.put("/schedules/a", draft(timeout="1m"), if_match="*")).status == 200


async def test_a_put_that_only_creates_replaces_nothing(api):
    assert (await api.put("/schedules/a", draft(), if_none_match="*")).status == 201
    refused = await api.put("/schedules/a", draft(timeout="1m"), if_none_match="*")
    assert refused.status == 412
    assert "exists already" in refused.json["detail"]
    assert (await api.get("/schedules/a")).json["revision"] == 1
    assert "If-None-Match" in (await api.put("/schedules/a", draft(), if_none_match='"1"')).errors
    assert "If-None-Match" in (await api.put("/schedules/a", draft(), if_none_match="*", if_match="*")).errors


async def test_a_condition_that_nothing_looks_at_is_refused(api):
    await api.put("/schedules/a", draft())
    assert set((await api.post("/schedules/a/trigger", if_match='"7"')).errors) == {"If-Match"}
    assert set((await api.post("/schedules/batch", {"schedules": [draft("a")]}, if_match='"7"')).errors) == {"If-Match"}
    assert set((await api.patch("/schedules/a", {}, if_none_match="*")).errors) == {"If-None-Match"}
    assert (await api.get("/schedules/a/runs")).json["items"] == []
    assert (await api.call("GET", "/schedules/a", headers={"if_none_match": '"1"'})).status == 200


async def test_a_parameter_that_stands_twice_is_refused(api):
    answer = await api.raw("GET", f"{PREFIX}/schedules", query=b"state=active&state=paused", headers=api.key_and())
    assert answer.errors == {"state": ("the parameter stands twice", "give it once")}


async def test_null_stands_for_nothing_only_where_the_document_says_so(api):
    await api.put("/schedules/a", draft())
    for action, field in {"pause": "note", "resume": "catch_up", "trigger": "input"}.items():
        path = f"/schedules/a/{action}"
        assert set((await api.post(path, {field: None})).errors) == {field}
        answer = await api.raw("POST", PREFIX + path, headers=api.key_and(), pieces=[b"null"])
        assert set(answer.errors) == {"body"}
    assert set((await api.post("/schedules/batch", {"schedules": [], "prune": None})).errors) == {"prune"}
    assert (await api.post("/schedules/batch", {"schedules": [], "source": None})).status == 200
    assert (await api.get("/schedules/a")).json["state"] == "active"


async def test_a_patch_does_not_pause(api):
    shown = (await api.put("/schedules/a", draft())).json
    assert set((await api.patch("/schedules/a", {"state": "paused"})).errors) == {"state"}
    assert (await api.patch("/schedules/a", {"state": shown["state"], "timeout": "1m"})).status == 200


async def test_a_deleted_schedule_is_gone_and_its_id_is_free(api):
    await api.put("/schedules/a", draft())
    gone = await api.delete("/schedules/a")
    assert (gone.status, gone.body) == (204, b"")
    assert (await api.get("/schedules/a")).status == 404
    assert (await api.delete("/schedules/a")).status == 404
    assert (await api.put("/schedules/a", draft())).json["revision"] == 1


async def test_pausing_keeps_who_said_so_and_why(api):
    await api.put("/schedules/a", draft())
    paused = await api.post("/schedules/a/pause", {"note": "maintenance"})
    seen = paused.json
    assert (seen["state"], seen["note"], seen["note_by"]) == ("paused", "maintenance", "key:admin")
    assert seen["note_at"]
    assert seen["next_nominal_time"] is None
    resumed = await api.post("/schedules/a/resume", {"catch_up": True})
    assert (resumed.json["state"], resumed.json["note"]) == ("active", "")


async def test_pause_and_resume_need_no_body_and_may_be_repeated(api):
    await api.put("/schedules/a", draft())
    for action, state in [("pause", "paused"), ("pause", "paused"), ("resume", "active"), ("resume", "active")]:
        assert (await api.post(f"/schedules/a/{action}")).json["state"] == state


async def test_what_is_not_there_can_be_neither_read_nor_changed(api):
    for action in ("pause", "resume", "trigger"):
        assert (await api.post(f"/schedules/none/{action}")).status == 404
    for part in ("", "/upcoming", "/runs"):
        assert (await api.get(f"/schedules/none{part}")).status == 404
    assert (await api.patch("/schedules/none", {})).status == 404
    for action in ("cancel", "retry"):
        assert (await api.post(f"/runs/none/{action}")).status == 404
    assert (await api.get("/runs/none")).status == 404


@pytest.mark.parametrize("id_", ["a", "A.b_c:d@e~f-g", "0", "batch", "x" * 200])
async def test_ids_of_the_allowed_characters_work_in_a_path(shared, id_):
    assert (await shared.put(f"/schedules/{segment(id_)}", draft())).json["id"] == id_
    assert (await shared.get(f"/schedules/{segment(id_)}")).status == 200
    assert (await shared.get(f"/schedules/{segment(id_)}/upcoming")).status == 200


@pytest.mark.parametrize("id_", ["x" * 201, "ä", "a b", "-a", "a%b", "a\nb", "\0", "a\n", "名"])
async def test_other_ids_are_refused_by_name(shared, id_):
    refused = await shared.put(f"/schedules/{segment(id_)}", draft())
    assert list(refused.errors) == ["id"]
    assert "id" in (await shared.post("/schedules", draft(id_))).errors
    assert (await shared.get(f"/schedules/{segment(id_)}")).status == 404


async def test_names_end_at_200_characters(api):
    assert (await api.post("/schedules", draft(name="ü" * 200))).status == 201
    for wrong in ("ü" * 201, "a\nb", "", "\x7f"):
        assert "name" in (await api.post("/schedules", draft(name=wrong))).errors


async def test_another_namespace_is_refused_wherever_it_is_named(api):
    assert (await api.get("/schedules", namespace="other")).status == 404
    assert "namespace" in (await api.post("/schedules", draft(namespace="other"))).errors
    assert (await api.get("/schedules", namespace="default")).status == 200


async def test_upcoming_times_come_up_to_a_thousand(api):
    london = {"kind": "cron", "expression": "0 9 * * *", "timezone": "Europe/London"}
    await api.put("/schedules/a", draft(triggers=[london]))
    items = (await api.get("/schedules/a/upcoming", count=1000)).json["items"]
    assert len(items) == 1000
    assert {item["timezone"] for item in items} == {"Europe/London"}
    assert {item["local_time"][11:19] for item in items} == {"09:00:00"}
    assert [item["nominal_time"] for item in items] == sorted({item["nominal_time"] for item in items})
    assert len((await api.get("/schedules/a/upcoming")).json["items"]) == 10
    for wrong in (0, 1001, "x", ""):
        assert "count" in (await api.get("/schedules/a/upcoming", count=wrong)).errors


async def test_times_agree_between_preview_upcoming_and_the_schedule(api):
    made = await api.put("/schedules/a", draft())
    upcoming = (await api.get("/schedules/a/upcoming", count=3)).json["items"]
    seen = await api.post("/preview", {"triggers": [HOURLY], "from": made.json["created_at"], "count": 3})
    assert seen.json["occurrences"] == upcoming
    assert upcoming[0]["nominal_time"] == made.json["next_nominal_time"]


async def test_what_is_completed_has_no_next_times_and_a_limit_leaves_only_so_many(api):
    await api.put("/schedules/two", draft(max_runs=2))
    assert len((await api.get("/schedules/two/upcoming")).json["items"]) == 2
    await api.put("/schedules/done", draft())
    ended = {"kind": "rrule", "rule": "FREQ=DAILY;COUNT=2", "dtstart": "2000-01-01T09:00:00"}
    assert (await api.put("/schedules/done", draft(triggers=[ended]))).json["state"] == "completed"
    assert (await api.get("/schedules/done/upcoming")).json["items"] == []


async def test_times_with_jitter_tell_when_they_fire_in_fact(api):
    made = await api.put("/schedules/a", draft(jitter="30m"))
    upcoming = (await api.get("/schedules/a/upcoming", count=3)).json["items"]
    assert upcoming[0]["scheduled_time"] == made.json["next_scheduled_time"]
    asked = {"triggers": [HOURLY], "jitter": "30m", "id": "a", "from": made.json["created_at"], "count": 3}
    assert (await api.post("/preview", asked)).json["occurrences"] == upcoming


async def test_a_preview_of_minute_0_warns_when_many_other_schedules_fire_there(api):
    daily = {"kind": "cron", "expression": "0 9 * * *"}
    for number in range(10):
        await api.put(f"/schedules/s{number}", draft(triggers=[daily]))
    asked = {"triggers": [daily | {"expression": "0 17 * * *"}]}
    assert "10 other schedules fire at minute 0 too" in (await api.post("/preview", asked)).json["warnings"][0]
    assert (await api.post("/preview", asked | {"id": "s3"})).json["warnings"] == []
    assert (await api.post("/preview", {"triggers": [daily | {"expression": "5 17 * * *"}]})).json["warnings"] == []
