"""Every route, from the OpenAPI document: who has no right to it learns nothing, not even what exists."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backend.api.app import NOUNS, guarded_operations
from backend.api.request_ids import PREFIX
from backend.model.access import Scope
from backend.store.keyring import make_key
from tests.acceptance.api_client import Answer, Client, api_on, ask, draft, segment

pytestmark = pytest.mark.anyio

OPEN = {"/livez", "/readyz", "/health_check", "/openapi.json"}
WITHOUT_SCOPE = {("get", f"{PREFIX}/keys/self")}
"""What a key may learn about itself."""
FOR_ALL_NAMESPACES = {
    ("get", f"{PREFIX}/workers"),
    ("post", f"{PREFIX}/namespaces"),
    ("delete", f"{PREFIX}/namespaces/{{id}}"),
}
PLANTED = "planted-7f3a"
"""Stands in everything of the other namespace."""
MISSING = "mmmmmm"
"""As long as `theirs`."""


@dataclass
class Stage:
    """A server with a tenant who has something of each kind, and another who asks for it."""

    api: Client
    keys: dict[str, str] = field(default_factory=dict)
    things: dict[str, str] = field(default_factory=dict)
    """By the noun of a route: the id of the one thing that there is of it."""

    async def key(self, name: str, **fields: Any) -> str:
        made = await self.api.post("/keys", {"name": f"{PLANTED} {name}", "scopes": ["admin"], **fields})
        assert made.status == 201, made.body
        self.keys[name] = made.json["key"]
        return str(made.json["id"])

    async def ask(self, method: str, path: str, key: str | None, **query: str) -> Answer:
        """Ask as whoever has this key, with the body that the document gives as an example."""
        headers = [] if key is None else [(b"authorization", f"Bearer {key}".encode())]
        body = _example(self.api.document(), method, path)
        asked = "&".join(f"{name}={value}" for name, value in {**_needed(path), **query}.items())
        answer = await ask(
            self.api.app,
            method.upper(),
            path,
            query=asked.encode(),
            headers=headers,
            pieces=[json.dumps(body).encode()],
        )
        # Every answer has an id of its own; all else is to be the same.
        return replace(answer, headers={k: v for k, v in answer.headers.items() if k != "x-request-id"})


def _needed(path: str) -> dict[str, str]:
    needed = {"/explain": {"at": "2026-12-01T09:00:00Z"}, "/events": {"follow": "false"}}
    return next((query for end, query in needed.items() if path.endswith(end)), {})


def _example(document: Mapping[str, Any], method: str, path: str) -> Any:
    for route, operations in document["paths"].items():
        body = operations.get(method, {}).get("requestBody")
        if body and _fits(route, path):
            return next(iter(body["content"].values()))["example"]
    return {}


def _fits(route: str, path: str) -> bool:
    steps, given = route.split("/"), path.split("/")
    return len(steps) == len(given) and all(a == b or a.startswith("{") for a, b in zip(steps, given, strict=True))


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with api_on(tmp_path_factory.mktemp("access"), secret_keys=make_key("k1")) as api:
        yield await _staged(api)


async def _staged(api: Client) -> Stage:
    stage = Stage(api)
    for namespace in ("theirs", "ours"):
        assert (await api.post("/namespaces", {"id": namespace})).status == 201
    await _plant(stage)
    await stage.key("ours", namespace="ours")
    await stage.key("everything", namespace=None)
    for scope in Scope:
        others = [other for other in Scope if other not in {scope, Scope.ADMIN}]
        await stage.key(f"without {scope}", namespace="theirs", scopes=others)
    return stage


async def _plant(stage: Stage) -> None:
    """Put one of each kind into the other namespace. A new kind of thing is to be planted here as well."""
    key_id = await stage.key("theirs", namespace="theirs")
    theirs = {"x_api_key": stage.keys["theirs"]}
    note = f"note {PLANTED}"
    api = stage.api
    assert (await api.post("/schedules", draft(PLANTED, owner=PLANTED, tags={"a": PLANTED}), **theirs)).status == 201
    await api.post(f"/schedules/{PLANTED}/pause", {"note": note}, **theirs)
    await api.put(f"/calendars/{PLANTED}", {"days": ["2026-12-25"]}, **theirs)
    await api.put(f"/secrets/{PLANTED}", {"value": f"value {PLANTED}"}, **theirs)
    await api.put("/egress", {"allowed_hosts": [f"{PLANTED}.example.org", "example.org"]}, **theirs)
    run = await api.post(f"/schedules/{PLANTED}/trigger", {"input": {"x": PLANTED}}, **theirs)
    stage.things |= {"schedules": PLANTED, "calendars": PLANTED, "runs": run.json["id"], "keys": key_id}
    target = {"kind": "http", "url": "https://example.org/hook"}
    body = {"id": PLANTED, "events": ["failure"], "owner": PLANTED, "target": target}
    assert (await api.post("/notifications", body, **theirs)).status == 201
    stage.things["notifications"] = PLANTED
    stage.things |= {"namespaces": "theirs", "secrets": PLANTED}


def _operations() -> Iterator[tuple[str, str, list[str]]]:
    """List the operations; those come last that make something of the caller's own under a chosen id."""
    yield from sorted(guarded_operations(), key=lambda operation: operation[1] == "put")


