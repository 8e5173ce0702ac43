"""Lists over the API: filters, pages and cursors; and batches, all or nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.acceptance.api_client import Client, api_on, draft

pytestmark = pytest.mark.anyio
COMMAND = {"kind": "command", "argv": ["true"]}


@pytest.fixture
async def api(tmp_path) -> AsyncIterator[Client]:
    async with api_on(tmp_path) as client:
        yield client


@pytest.fixture(scope="module")
async def asked(tmp_path_factory) -> AsyncIterator[Client]:
    """One system for all that only ask."""
    async with api_on(tmp_path_factory.mktemp("asked")) as client:
        await client.put("/schedules/a", draft())
        yield client


async def ids(api: Client, **filters: Any) -> list[str]:
    listed = await api.get("/schedules", **filters)
    assert listed.status == 200, listed.body
    return [item["id"] for item in listed.json["items"]]


async def test_filters_find_what_they_name_and_nothing_else(api):
    far = {"kind": "once", "at": "2090-01-01T00:00:00Z"}
    await api.post("/schedules", draft("one", tags={"team": "a", "env": "prod"}, owner="u1", name="First one"))
    await api.post("/schedules", draft("two", tags={"team": "a:b"}, owner="u2", target=COMMAND))
    await api.post("/schedules", draft("three", triggers=[far], name="100%_sure"))
    await api.post("/schedules/two/pause")
    assert await ids(api) == ["one", "two", "three"]
    assert await ids(api, tag="team:a") == ["one"]
    assert await ids(api, tag="team:a:b") == ["two"]
    assert await ids(api, owner="u2") == ["two"]
    assert await ids(api, name="First one") == ["one"]
    assert await ids(api, name="First") == []
    assert await ids(api, target="command") == ["two"]
    assert await ids(api, state="paused") == ["two"]
    assert await ids(api, state="active", q="E") == ["one", "three"]
    assert await ids(api, q="first") == ["one"]
    assert await ids(api, q="%_") == ["three"]
    assert "three" not in await ids(api, due_before="2089-01-01T00:00:00Z")
    assert "three" in await ids(api, due_before="2090-01-01T00:00:00.000001Z")
    assert "three" not in await ids(api, due_before="2090-01-01T01:00:00+01:00")


@pytest.mark.parametrize("tag", ["team", "team=a", ":a", ""])
async def test_a_tag_that_is_not_name_and_value_is_refused_wherever_it_filters(asked: Client, tag: str):
    route = {"id": "r", "events": ["failure"], "target": {"kind": "http", "url": "https://example.org"}}
    for answer, field in (
        (await asked.get("/schedules", tag=tag), "tag"),
        (await asked.post("/schedules/pause", {"filter": {"tag": tag}}), "filter.tag"),
        (await asked.post("/schedules/resume", {"filter": {"tag": tag}}), "filter.tag"),
        (await asked.post("/notifications", {**route, "tag": tag}), "tag"),
    ):
        assert (answer.status, [*answer.errors]) == (422, [field])
        assert "is not name:value" in answer.body.decode()


@pytest.mark.parametrize(
    ("path", "filters", "told"),
    [
        ("/events", {"kind": "run.finnished"}, "there is no kind 'run.finnished'; did you mean run.finished?"),
        ("/events", {"kind": "nope"}, "give schedule, run, notification, schedule.created, "),
        ("/schedules", {"target": "htp"}, "'htp' is not a target"),
        ("/runs", {"from": "2030-01-02T00:00:00Z", "to": "2030-01-01T00:00:00Z"}, "to: it is not after from"),
        ("/audit", {"from": "2030-01-02T00:00:00Z", "to": "2030-01-01T00:00:00Z"}, "to: it is not after from"),
        ("/audit", {"kind": "nope"}, "give schedule, run, calendar, namespace, notification, secret, egress or key"),
        ("/audit", {"verb": "pause"}, "there is no verb 'pause'; did you mean paused?"),
        (
            "/audit",
            {"kind": "run", "verb": "paused"},
            "there is no verb 'paused'; give triggered, retried or cancelled",
        ),
    ],
)
async def test_a_value_that_nothing_can_have_is_refused_rather_than_matched_with_nothing(asked, path, filters, told):
    answer = await asked.get(path, **filters)
    assert answer.status == 422
    assert told in answer.body.decode()


async def test_a_changed_tag_is_found_by_its_new_value_only(api):
    await api.put("/schedules/a", draft(tags={"team": "old"}))
    await api.put("/schedules/a", draft(tags={"team": "new"}))
    assert await ids(api, tag="team:old") == []
    assert await ids(api, tag="team:new") == ["a"]


async def test_pages_hold_everything_once_while_others_come_and_go(api):
    await api.post("/schedules/batch", {"schedules": [draft(f"s{n}") for n in range(10)]})
    first = (await api.get("/schedules", limit=4)).json
    for gone in ("s1", "s3", "s5"):  # before the cursor, at it, and behind it
        await api.delete(f"/schedules/{gone}")
    await api.post("/schedules", draft("late"))
    seen, cursor = [item["id"] for item in first["items"]], first["next_cursor"]
    while cursor:
        page = (await api.get("/schedules", limit=4, cursor=cursor)).json
        seen, cursor = seen + [item["id"] for item in page["items"]], page["next_cursor"]
    assert seen == ["s0", "s1", "s2", "s3", "s4", "s6", "s7", "s8", "s9", "late"]


async def test_a_full_last_page_has_no_cursor(api):
    await api.post("/schedules/batch", {"schedules": [draft(f"s{n}") for n in range(3)]})
    assert (await api.get("/schedules", limit=3)).json["next_cursor"] is None


GARBAGE = ["x", "", "é", "\0", "AAAA", "W10", "WzFd.", "W3RydWVd", "bnVsbA", "WzEuNV0", "WyIxIl0", "x" * 501]
HOSTILE = ["WzEsICJcdWQ4MDAiXQ", "WzEsICJcdTAwMDAiXQ", "WzEwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAsICJ4Il0", "W1tbW1tbW1tb"]


@pytest.mark.parametrize("cursor", GARBAGE + HOSTILE)
@pytest.mark.parametrize("path", ["/schedules", "/runs", "/schedules/a/runs"])
async def test_a_cursor_that_no_list_gave_out_is_refused(asked, path, cursor):
    assert list((await asked.get(path, cursor=cursor)).errors) == ["cursor"]


@pytest.mark.parametrize("limit", [0, -1, 501, "abc", "", "1e2", "1.5", 10**30])
@pytest.mark.parametrize("path", ["/schedules", "/runs"])
async def test_a_page_has_1_to_500_items(asked, path, limit):
    ((rule, fix),) = (await asked.get(path, limit=limit)).errors.values()
    assert rule
    assert "number" in fix or "at" in fix


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("/schedules", "state", "sleeping"),
        ("/schedules", "due_before", "soon"),
        ("/schedules", "due_before", "2026-01-01T00:00:00"),
        ("/schedules", "q", "x" * 201),
        ("/runs", "state", "x"),
        ("/runs", "from", "x"),
        ("/runs", "to", "9999-12-31T23:59:59-23:59"),
        ("/runs", "from", "0001-01-01T00:00:00+23:59"),
    ],
)
async def test_a_filter_that_says_nothing_sensible_is_refused_by_name(asked, path, field, value):
    assert list((await asked.get(path, **{field: value})).errors) == [field]


@pytest.mark.parametrize("value", [b"%00", b"%ff", b"%ed%a0%80", b"\xff", b"%", b"%zz", b"\xf0\x9f\x98\x80"])
@pytest.mark.parametrize("name", [b"q", b"name", b"owner", b"tag"])
async def test_odd_bytes_in_a_query_find_nothing_and_break_nothing(asked, name, value):
    text = b"team:" + value if name == b"tag" else value
    answer = await asked.raw("GET", "/api/v1/schedules", query=name + b"=" + text, headers=asked.key_and())
    assert answer.status == 200
    assert answer.json["items"] == []


@pytest.mark.parametrize("path", ["/schedules", "/schedules/a", "/schedules/a/upcoming", "/runs", "/schedules/a/runs"])
@pytest.mark.parametrize("query", ["bogus=1", "=1", "%00=%ff", "Limit=2", "namespace=default&bogus"])
async def test_a_parameter_that_the_route_does_not_have_is_refused_by_name(asked, path, query):
    answer = await asked.raw("GET", f"/api/v1{path}", query=query.encode(), headers=asked.key_and())
    assert answer.status == 422
    [(rule, _)] = answer.errors.values()
    assert rule == "there is no such parameter here"


async def test_a_misspelt_parameter_is_answered_with_the_one_that_was_meant(asked):
    assert (await asked.get("/schedules", stat="active")).errors["stat"][1] == "did you mean state?"
    assert (await asked.get("/runs", schedules="a")).errors["schedules"][1] == "did you mean schedule?"
    assert (await asked.get("/runs/none", attempts=1)).errors["attempts"][1] == "give only namespace"


async def test_a_batch_of_ten_thousand_is_one_transaction(api):
    many = [draft(f"s{n}", tags={"n": str(n)}) for n in range(10_000)]
    done = await api.post("/schedules/batch", {"schedules": many})
    assert len(done.json["items"]) == 10_000
    assert {(item["created"], item["change"]) for item in done.json["items"]} == {(True, "created")}
    assert await ids(api, tag="n:9999") == ["s9999"]
    assert "schedules" in (await api.post("/schedules/batch", {"schedules": [*many, draft("more")]})).errors


async def test_a_batch_says_what_it_did_to_each(api):
    await api.put("/schedules/same", draft())
    await api.put("/schedules/other", draft())
    odd = draft("odd", triggers=[{"kind": "cron", "expression": "*/45 * * * *"}])
    wanted = [draft("same"), draft("other", owner="u"), draft("new"), odd]
    done = await api.post("/schedules/batch", {"schedules": wanted})
    (warning,) = done.json["items"][3]["warnings"]
    assert "uneven" in warning
    assert done.json["items"] == [
        {"id": "same", "created": False, "change": "unchanged", "warnings": []},
        {"id": "other", "created": False, "change": "updated", "warnings": []},
        {"id": "new", "created": True, "change": "created", "warnings": []},
        {"id": "odd", "created": True, "change": "created", "warnings": [warning]},
    ]
    assert (await api.get("/schedules/odd")).json["warnings"] == [warning]
    again = await api.post("/schedules/batch", {"schedules": [odd]})
    assert again.json["items"] == [{"id": "odd", "created": False, "change": "unchanged", "warnings": []}]


async def test_a_paused_schedule_is_not_due_before_any_time(api):
    await api.put("/schedules/a", draft())
    await api.put("/schedules/b", draft())
    await api.post("/schedules/b/pause")
    assert await ids(api, due_before="2999-01-01T00:00:00Z") == ["a"]


async def test_a_batch_with_one_bad_definition_changes_nothing_and_names_it(api):
    bad = draft("b", triggers=[{"kind": "cron", "expression": "61 * * * *"}])
    refused = await api.post("/schedules/batch", {"schedules": [draft("a"), bad]})
    assert list(refused.errors) == ["schedules[1].triggers[0].expression"]
    assert await ids(api) == []


async def test_what_is_only_found_while_writing_undoes_the_whole_batch(api):
    past = draft("b", triggers=[{"kind": "once", "at": "2020-01-01T00:00:00Z"}])
    refused = await api.post("/schedules/batch", {"schedules": [draft("a"), past]})
    assert list(refused.errors) == ["schedules[1].triggers[0].at"]
    assert await ids(api) == []


async def test_a_batch_needs_ids_and_each_once(api):
    doubled = await api.post("/schedules/batch", {"schedules": [draft("a"), draft("a")]})
    assert list(doubled.errors) == ["schedules[1].id"]
    assert list((await api.post("/schedules/batch", {"schedules": [draft()]})).errors) == ["schedules[0].id"]


async def test_pruning_deletes_what_the_same_source_made_and_no_longer_has(api):
    await api.put("/schedules/by-hand", draft())
    await api.post("/schedules/batch", {"schedules": [draft("x")], "source": "other.yaml"})
    await api.post("/schedules/batch", {"schedules": [draft("a"), draft("b")], "source": "f.yaml"})
    wish = {"schedules": [draft("a")], "source": "f.yaml", "prune": True}
    rehearsed = await api.post("/schedules/batch", wish | {"dry_run": True})
    assert await ids(api) == ["by-hand", "x", "a", "b"]
    done = await api.post("/schedules/batch", wish)
    assert done.json == rehearsed.json
    assert {item["id"]: item["change"] for item in done.json["items"]} == {"a": "unchanged", "b": "deleted"}
    assert await ids(api) == ["by-hand", "x", "a"]


async def test_pruning_with_an_empty_list_deletes_all_of_the_source(api):
    await api.post("/schedules/batch", {"schedules": [draft("a")], "source": "f.yaml"})
    done = await api.post("/schedules/batch", {"schedules": [], "source": "f.yaml", "prune": True})
    assert [item["change"] for item in done.json["items"]] == ["deleted"]
    assert await ids(api) == []


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({}, "schedules"),
        ({"schedules": {}}, "schedules"),
        ({"schedules": None}, "schedules"),
        ({"schedules": [], "prune": True}, "prune"),
        ({"schedules": [], "source": "x" * 201}, "source"),
        ({"schedules": [], "source": "\0"}, "source"),
        ({"schedules": [], "source": 1}, "source"),
        ({"schedules": [], "dry_run": "yes"}, "dry_run"),
        ({"schedules": [], "more": 1}, "more"),
        ({"schedules": [1]}, "schedules[0]"),
        ({"schedules": [None]}, "schedules[0]"),
    ],
)
async def test_a_malformed_batch_is_refused_by_name(asked, wish, field):
    assert list((await asked.post("/schedules/batch", wish)).errors) == [field]


async def test_a_batch_ends_at_32_mib_and_is_not_read_further(api):
    filler = json.dumps({"schedules": [draft("a", input={"x": "y" * 900_000})]}).encode()
    assert len(filler) > 2**19
    small = await api.raw("POST", "/api/v1/schedules/batch", headers=api.key_and(), pieces=[filler, b" " * 2**21])
    assert small.status == 200
    pieces = [filler, *[b" " * 2**20] * 40]
    assert (await api.raw("POST", "/api/v1/schedules/batch", headers=api.key_and(), pieces=pieces)).status == 413


@pytest.mark.anyio
async def test_a_walk_that_no_index_shortens_ends_early_and_goes_on_by_its_cursor(api, monkeypatch):
    monkeypatch.setattr("backend.store.schedules.LONGEST_WALK", 3)
    await api.post("/schedules/batch", {"schedules": [draft(f"walk-{n:02}") for n in range(9)] + [draft("needle-w")]})
    found, pages, cursor = [], 0, None
    while pages == 0 or cursor:
        page = (await api.get("/schedules", q="needle-w", **({"cursor": cursor} if cursor else {}))).json
        found += [item["id"] for item in page["items"]]
        pages, cursor = pages + 1, page["next_cursor"]
    assert (found, pages > 2) == (["needle-w"], True)


@pytest.mark.parametrize("limit", [24, 25, 26, 50, 500])
async def test_a_page_has_as_many_schedules_as_were_asked_for_whatever_is_read_at_a_time(api, limit):
    wanted = [f"job-{number:02d}" for number in range(55)]
    batch = await api.post("/schedules/batch", {"schedules": [draft(id_) for id_ in wanted]})
    assert batch.status == 200, batch.body
    pages = await pages_of(api, "/schedules", limit=limit)
    assert [len(page) for page in pages[:-1]] == [limit] * (54 // limit)
    assert [item["id"] for page in pages for item in page] == wanted


async def test_pages_of_long_definitions_and_of_their_changes_end_early_and_miss_none(api):
    wanted = [f"job-{number}" for number in range(6)]
    for id_ in wanted:
        made = await api.put(f"/schedules/{id_}", draft(input={"text": "x" * 900_000}))
        assert made.status == 201, made.body
    pages = await pages_of(api, "/schedules", limit=500)
    assert [[item["id"] for item in page] for page in pages] == [wanted[:4], wanted[4:]]
    changes = await pages_of(api, "/audit", limit=500, kind="schedule")
    assert [[item["id"] for item in page] for page in changes] == [wanted[:1:-1], wanted[1::-1]]


async def test_changes_as_lines_are_all_of_them_without_pages(api):
    for number in range(7):
        assert (await api.put("/schedules/x", draft(name=f"N{number}"))).status in {200, 201}
    paged = [change for page in await pages_of(api, "/audit", limit=2, kind="schedule") for change in page]
    assert len(paged) == 7
    by_header = await api.call("GET", "/audit", query={"kind": "schedule"}, headers={"accept": "application/x-ndjson"})
    for lined in (by_header, await api.get("/audit", kind="schedule", format="ndjson")):
        assert lined.headers["content-type"].startswith("application/x-ndjson")
        assert [json.loads(line) for line in lined.body.splitlines()] == paged
    cut = await api.get("/audit", format="ndjson", limit=2, cursor="x")
    assert set(cut.errors) == {"limit", "cursor"}
    query = {"kind": "schedule", "format": "json", "limit": 2}
    page = await api.call("GET", "/audit", query=query, headers={"accept": "application/json, application/x-ndjson"})
    assert page.json["items"] == paged[:2]


async def pages_of(api: Client, path: str, **query: Any) -> list[list[dict[str, Any]]]:
    pages, cursor = [], None
    while True:
        page = (await api.get(path, **query, **({"cursor": cursor} if cursor else {}))).json
        pages.append(page["items"])
        cursor = page["next_cursor"]
        if cursor is None:
            return pages
