"""What the OpenAPI document forbids in a body is refused: each part of each body is taken away, or made something else.

Schemathesis samples such bodies; these are all of them, so that a leniency is found in every run or never.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import reduce
from operator import getitem
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

import jsonschema_rs
import pytest

from backend.store.keyring import make_key
from tests.acceptance.api_client import CALL, PREFIX, Answer, Client, api_on, draft

pytestmark = pytest.mark.anyio

LONG = "x" * 70_000
ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    -2e-98,
    1.5,
    10**12,
    "",
    " ",
    "\x07",
    "soon",
    LONG,
    [],
    [None],
    [0],
    ["0"],
    ["soon"],
    [{}],
    {},
    {"": None},
]
AT, LATER = "2030-01-01T00:00:00Z", "2030-01-02T00:00:00Z"
SECRET = {"secret": "token"}
HTTP = {
    **CALL,
    "method": "POST",
    "headers": {"Accept": "text/plain", "Authorization": SECRET},
    "body": None,
    "signing_secret": [SECRET],
    "success_statuses": [200],
}
COMMAND = {"kind": "command", "argv": ["true"], "env": {"A": "b", "C": SECRET}, "cwd": "/"}
PYTHON = {"kind": "python", "callable": "json:dumps", "args": {"a": 1}}
CRON = {"kind": "cron", "expression": "0 * * * *", "timezone": "UTC", "dst_gap": "shift", "dst_overlap": "first"}
INTERVAL = {"kind": "interval", "every": "1h", "anchor": AT}
ONCE = {"kind": "once", "at": AT, "timezone": "UTC", "allow_past": False}
RRULE = {"kind": "rrule", "rule": "FREQ=DAILY", "dtstart": "2030-01-01T09:00:00", "timezone": "UTC"}
EXCLUSIONS = [
    {"kind": "cron", "expression": "0 12 * * *", "timezone": "UTC"},
    {"kind": "date", "date": "2030-01-01", "timezone": "UTC"},
    {"kind": "range", "from": "2030-01-01T00:00:00", "to": "2030-01-02T00:00:00", "timezone": "UTC"},
    {"kind": "calendar", "calendar": "uk", "days": None, "timezone": "UTC"},
]
SCHEDULE = draft(
    "x",
    name="X",
    namespace="default",
    triggers=[CRON, INTERVAL, ONCE, RRULE],
    exclusions=EXCLUSIONS,
    target=HTTP,
    input={"a": 1},
    tags={"a": "b"},
    owner="ada",
    misfire_policy="fire_once",
    misfire_threshold="1m",
    catchup_window="1d",
    overlap_policy="skip",
    jitter="1s",
    start_at=AT,
    end_at=LATER,
    max_runs=5,
    retry={"max_attempts": 3, "initial": "1s", "maximum": "1m", "multiplier": 2},
    timeout="1m",
    delivery="at_least_once",
    completion="callback",
    heartbeat_timeout="30s",
    pause_after_failures=3,
)
LIMITS = {
    "schedules": 1000,
    "schedules_per_owner": 1000,
    "starts_per_minute": 1000,
    "concurrent_runs": 1000,
    "minimum_interval": "1m",
    "requests_per_second": 10**6,
}
WINDOW = {"from": AT, "to": LATER}
PREVIEW = {
    name: SCHEDULE[name] for name in ("id", "triggers", "exclusions", "start_at", "end_at", "max_runs", "jitter")
}
SELECTION = {"state": "active", "tag": "a:b", "target": "http", "owner": "ada", "name": "X", "q": "x"}
MANY = {"filter": SELECTION, "all": False, "dry_run": True, "cursor": None, "note": "a note"}
ROUTE = {
    "id": "x",
    "events": ["failure"],
    "tag": "a:b",
    "owner": "ada",
    "after_failures": 2,
    "late_by": "5m",
    "every": "1h",
    "target": HTTP | {"body": None},
}
DEFINITIONS = [SCHEDULE, draft("x", target=COMMAND), draft("x", target=PYTHON)]
ROUTES = [ROUTE, ROUTE | {"target": {"kind": "email", "to": ["ada@example.org"]}}]
BODIES: Mapping[str, Sequence[Any]] = {
    "POST /schedules": DEFINITIONS,
    "PUT /schedules/{id}": [SCHEDULE],
    "POST /schedules/batch": [{"schedules": [SCHEDULE], "source": "a file", "prune": False, "dry_run": True}],
    "PATCH /schedules/{id}": [{"name": "X"}],
    "POST /schedules/{id}/pause": [{"note": "a note"}],
    "POST /schedules/{id}/resume": [{"catch_up": False}],
    "POST /schedules/{id}/trigger": [{"input": {"a": 1}}],
    "POST /schedules/{id}/backfill": [
        {"from": "2020-01-01T00:00:00Z", "to": "2020-01-01T05:00:00Z", "overlap_policy": "buffer_all", "dry_run": True}
    ],
    "POST /schedules/pause": [MANY],
    "POST /schedules/resume": [MANY | {"catch_up": False}],
    "POST /runs/{id}/complete": [{"state": "failed", "output": None, "error": "an error", "permanent": False}],
    "PUT /calendars/{id}": [{"days": ["2030-01-01"]}],
    "PUT /secrets/{name}": [{"value": "a value"}],
    "PUT /egress": [{"allowed_hosts": ["api.example.org"]}, {"allowed_hosts": None}],
    "POST /preview": [PREVIEW | {"from": AT, "count": 3}],
    "POST /simulate": [
        WINDOW | {"schedules": [SCHEDULE], "durations": {"x": "5m"}, "outage": WINDOW},
        WINDOW | {"durations": "5m"},
    ],
    "POST /namespaces": [{"id": "new", "timezone": "UTC", "limits": LIMITS}],
    "PATCH /namespaces/{id}": [{"timezone": "UTC", "limits": LIMITS}],
    "POST /keys": [{"namespace": None, "name": "a key", "scopes": ["read"], "expires_at": LATER}],
    "POST /keys/{id}/rotate": [{"overlap": "1h"}],
    "POST /notifications": ROUTES,
    "PUT /notifications/{id}": [ROUTE],
}
ODD_TEXTS = [
    "",
    " ",
    "-1",
    "0",
    "1.5",
    str(10**12),
    "null",
    "true",
    "soon",
    "a:b",
    "1_0",
    "+5",
    "05",
    "yes",
    "\x07",
    "{}",
    LONG,
]
REFUSED = {400, 422}
PLACES = {"/namespaces/{id}": "/namespaces/default", "{id}": "x", "{name}": "token"}


@pytest.fixture(scope="module")
async def api() -> AsyncIterator[Client]:
    # One database is enough: what is refused here reaches none.
    able: dict[str, Any] = {"secret_keys": make_key("k1"), "python_targets": "json"}
    mail: dict[str, Any] = {"smtp_url": "smtp://127.0.0.1:9", "smtp_from": "scheduler@example.org"}
    with TemporaryDirectory() as folder:
        async with api_on(Path(folder), **able, **mail) as client:
            await client.put("/schedules/x", draft())
            await client.put("/calendars/uk", {"days": ["2030-01-01"]})
            await client.put("/secrets/token", {"value": "a value"})
            yield client


def operations(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Give the schema of each body, by method and path below the prefix."""
    contents = {
        f"{method.upper()} {path.removeprefix(PREFIX)}": operation["requestBody"]["content"]
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "requestBody" in operation
    }
    return {name: content["application/json"]["schema"] for name, content in contents.items()}


