"""Bodies that no client should send: every route that reads one refuses them, and says which field, rule and fix."""

from __future__ import annotations

import http.client
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.acceptance.api_client import PREFIX, Client, api_on, draft
from tests.acceptance.server import Server

ROUTES = 15
DEEP = 1200
BROKEN = {
    "half of it": b'{"a": ',
    "no UTF-8": b'{"a": "\xff\xfe"}',
    "an overlong zero": b'{"a": "\xc0\x80"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"note": "x"}',
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": [-Infinity]}',
    "a huge exponent": b'{"a": 1e999999}',
    "a number of 5,000 digits": b'{"a": ' + b"9" * 5000 + b"}",
    "half a surrogate pair, escaped": b'{"a": "\\ud800"}',
    "half a surrogate pair as a name": b'{"\\udfff": 1}',
    "half a surrogate pair, encoded": b'{"a": "\xed\xa0\x80"}',
    "very deep lists": b"[" * DEEP + b"]" * DEEP,
    "very deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "two documents": b'{"a": 1} {"a": 1}',
    "a comment": b'{"a": 1} // yes',
    "single quotes": b"{'a': 1}",
    "a form": b"a=1&b=2",
    "a NUL byte": b'{"a": "\x00"}',
    "only a NUL byte": b"\x00",
    "a bare word": b"undefined",
}
REFUSED = {
    "a list": b"[]",
    "a text": b'"text"',
    "a number": b"3",
    "true": b"true",
    "the same name twice": b'{"note": "x", "note": "y"}',
    "the same name twice, far inside": b'{"a": [{"b": {"c": 1, "d": 2, "c": 3}}]}',
    "the same name twice, once escaped": b'{"note": "x", "n\\u006fte": "y"}',
    "an unknown field": b'{"no such field": 1}',
    "a name without text": b'{"": 1}',
    "an escaped NUL as a name": b'{"\\u0000": 1}',
    "a hundred levels": b'{"a":' + b"[" * 100 + b"]" * 100 + b"}",
    "twenty thousand unknown fields": json.dumps({f"field {n}": n for n in range(20_000)}).encode(),
}


@pytest.fixture(scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    async with api_on(tmp_path_factory.mktemp("bodies")) as client:
        assert (await client.post("/schedules", draft("x"))).status == 201
        yield client


def routes(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """List method, path and documented body of all routes that read one."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if "requestBody" in operation:
                yield method.upper(), path.replace("{id}", "x"), operation["requestBody"]


async def send(api: Client, method: str, path: str, body: bytes, kind: str = "application/json") -> tuple[int, Any]:
    # The client insists on a documented status and on field, rule and fix in problem documents.
    answer = await api.raw(method, path, headers=api.key_and(content_type=kind), pieces=[body])
    return answer.status, answer.json


@pytest.mark.anyio
@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
async def test_what_is_no_json_is_400_everywhere(api: Client, body: bytes) -> None:
    sent = 0
    for method, path, _ in routes(api.document()):
        status, problem = await send(api, method, path, body)
        assert status in {400, 422}, (method, path, problem)
        assert problem["errors"], (method, path, problem)
        sent += 1
    assert sent >= ROUTES


@pytest.mark.anyio
@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
async def test_what_is_json_but_no_body_of_the_route_is_422_everywhere(api: Client, body: bytes) -> None:
    for method, path, _ in routes(api.document()):
        if method == "PATCH" and "{id}" not in path and body.startswith(b'{"a'):
            continue
        status, problem = await send(api, method, path, body)
        # A namespace or key called x is not there, which is told first.
        assert status in {422, 404}, (method, path, status, problem)
        if status == 422:
            assert problem["errors"]
            assert len(problem["errors"]) <= 100


@pytest.mark.anyio
async def test_a_name_that_stands_twice_is_named(api: Client) -> None:
    body = b'{"id": "twice", "triggers": [], "target": {}, "id": "other"}'
    status, problem = await send(api, "POST", f"{PREFIX}/schedules", body)
    assert (status, problem["errors"]) == (
        422,
        [{"field": "id", "rule": "it stands twice in one object", "fix": "give it once"}],
    )


@pytest.mark.anyio
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "multipart/form-data", "", "application/json; x=\xff"]
)
async def test_a_body_is_read_as_json_whatever_it_calls_itself(api: Client, kind: str) -> None:
    assert (await send(api, "POST", f"{PREFIX}/schedules/x/pause", b'{"note": "y"}', kind))[0] == 200
    assert (await send(api, "POST", f"{PREFIX}/schedules/x/pause", b"<note/>", kind))[0] == 400


@pytest.mark.anyio
async def test_every_example_with_one_value_replaced_is_taken_or_refused(api: Client) -> None:
    chance = random.Random(20261123)
    for method, path, documented in list(routes(api.document())):
        example = next(iter(documented["content"].values()))["example"]
        for _ in range(12):
            status, _problem = await send(api, method, path, json.dumps(spoiled(example, chance)).encode())
            assert status < 500


ODD: list[Any] = [
    *(None, True, -1, 0, 2**53, 2**63, -(2**64), 1e308, 1e-320, [], {}, [[]], [{}] * 50, {"": ""}, {"kind": "cron"}),
    *("", "\0", "a" * 10_000, "🕰" * 300, "\u202e", "\udcff", "-1s", "P1Y", "2026-02-30T25:00:00Z", "%00"),
]


def spoiled(value: Any, chance: random.Random) -> Any:
    """Put something odd in the place of one value of a document."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        name = chance.choice(list(value))
        return {**value, name: spoiled(value[name], chance)}
    if isinstance(value, list) and value and chance.random() < 0.85:
        return [spoiled(value[0], chance), *value[1:]]
    return chance.choice(ODD)


MIB = 1024 * 1024
GROWTH = 48 * MIB
"""Generous: what allocators keep, and caches that are bounded."""


def test_the_memory_of_a_server_stays_flat_whatever_bodies_come(tmp_path: Path) -> None:
    large = {
        "a text of a megabyte": json.dumps({"note": "a" * (MIB - 100)}).encode(),
        "names of a megabyte": json.dumps({f"{n:0100}": n for n in range(8000)}).encode(),
        "lists of a megabyte": b'{"input": {"a": [' + b"[]," * 50_000 + b"[]]}}",
        "deep": b"[" * (MIB // 2) + b"]" * (MIB // 2),
        "names twice": b'{"input": {' + b'"a":1,' * 150_000 + b'"a":1}}',
    }
    with Server(tmp_path).ready() as server:
        server.create("x", {"kind": "http", "url": "https://example.org"})
        process = psutil.Process(server.process.pid)

        def send_all() -> None:
            for body in [*BROKEN.values(), *REFUSED.values(), *large.values()]:
                for path in ("/schedules", "/schedules/x/trigger"):
                    assert post(server, path, body) < 500

        send_all()
        before = process.memory_info().rss
        for _ in range(3):
            send_all()
        assert process.memory_info().rss - before < GROWTH
        assert not server.errors


def post(server: Server, path: str, body: bytes) -> int:
    with closing(http.client.HTTPConnection(*server.where, timeout=30)) as connection:
        connection.request("POST", PREFIX + path, body, {"X-API-Key": server.key})
        return connection.getresponse().status
