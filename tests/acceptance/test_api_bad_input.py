"""Bad input of every kind is refused with a problem document; nothing of it gives a 500."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.acceptance.api_client import CALL, HOURLY, PREFIX, Answer, Client, api_on, check_problem, draft

pytestmark = pytest.mark.anyio
ROUTES = [
    ("POST", "/schedules"),
    ("PUT", "/schedules/x"),
    ("PATCH", "/schedules/x"),
    ("POST", "/schedules/batch"),
    ("POST", "/schedules/x/pause"),
    ("POST", "/schedules/x/resume"),
    ("POST", "/schedules/x/trigger"),
    ("POST", "/preview"),
    ("POST", "/simulate"),
    ("PUT", "/calendars/uk"),
]
MANY_AT_ONCE = {"/schedules/batch", "/simulate"}
"""Take thousands of definitions, so their limit is higher."""


@pytest.fixture(scope="module")
async def api(tmp_path_factory) -> AsyncIterator[Client]:
    async with api_on(tmp_path_factory.mktemp("bad"), allow_commands=False, allow_private_urls=False) as client:
        await client.put("/schedules/x", draft())
        yield client


@pytest.fixture(autouse=True)
async def nothing_changes(api) -> AsyncIterator[None]:
    before = (await api.get("/schedules")).body
    yield
    assert (await api.get("/schedules")).body == before


def cron(expression: Any, **fields: Any) -> dict[str, Any]:
    return draft(triggers=[{"kind": "cron", "expression": expression} | fields])


def target(**fields: Any) -> dict[str, Any]:
    return draft(target=CALL | fields)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (cron("61 * * * *"), "triggers[0].expression"),
        (cron("0 0 30 2 *"), "triggers[0].expression"),
        (cron(""), "triggers[0].expression"),
        (cron("* * *"), "triggers[0].expression"),
        (cron("*/0 * * * *"), "triggers[0].expression"),
        (cron("@reboot"), "triggers[0].expression"),
        (cron("* " * 50_000), "triggers[0].expression"),
        (cron(5), "triggers[0].expression"),
        (cron(None), "triggers[0].expression"),
        (cron("0 9 * * *", timezone="Mars/Olympus"), "triggers[0].timezone"),
        (cron("0 9 * * *", timezone="EST"), "triggers[0].timezone"),
        (cron("0 9 * * *", timezone="../../etc/passwd"), "triggers[0].timezone"),
        (cron("0 9 * * *", timezone=""), "triggers[0].timezone"),
        (cron("0 9 * * *", dst_gap="jump"), "triggers[0].dst_gap"),
        (cron("0 9 * * *", more=1), "triggers[0].more"),
        (draft(triggers=[{"kind": "interval", "every": 0}]), "triggers[0].every"),
        (draft(triggers=[{"kind": "interval", "every": "0s"}]), "triggers[0].every"),
        (draft(triggers=[{"kind": "interval", "every": -5}]), "triggers[0].every"),
        (draft(triggers=[{"kind": "interval", "every": "soon"}]), "triggers[0].every"),
        (draft(triggers=[{"kind": "interval", "every": True}]), "triggers[0].every"),
        (draft(triggers=[{"kind": "interval", "every": 1e300}]), "triggers[0].every"),
        (draft(triggers=[{"kind": "interval", "every": "100000000000d"}]), "triggers[0].every"),
        (draft(catchup_window="9999999999999w"), "catchup_window"),
        (draft(triggers=[{"kind": "interval", "every": "1h", "anchor": 5}]), "triggers[0].anchor"),
        (draft(triggers=[{"kind": "interval"}]), "triggers[0].every"),
        (draft(triggers=[{"kind": "once", "at": "2020-01-01T00:00:00Z"}]), "triggers[0].at"),
        (draft(triggers=[{"kind": "once", "at": "tomorrow"}]), "triggers[0].at"),
        (draft(triggers=[{"kind": "once", "at": "2026-02-30T00:00:00"}]), "triggers[0].at"),
        (draft(triggers=[{"kind": "moon"}]), "triggers[0].kind"),
        (draft(triggers=[{}]), "triggers[0].kind"),
        (draft(triggers=[None]), "triggers[0]"),
        (draft(triggers=[HOURLY] * 21), "triggers"),
        (draft(triggers=[]), "triggers"),
        (draft(triggers={}), "triggers"),
        (draft(triggers=None), "triggers"),
        ({"target": CALL}, "triggers"),
        ({"triggers": [HOURLY]}, "target"),
        (draft(target=None), "target"),
        (draft(target={}), "target.kind"),
        (draft(target={"kind": "fax"}), "target.kind"),
        (draft(target={"kind": "command", "argv": ["true"]}), "target.kind"),
        (target(url="ftp://example.org"), "target.url"),
        (target(url="http://127.0.0.1/"), "target.url"),
        (target(url="http://[::1"), "target.url"),
        (target(url=5), "target.url"),
        (target(method="BREW"), "target.method"),
        (target(headers={"a b": "c"}), "target.headers"),
        (target(headers={"X-Run-Id": "1"}), "target.headers.X-Run-Id"),
        (target(success_statuses=[99]), "target.success_statuses[0]"),
        (draft(tags={"a": 1}), "tags.a"),
        (draft(tags=["a"]), "tags"),
        (draft(tags={str(n): "" for n in range(51)}), "tags"),
        (draft(input=[]), "input"),
        (draft(owner=5), "owner"),
        (draft(overlap_policy="queue"), "overlap_policy"),
        (draft(misfire_policy="later"), "misfire_policy"),
        (draft(timeout="1ms"), "timeout"),
        (draft(timeout="8d"), "timeout"),
        (draft(retry={"max_attempts": 0}), "retry.max_attempts"),
        (draft(retry={"max_attempts": "many"}), "retry.max_attempts"),
        (draft(retry={"initial": "1h", "maximum": "1s"}), "retry.maximum"),
        (draft(retry=5), "retry"),
        (draft(delivery="maybe"), "delivery"),
        (draft(pause_after_failures=-1), "pause_after_failures"),
        (draft(pause_after_failures="1"), "pause_after_failures"),
        (draft(max_runs=True), "max_runs"),
        (draft(max_runs="5"), "max_runs"),
        (draft(retry={"max_attempts": True}), "retry.max_attempts"),
        (draft(retry={"multiplier": "2"}), "retry.multiplier"),
        (target(success_statuses=["200"]), "target.success_statuses[0]"),
        (draft(exclusions=[HOURLY]), "exclusions"),
        (draft(jitter="25h"), "jitter"),
        (draft(bogus=1), "bogus"),
        (draft(name=7), "name"),
        (draft(id=7), "id"),
        (draft(name="a\0b"), "name"),
        (draft(input={"deep": "a\0b"}), "input.deep"),
        (draft(input={"n": 2**63}), "input.n"),
    ],
)
async def test_a_definition_that_breaks_a_rule_is_refused_with_field_rule_and_fix(api, document, field):
    batched = {"schedules": [document | {"id": document.get("id", "new")}]}
    for refused in (await api.post("/schedules", document), await api.put("/schedules/new", document)):
        assert refused.status == 422
        assert field in refused.errors
        assert len(refused.body) < 20_000
    assert f"schedules[0].{field}" in (await api.post("/schedules/batch", batched)).errors


async def test_all_that_is_wrong_is_named_at_once(api):
    refused = await api.post("/schedules", cron("61 * * * *") | {"overlap_policy": "x", "bogus": 1, "timeout": "x"})
    assert set(refused.errors) == {"triggers[0].expression", "overlap_policy", "bogus", "timeout"}


NOT_JSON = {
    "invalid UTF-8": b'{"id": "\xff"}',
    "an overlong form": b'{"id": "\xc0\x80"}',
    "a raw surrogate": b'{"id": "\xed\xa0\x80"}',
    "an escaped half of a surrogate pair": b'{"id": "\\ud800"}',
    "a raw NUL": b'{"id": "a\x00"}',
    "NaN": b'{"input": {"a": NaN}}',
    "Infinity": b'{"input": {"a": -Infinity}}',
    "a float beyond all": b'{"input": {"a": 1e400}}',
    "a number of 5,000 digits": b'{"input": {"a": ' + b"9" * 5000 + b"}}",
    "100,000 open lists": b"[" * 100_000,
    "100,000 lists": b"[" * 100_000 + b"]" * 100_000,
    "100,000 objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "half a document": b'{"id": ',
    "two documents": b"{} {}",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "XML": b"<schedule/>",
    "a form": b"id=a&target=b",
    "only NUL": b"\x00",
}


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
async def test_a_body_that_is_no_json_is_a_bad_request(api, route, body):
    method, path = route
    assert (await api.raw(method, PREFIX + path, headers=api.key_and(), pieces=[body])).status == 400


NOT_AN_OBJECT = [b"[]", b"1", b'"x"', b"true", b"[{}]", b'{"a": ' * 900 + b"1" + b"}" * 900]


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
@pytest.mark.parametrize("body", NOT_AN_OBJECT, ids=["list", "number", "text", "true", "list of one", "900 levels"])
async def test_json_of_another_shape_is_refused(api, route, body):
    method, path = route
    assert (await api.raw(method, PREFIX + path, headers=api.key_and(), pieces=[body])).status == 422


@pytest.mark.parametrize("route", [r for r in ROUTES if "/x/" not in r[1]], ids=" ".join)
@pytest.mark.parametrize("body", [b"", b"  \n", b"null"])
async def test_where_a_body_is_needed_an_empty_one_is_refused(api, route, body):
    method, path = route
    refused = await api.raw(method, PREFIX + path, headers=api.key_and(), pieces=[body])
    assert list(refused.errors) == ["body"]


@pytest.mark.parametrize(
    ("path", "document", "field"),
    [
        ("/schedules/x/pause", {"note": 5}, "note"),
        ("/schedules/x/pause", {"note": "x" * 1001}, "note"),
        ("/schedules/x/pause", {"note": "\0"}, "note"),
        ("/schedules/x/pause", {"why": "x"}, "why"),
        ("/schedules/x/resume", {"catch_up": "yes"}, "catch_up"),
        ("/schedules/x/trigger", {"input": []}, "input"),
        ("/schedules/x/trigger", {"input": {"a": "\0"}}, "input.a"),
        ("/schedules/x/trigger", {"inputs": {}}, "inputs"),
        ("/preview", {}, "triggers"),
        ("/preview", {"triggers": []}, "triggers"),
        ("/preview", {"triggers": [HOURLY], "count": 0}, "count"),
        ("/preview", {"triggers": [HOURLY], "count": 1001}, "count"),
        ("/preview", {"triggers": [HOURLY], "from": "x"}, "from"),
        ("/preview", {"triggers": [HOURLY], "from": 5}, "from"),
        ("/preview", {"triggers": [{"kind": "cron", "expression": "61 * * * *"}]}, "triggers[0].expression"),
        ("/preview", {"triggers": [HOURLY], "id": "x" * 201}, "id"),
        ("/preview", {"triggers": [HOURLY], "exclusions": [HOURLY | {"dst_gap": "skip"}]}, "exclusions[0].dst_gap"),
        (
            "/preview",
            {"triggers": [HOURLY], "exclusions": [{"kind": "calendar", "calendar": "x"}]},
            "exclusions[0].calendar",
        ),
    ],
)
async def test_the_smaller_bodies_are_checked_as_well(api, path, document, field):
    assert list((await api.post(path, document)).errors) == [field]


@pytest.mark.parametrize("path", ["/schedules", "/schedules/batch", "/schedules/x/pause", "/preview"])
async def test_ten_thousand_wrong_fields_get_a_short_answer_and_an_empty_name_is_named(api, path):
    refused = await api.post(path, {str(n): n for n in range(10_000)})
    assert len(refused.json["errors"]) <= 100
    assert (await api.post(path, {"": 1})).status == 422


@pytest.mark.parametrize("route", [r for r in ROUTES if r[1] not in MANY_AT_ONCE], ids=" ".join)
async def test_a_body_over_one_mib_is_too_large_declared_or_not(api, route):
    method, path = route
    sent = await api.raw(method, PREFIX + path, headers=api.key_and(), pieces=[b" " * 2**16] * 17)
    declared = api.key_and(**{"content-length": str(2**20 + 1)})
    assert sent.status == 413
    assert (await api.raw(method, PREFIX + path, headers=declared, pieces=[])).status == 413


async def test_the_name_batch_does_not_widen_the_limit_of_a_schedule(api):
    sent = await api.raw("PUT", "/api/v1/schedules/batch", headers=api.key_and(), pieces=[b" " * (2**20 + 1)])
    assert sent.status == 413


@pytest.mark.parametrize("kind", ["text/xml", "application/json; charset=latin-1", "\xff", "", "multipart/form-data"])
async def test_the_body_counts_and_not_what_its_type_is_called(api, kind):
    headers = api.key_and(**{"content-type": kind})
    body = json.dumps({"triggers": [HOURLY]}).encode()
    assert (await api.raw("POST", "/api/v1/preview", headers=headers, pieces=[body])).status == 200


async def test_a_key_given_twice_is_refused_by_name(api: Client):
    body = b'{"triggers": [], "triggers": [{"kind": "cron", "expression": "0 9 * * *"}]}'
    answer = await api.raw("POST", "/api/v1/preview", headers=api.key_and(), pieces=[body])
    assert (answer.status, set(answer.errors)) == (422, {"triggers"})


WRONG_KEYS = [
    [],
    [(b"authorization", b"")],
    [(b"authorization", b"Bearer")],
    [(b"authorization", b"Bearer   ")],
    [(b"authorization", b"Bearer wrong")],
    [(b"authorization", b"Basic dXNlcjpwYXNz")],
    [(b"authorization", b"\xff\xfe")],
    [(b"authorization", "Bearer schlüssel".encode())],
    [(b"authorization", b"Bearer \xf0\x9f\x94\x91")],
    [(b"x-api-key", b"")],
    [(b"x-api-key", b"\x00")],
    [(b"x-api-key", b"\xff" * 10_000)],
]


async def test_of_two_keys_that_differ_neither_counts(api: Client):
    ours = (b"x-api-key", api.key.encode())
    for other in (b"Bearer other", b"Bearer ", b"", b"other"):
        assert (await api.raw("GET", "/api/v1/runs", headers=[ours, (b"authorization", other)])).status == 401
    for same in (b"Bearer " + api.key.encode(), b"Basic dXNlcjpwYXNz"):
        assert (await api.raw("GET", "/api/v1/runs", headers=[ours, (b"authorization", same)])).status == 200


@pytest.mark.parametrize("headers", WRONG_KEYS)
async def test_without_a_known_key_nothing_is_open(api, headers):
    for route, operations in api.document()["paths"].items():
        for method in operations:
            if route.startswith(PREFIX):
                refused = await api.raw(method.upper(), route.replace("{id}", "x"), headers=headers, pieces=[b"{"])
                assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")


async def test_the_key_may_come_either_way(api):
    key = api.key.encode()
    for name, value in [(b"authorization", b"Bearer " + key), (b"authorization", b"bearer  " + key)]:
        assert (await api.raw("GET", "/api/v1/runs", headers=[(name, value)])).status == 200


@pytest.mark.parametrize("path", ["", "/", "/nothing", "/schedules/", "/schedules/a/b", "/schedules/a%2Fb", "/%ff"])
async def test_an_unknown_route_is_not_found(api, path):
    for method in ("GET", "POST", "DELETE"):
        refused = await api.raw(method, PREFIX + path, headers=api.key_and())
        assert refused.status == 404
        assert "/openapi.json" in refused.json["detail"]


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "DELETE", "PATCH", "BREW", "HEAD"])
async def test_a_method_that_a_route_does_not_have_is_refused_with_those_it_has(api, method):
    refused = await api.raw(method, "/api/v1/schedules", headers=api.key_and())
    assert refused.status == 405
    assert set(refused.headers["allow"].split(", ")) == {"GET", "POST"}


@pytest.mark.parametrize("step", ["%00", "%ff", "%ed%a0%80", "..", ".", "%2e%2e", "%25", "a" * 10_000, "%F0%9F%98%80"])
async def test_odd_steps_in_a_path_find_nothing(api, step):
    for path in (f"/schedules/{step}", f"/schedules/{step}/upcoming", f"/runs/{step}"):
        assert (await api.raw("GET", PREFIX + path, headers=api.key_and())).status == 404


async def test_a_defect_of_ours_is_a_problem_document_without_its_text(api, monkeypatch):
    async def broken(*_: object) -> int:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr("backend.store.port.NamespaceStore.create_one", broken)
    started: list[Any] = []
    with pytest.raises(RuntimeError):
        await _sent(api, started)
    answer = _answer_of(started)
    check_problem(answer, "a defect")
    assert answer.status == 500
    assert b"hunter2" not in answer.body


async def _sent(api: Client, started: list[Any]) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps(draft()).encode(), "more_body": False}

    async def send(message: Any) -> None:
        started.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/schedules",
        "query_string": b"",
        "headers": api.key_and(),
    }
    await api.app(scope, receive, send)


def _answer_of(messages: list[Any]) -> Answer:
    headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
    return Answer(messages[0]["status"], headers, messages[1]["body"])