def validator(document: Mapping[str, Any], schema: Mapping[str, Any]) -> jsonschema_rs.Draft202012Validator:
    whole = dict(schema) | {"components": document["components"]}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, part in parts:
        yield from places(part, (*path, step))


def put(whole: Any, path: tuple[Any, ...], other: Any) -> Any:
    """Copy the whole with something else in one place."""
    if not path:
        return other
    step, *rest = path
    if isinstance(whole, list):
        return [put(part, tuple(rest), other) if place == step else part for place, part in enumerate(whole)]
    return whole | {step: put(whole[step], tuple(rest), other)}


def changed(whole: Any, path: tuple[Any, ...]) -> Iterator[Any]:
    """Give the whole with something else in one place, without that place, and with more in it."""
    for other in ODD:
        yield put(whole, path, other)
    inside = reduce(getitem, path, whole)
    if isinstance(inside, dict):
        yield put(whole, path, inside | {"more": 1})
    around = reduce(getitem, path[:-1], whole)
    if path and isinstance(around, dict):
        yield put(whole, path[:-1], {name: part for name, part in around.items() if name != path[-1]})


def properties(document: Mapping[str, Any], schema: Any, seen: set[str]) -> Iterator[tuple[str, str]]:
    """Name every property that a body can have, with the schema it belongs to."""
    if isinstance(schema, list):
        for part in schema:
            yield from properties(document, part, seen)
    if not isinstance(schema, dict):
        return
    name = schema.get("$ref", "").rpartition("/")[2]
    if name and name not in seen:
        seen.add(name)
        referred = document["components"]["schemas"][name]
        yield from ((name, field) for field in referred.get("properties", ()))
        yield from properties(document, referred, seen)
    for part in schema.values():
        yield from properties(document, part, seen)