def test_every_route_below_the_prefix_says_which_scope_it_takes() -> None:
    without = {(method, path) for path, method, scopes in guarded_operations() if not scopes}
    assert without == WITHOUT_SCOPE
    assert all(len(scopes) <= 1 for _, _, scopes in guarded_operations())
    assert len(list(guarded_operations())) >= len(NOUNS)


def test_what_changes_nothing_takes_read_and_what_changes_something_does_not() -> None:
    harmless = {f"{PREFIX}/preview", f"{PREFIX}/simulate"}
    for path, method, scopes in guarded_operations():
        if (method, path) not in WITHOUT_SCOPE and "admin" not in scopes:
            assert (scopes == ["read"]) == (method == "get" or path in harmless), (method, path)


async def test_nothing_but_health_is_open_without_a_key_in_force(stage: Stage) -> None:
    document = stage.api.document()
    assert {path for path in document["paths"] if not path.startswith(PREFIX)} <= {*OPEN, "/metrics"}
    expired = await _no_longer_in_force(stage)
    for path in [*(path for path, _, _ in guarded_operations()), "/metrics"]:
        for method in document["paths"][path]:
            answers = [
                await stage.ask(method, _filled(stage, path, there), key)
                for there in (True, False)
                for key in (None, "", "sched_000000000000_x", "sched_admin_x", "\u00fc", *expired)
            ]
            assert {answer.status for answer in answers} == {401}, (method, path)
            assert len({_told(answer) for answer in answers}) == 1, (method, path)


async def _no_longer_in_force(stage: Stage) -> list[str]:
    revoked = await stage.key("revoked", namespace="theirs")
    assert (await stage.api.delete(f"/keys/{revoked}")).status == 204
    soon = (datetime.now(UTC) + timedelta(milliseconds=300)).isoformat()
    await stage.key("expired", namespace="theirs", expires_at=soon)
    rotated = await stage.key("rotated", namespace="theirs")
    assert (await stage.api.post(f"/keys/{rotated}/rotate", {"overlap": 0})).status == 201
    while (await stage.ask("get", f"{PREFIX}/keys/self", stage.keys["expired"])).status == 200:
        pass  # its end comes by the database's clock
    return [stage.keys[name] for name in ("revoked", "expired", "rotated")]


async def test_without_the_scope_of_a_route_everything_is_403_whether_it_exists_or_not(stage: Stage) -> None:
    for path, method, scopes in _operations():
        for scope in scopes:
            key = stage.keys[f"without {scope}"]
            answers = [await stage.ask(method, _filled(stage, path, there), key) for there in (True, False)]
            answers.append(await stage.ask(method, _filled(stage, path, there=True), key, namespace="ours"))
            answers.append(await stage.ask(method, _filled(stage, path, there=True), key, limit="x", nonsense="y"))
            assert {answer.status for answer in answers} == {403}, (method, path)
            assert len({_told(answer) for answer in answers}) == 1, (method, path)


