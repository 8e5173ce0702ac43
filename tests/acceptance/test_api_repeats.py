"""Requests with an Idempotency-Key: sent again, they are not done again, and answered the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from backend.api.app import NOUNS
from backend.api.request_ids import PREFIX
from backend.errors import StoreUnavailable
from backend.store import creating
from backend.store.operation import Operation
from backend.store.repeats import Noting
from tests.acceptance.api_client import Answer, Client, api_on, draft
from tests.databases import sql, url_in

pytestmark = pytest.mark.anyio

CHANGES_NOTHING = {f"{PREFIX}/preview", f"{PREFIX}/simulate"}
BY_ITSELF = {f"{PREFIX}/runs/{{id}}/heartbeat", f"{PREFIX}/runs/{{id}}/complete"}
"""As good twice as once: what a callee says is about one attempt of one run."""
AT_ONCE = 50
OF_EACH_ANSWER = {"idempotency-replayed", "x-request-id"}
PAST = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-01T03:00:00Z"}


@pytest.fixture(scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    async with api_on(tmp_path_factory.mktemp("repeats")) as client:
        assert (await client.post("/schedules", draft("hourly"))).status == 201
        yield client


async def post(api: Client, path: str, document: Any, key: str, **headers: str) -> Answer:
    return await api.post(path, document, idempotency_key=key, **headers)


def is_replay(answer: Answer) -> bool:
    return answer.headers.get("idempotency-replayed") == "true"


def same(first: Answer, again: Answer) -> bool:
    ours = [{n: v for n, v in one.headers.items() if n not in OF_EACH_ANSWER} for one in (first, again)]
    return (first.status, first.body, ours[0]) == (again.status, again.body, ours[1])


async def at_once(api: Client, path: str, document: Any, key: str) -> Answer:
    """Send the same request many times at once; exactly one is done, and all are answered the same."""
    answers = await asyncio.gather(*(post(api, path, document, key) for _ in range(AT_ONCE)))
    first = next(answer for answer in answers if not is_replay(answer))
    assert first.status in {200, 201, 202}, first.body
    assert sum(map(is_replay, answers)) == AT_ONCE - 1
    assert all(same(first, answer) for answer in answers)
    return first


async def count(api: Client, path: str) -> int:
    return len((await api.get(path, limit=500)).json["items"])


async def test_every_route_that_changes_something_by_post_takes_the_key(api: Client) -> None:
    posts = {
        PREFIX + route.path_format: api.document()["paths"][PREFIX + route.path_format]["post"]
        for noun in NOUNS
        for route in noun.router.routes
        if "POST" in route.methods
    }
    for path, operation in posts.items():
        if path in BY_ITSELF:
            continue
        named = {parameter["name"].lower() for parameter in operation.get("parameters", ())}
        assert ("idempotency-key" in named) == (path not in CHANGES_NOTHING), path
        done = [answer for status, answer in operation["responses"].items() if status < "300"]
        replays = ["Idempotency-Replayed" in answer.get("headers", {}) for answer in done]
        assert all(replays) or path in CHANGES_NOTHING, path


async def test_fifty_creates_at_once_make_one_schedule(api: Client) -> None:
    before = await count(api, "/schedules")
    first = await at_once(api, "/schedules", draft(name="one of many"), "create")
    assert (first.status, await count(api, "/schedules")) == (201, before + 1)


async def test_fifty_triggers_at_once_make_one_run(api: Client) -> None:
    before = await count(api, "/schedules/hourly/runs")
    await at_once(api, "/schedules/hourly/trigger", {"input": {"topic": "news"}}, "trigger")
    assert await count(api, "/schedules/hourly/runs") == before + 1


async def test_fifty_backfills_at_once_make_one(api: Client) -> None:
    before = await count(api, "/schedules/hourly/runs")
    first = await at_once(api, "/schedules/hourly/backfill", PAST, "backfill")
    assert first.json["count"] == 3
    assert await count(api, "/schedules/hourly/runs") == before + 3


async def test_fifty_batches_at_once_are_applied_once(api: Client) -> None:
    first = await at_once(api, "/schedules/batch", {"schedules": [draft(f"b{n}") for n in range(3)]}, "batch")
    assert [item["created"] for item in first.json["items"]] == [True] * 3


async def test_fifty_requests_for_a_key_make_one_key_which_nobody_else_can_read(api: Client, tmp_path: Path) -> None:
    before = await count(api, "/keys")
    wanted = {"namespace": None, "scopes": ["read"]}
    first = await at_once(api, "/keys", wanted, "key")
    assert await count(api, "/keys") == before + 1
    assert (await api.call("GET", "/schedules", headers={"x_api_key": first.json["key"]})).status == 200
    stored = await stored_bodies(api)
    assert stored
    assert not any(first.json["key"] in body for body in stored)


async def stored_bodies(api: Client) -> list[str]:
    folder = Path(api.system.settings.data_dir)
    url = url_in(folder)
    return [row[0] for row in await asyncio.to_thread(sql, url, "select body from repeats")]


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/schedules/hourly/pause", {"note": "maintenance"}),
        ("/schedules/hourly/resume", {}),
        ("/namespaces", {"id": "sales"}),
    ],
)
async def test_what_is_sent_again_is_answered_again(api: Client, path: str, document: Any) -> None:
    first, again = [await post(api, path, document, "again") for _ in range(2)]
    assert first.status in {200, 201}
    assert (is_replay(first), is_replay(again)) == (False, True)
    assert same(first, again)


async def test_a_notification_route_is_made_once_and_tested_once(api: Client) -> None:
    route = {"id": "ops", "events": ["failure"], "target": {"kind": "http", "url": "https://example.org/x"}}
    first = await at_once(api, "/notifications", route, "route")
    assert (first.status, first.json["id"]) == (201, "ops")
    await at_once(api, "/notifications/ops/test", None, "test")
    assert await count(api, "/notifications/ops/runs") == 1


async def test_runs_are_cancelled_retried_and_keys_rotated_once(api: Client) -> None:
    run = (await api.post("/schedules/hourly/trigger")).json["id"]
    key = (await api.post("/keys", {"namespace": None, "scopes": ["read"]})).json["id"]
    for path in (f"/runs/{run}/cancel", f"/runs/{run}/retry", f"/keys/{key}/rotate"):
        first, again = [await post(api, path, None, "again") for _ in range(2)]
        assert first.status in {200, 201, 202}, first.body
        assert is_replay(again)
        assert same(first, again)


async def test_what_is_answered_again_is_what_was_answered_first_whatever_has_become_of_it(api: Client) -> None:
    first = await post(api, "/schedules", draft("short-lived"), "short-lived")
    assert (await api.delete("/schedules/short-lived")).status == 204
    again = await post(api, "/schedules", draft("short-lived"), "short-lived")
    assert is_replay(again)
    assert same(first, again)
    assert (await api.get("/schedules/short-lived")).status == 404


async def test_another_request_with_the_same_key_is_refused(api: Client) -> None:
    assert (await post(api, "/schedules", draft("mine"), "reused")).status == 201
    other = await post(api, "/schedules", draft("other"), "reused")
    assert other.errors == {"Idempotency-Key": ("it was used for another request", "use a new key for each request")}
    assert (await post(api, "/schedules/hourly/trigger", None, "reused")).status == 202, "another path is another thing"


async def test_what_was_refused_is_judged_anew(api: Client) -> None:
    assert (await post(api, "/schedules/later/trigger", None, "early")).status == 404
    await api.post("/schedules", draft("later"))
    assert (await post(api, "/schedules/later/trigger", None, "early")).status == 202


@pytest.mark.parametrize("key", ["", "k" * 256])
async def test_a_key_without_text_or_too_long_is_refused(api: Client, key: str) -> None:
    assert set((await post(api, "/schedules/hourly/trigger", None, key)).errors) == {"Idempotency-Key"}


async def test_two_keys_of_one_request_are_refused(api: Client) -> None:
    headers = [*api.key_and(), (b"idempotency-key", b"one"), (b"idempotency-key", b"two")]
    answer = await api.raw("POST", f"{PREFIX}/schedules/hourly/trigger", headers=headers)
    assert answer.errors == {"Idempotency-Key": ("the header stands twice", "send one key")}


async def test_keys_of_another_caller_or_namespace_never_meet(api: Client) -> None:
    assert (await api.post("/namespaces", {"id": "tenant"})).status == 201
    made = [await api.post("/keys", {"namespace": "tenant", "scopes": ["admin"]}) for _ in range(2)]
    callers = [{"x_api_key": one.json["key"]} for one in made]
    document = draft("shared")
    assert [(await post(api, "/schedules", document, "meet", **one)).status for one in callers] == [201, 409]
    assert (await post(api, "/schedules", document, "meet")).status == 201, "the admin's own namespace"
    replayed = await post(api, "/schedules", document, "meet", **callers[0])
    assert is_replay(replayed)
    assert replayed.json["namespace"] == "tenant"


async def test_an_answer_that_never_arrived_comes_with_the_next_try(api: Client, monkeypatch: Any) -> None:
    """The change is committed; then we fail before anything is answered."""

    def fail() -> None:
        raise OSError("cut off")

    runs = await count(api, "/schedules/hourly/runs")
    with monkeypatch.context() as patch:
        around = api.app.state.context.around
        patch.setattr(type(around), "wake_workers", property(lambda _: fail))
        with pytest.raises(OSError, match="cut off"):
            await post(api, "/schedules/hourly/trigger", {"input": {"n": 1}}, "cut off")
    assert await count(api, "/schedules/hourly/runs") == runs + 1
    again = await post(api, "/schedules/hourly/trigger", {"input": {"n": 1}}, "cut off")
    assert (again.status, is_replay(again)) == (202, True)
    assert (await api.get(f"/runs/{again.json['id']}")).json["trigger_type"] == "manual"
    assert await count(api, "/schedules/hourly/runs") == runs + 1


async def test_what_was_not_committed_is_not_answered_as_done(api: Client, monkeypatch: Any) -> None:
    """All is written, and the answer noted; then the commit fails, as on a full disk or with a lost connection."""
    around = Noting.around
    create = creating.create_schedules

    def cut_off(self: Noting, operation: Operation[Any], show: Any) -> Operation[Any]:
        yield from around(self, operation, show)
        raise StoreUnavailable("the disk is full")

    def cut_off_together(*given: Any) -> Operation[Any]:
        yield from create(*given)
        raise StoreUnavailable("the disk is full")

    documents = (draft("uncommitted"), draft("alone") | {"exclusions": [{"kind": "calendar", "calendar": "holidays"}]})
    await api.put("/calendars/holidays", {"days": ["2027-01-01"]})
    for document in documents:
        with monkeypatch.context() as patch:
            patch.setattr(Noting, "around", cut_off)
            patch.setattr(creating, "create_schedules", cut_off_together)
            with pytest.raises(AssertionError, match=r"503.*the disk is full"):
                await post(api, "/schedules", document, document["id"])
        assert (await api.get(f"/schedules/{document['id']}")).status == 404
        again = await post(api, "/schedules", document, document["id"])
        assert (again.status, is_replay(again)) == (201, False)
        assert (await api.get(f"/schedules/{document['id']}")).status == 200


async def test_a_rehearsal_is_not_noted(api: Client) -> None:
    batch = {"schedules": [draft("rehearsed")], "dry_run": True}
    answers = [await post(api, "/schedules/batch", batch, "rehearsal") for _ in range(2)]
    assert [(answer.status, is_replay(answer)) for answer in answers] == [(200, False)] * 2