async def test_every_body_and_every_field_of_it_is_tried(api):
    document = api.document()
    schemas = operations(document)
    assert set(BODIES) == set(schemas)
    named = {step for whole in BODIES.values() for body in whole for path in places(body) for step in path}
    for name, field in properties(document, list(schemas.values()), set()):
        assert field in named, f"{name}.{field} is in no body here"


@pytest.mark.parametrize("operation", sorted(BODIES))
async def test_what_the_document_forbids_is_refused(api, operation):
    method, path = operation.split(" ")
    path = named(path)
    document = api.document()
    fits = validator(document, operations(document)[operation]).is_valid
    tried = 0
    for whole in BODIES[operation]:
        assert fits(whole), whole
        kept = await send(api, method, path, whole)
        assert kept.status not in REFUSED, kept.body
        for place in places(whole):
            for body in changed(whole, place):
                if fits(body):
                    continue
                tried += 1
                answer = await send(api, method, path, body)
                assert answer.status in REFUSED, f"{answer.status} for {place}: {json.dumps(body)[:2000]}"
    assert tried > len(ODD) / 2


async def test_parameters_that_the_document_forbids_are_refused(api):
    document = api.document()
    tried = 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", ()):
                fits = validator(document, parameter["schema"]).is_valid
                if parameter["in"] != "query":
                    continue
                for text in ODD_TEXTS:
                    if any(map(fits, meanings(text))):
                        continue
                    tried += 1
                    query = urlencode({parameter["name"]: text}).encode()
                    answer = await api.raw(method.upper(), named(path), headers=api.key_and(), query=query)
                    asked = f"{method} {path}?{parameter['name']}={text!r}"
                    assert answer.status in REFUSED, f"{answer.status} for {asked}"
                    assert parameter["name"] in answer.errors, f"{answer.errors} for {asked}"
    assert tried > 100


def meanings(text: str) -> Iterator[Any]:
    """Give what a text in a query can stand for."""
    yield text
    with suppress(ValueError):
        yield json.loads(text)


def named(path: str) -> str:
    for place, name in PLACES.items():
        path = path.replace(place, name)
    return path


async def send(api: Client, method: str, path: str, body: Any) -> Answer:
    # `Client.call` sends nothing for None.
    return await api.raw(method, PREFIX + path, headers=api.key_and(), pieces=[json.dumps(body).encode()])