async def test_another_namespace_s_key_learns_nothing_and_changes_nothing(stage: Stage) -> None:
    before = await _all_of_theirs(stage)
    for path, method, _ in _operations():
        there, not_there = [await stage.ask(method, _filled(stage, path, x), stage.keys["ours"]) for x in (True, False)]
        if "{" in path:
            there_id, missing_id = _id_at(stage, path, there=True), _id_at(stage, path, there=False)
            # A PUT makes something of our own under the same id: then it is as new as under any other.
            assert _told(there, there_id) == _told(not_there, missing_id), (method, path, there.body, not_there.body)
            assert there.status in ({403} if (method, path) in FOR_ALL_NAMESPACES else {201, 404, 422}), (method, path)
        if not (method == "put" and there.status == 201):
            assert PLANTED not in there.body.decode().replace(_id_at(stage, path, there=True), ""), (method, path)
    assert await _all_of_theirs(stage) == before


async def test_another_namespace_cannot_be_chosen_by_query_or_body(stage: Stage) -> None:
    for path, method, _ in _operations():
        key, filled = stage.keys["ours"], _filled(stage, path, there=True)
        there, not_there = [await stage.ask(method, filled, key, namespace=name) for name in ("theirs", MISSING)]
        assert there.status == not_there.status in {403, 404}, (method, path)
        assert _told(there, "theirs") == _told(not_there, MISSING), (method, path)
    for given in (draft(namespace="theirs"), draft(namespace=MISSING)):
        refused = await stage.api.post("/schedules", given, x_api_key=stage.keys["ours"])
        assert set(refused.errors) == {"namespace"}
    for namespace in ("theirs", MISSING, None):
        made = {"namespace": namespace, "scopes": ["read"]}
        assert (await stage.api.post("/keys", made, x_api_key=stage.keys["ours"])).status == 403


async def test_what_is_for_the_whole_server_takes_a_key_that_belongs_to_no_namespace(stage: Stage) -> None:
    for method, path in sorted(FOR_ALL_NAMESPACES):
        answers = [await stage.ask(method, _filled(stage, path, x), stage.keys["theirs"]) for x in (True, False)]
        assert {answer.status for answer in answers} == {403}, (method, path)
        assert len({_told(answer) for answer in answers}) == 1, (method, path)
    assert (await stage.ask("get", "/metrics", stage.keys["theirs"])).status == 403
    assert (await stage.ask("get", "/metrics", stage.keys["everything"])).status == 200
    assert PLANTED.encode() not in (await stage.ask("get", "/openapi.json", None)).body


async def _all_of_theirs(stage: Stage) -> list[Any]:
    """Read all that the other namespace has, as its own key sees it."""
    paths = ["/schedules", "/runs", "/calendars", "/namespaces", f"/schedules/{PLANTED}", "/audit/occurrences", "/keys"]
    paths = ["/secrets", "/egress", *paths]
    theirs = {"x_api_key": stage.keys["theirs"]}
    answers = [(await stage.api.call("GET", path, headers=theirs)).json for path in paths]
    for item in answers[-1]["items"]:
        item.pop("last_used_at")
    return answers[:-2] + answers[-1:]


def _id_at(stage: Stage, path: str, *, there: bool) -> str:
    noun = path.removeprefix(f"{PREFIX}/").partition("/")[0]
    id_ = stage.things[noun] if "{" in path else "-"
    # As long as the other, so that not even lengths may differ.
    return id_ if there else "m" * len(id_)


def _filled(stage: Stage, path: str, there: bool) -> str:
    return path.replace("{id}", segment(_id_at(stage, path, there=there)))


def _told(answer: Answer, *echoed: str) -> tuple[int, str, str]:
    """Give all that an answer tells, apart from what was asked for and what a new thing gets by itself."""
    kept = {name: value for name, value in sorted(answer.headers.items()) if name != "x-request-id"}
    text, headers = answer.body.decode(), json.dumps(kept)
    if answer.status == 201:
        return answer.status, ",".join(sorted(answer.json)), ""
    for one in echoed:
        text, headers = text.replace(one, "…"), headers.replace(one, "…")
    return answer.status, text, headers
