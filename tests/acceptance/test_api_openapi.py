"""The OpenAPI document is whole, resolvable, and readable for people and generators."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from inspect import iscoroutinefunction
from typing import Any, cast

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from backend.api.app import NOUNS, create_app
from backend.api.context import Context
from backend.api.schemas import (
    BATCH_EXAMPLE,
    CALENDAR_EXAMPLE,
    PATCH_EXAMPLE,
    PREVIEW_EXAMPLE,
    SCHEDULE_EXAMPLE,
    SIMULATE_EXAMPLE,
)
from tests.acceptance.api_client import PREFIX, PROBLEM, api_on, ask
from tests.acceptance.json_schema import mismatches, resolved

PYDANTIC = {"ge", "gt", "le", "lt", "min_length", "max_length", "strict"}
"""How bounds are called before they are written down."""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    # To be described, routes need no store and no surroundings.
    context = Context(cast("Any", None), cast("Any", None), cast("Any", None), cast("Any", None), "1")
    openapi: dict[str, Any] = create_app(context).openapi()
    return openapi


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for route, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {route}", operation


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for item in part.values():
            yield from references(item)
    elif isinstance(part, list):
        for item in part:
            yield from references(item)


def test_every_reference_leads_somewhere(document):
    found = set(references(document))
    assert len(found) > 20
    for reference in found:
        assert resolved(reference, document) is not None


def test_every_component_is_used(document):
    used = {reference.rpartition("/")[2] for reference in references(document)}
    assert set(document["components"]["schemas"]) <= used | {"ScheduleDefinition"}


def schemas(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, list):
        for item in part:
            yield from schemas(item)
    elif isinstance(part, dict):
        if isinstance(part.get("schema"), dict):
            yield part["schema"]
        for item in part.values():
            yield from schemas(item)


def parts(whole: Any) -> Iterator[dict[str, Any]]:
    if isinstance(whole, dict):
        yield whole
    for part in whole.values() if isinstance(whole, dict) else whole if isinstance(whole, list) else ():
        yield from parts(part)


def test_bounds_are_said_in_the_words_of_json_schema(document):
    words = {word for schema in schemas(document["paths"]) for word in schema}
    models = document["components"]["schemas"].values()
    words |= {word for model in models for field in model.get("properties", {}).values() for word in field}
    assert not words & PYDANTIC
    for part in parts(document["components"]["schemas"]):
        assert part.get("type") != "array" or not {"maxLength", "minLength"} & set(part), part
    limits = [p["schema"] for _, o in operations(document) for p in o.get("parameters", ()) if p["name"] == "limit"]
    assert {(limit["minimum"], limit["maximum"]) for limit in limits} == {(1, 500)}


def test_operation_ids_are_short_and_unique(document):
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+){0,2}", name) for name in names), names


def test_every_route_of_this_version_is_there(document):
    assert sorted(name for name, _ in operations(document)) == sorted(
        [f"GET {path}" for path in ("/livez", "/readyz", "/health_check", "/metrics")]
        + [f"{method} {PREFIX}/schedules" for method in ("GET", "POST")]
        + [f"{method} {PREFIX}/schedules/{{id}}" for method in ("GET", "PUT", "PATCH", "DELETE")]
        + [f"POST {PREFIX}/schedules/{{id}}/{verb}" for verb in ("pause", "resume", "trigger", "backfill")]
        + [f"GET {PREFIX}/schedules/{{id}}/{part}" for part in ("upcoming", "runs", "explain")]
        + [f"GET {PREFIX}/audit", f"GET {PREFIX}/audit/occurrences", f"GET {PREFIX}/workers", f"GET {PREFIX}/events"]
        + [f"GET {PREFIX}/stats"]
        + [f"POST {PREFIX}/schedules/batch", f"POST {PREFIX}/preview"]
        + [f"POST {PREFIX}/schedules/{verb}" for verb in ("pause", "resume")]
        + [f"GET {PREFIX}/calendars", f"POST {PREFIX}/simulate"]
        + [f"GET {PREFIX}/secrets", f"PUT {PREFIX}/secrets/{{name}}", f"DELETE {PREFIX}/secrets/{{name}}"]
        + [f"GET {PREFIX}/egress", f"PUT {PREFIX}/egress"]
        + [f"{method} {PREFIX}/calendars/{{id}}" for method in ("GET", "PUT", "DELETE")]
        + [f"{method} {PREFIX}/namespaces" for method in ("GET", "POST")]
        + [f"{method} {PREFIX}/namespaces/{{id}}" for method in ("GET", "PATCH", "DELETE")]
        + [f"{method} {PREFIX}/keys" for method in ("GET", "POST")]
        + [f"{method} {PREFIX}/keys/{{id}}" for method in ("GET", "DELETE")]
        + [f"GET {PREFIX}/keys/self", f"POST {PREFIX}/keys/{{id}}/rotate"]
        + [f"{method} {PREFIX}/notifications" for method in ("GET", "POST")]
        + [f"{method} {PREFIX}/notifications/{{id}}" for method in ("GET", "PUT", "DELETE")]
        + [f"POST {PREFIX}/notifications/{{id}}/test", f"GET {PREFIX}/notifications/{{id}}/runs"]
        + [f"GET {PREFIX}/runs", f"GET {PREFIX}/runs/{{id}}"]
        + [f"POST {PREFIX}/runs/{{id}}/{verb}" for verb in ("cancel", "retry", "heartbeat", "complete")]
    )


def test_every_operation_is_described_tagged_and_guarded(document):
    tags = {tag["name"] for tag in document["tags"]}
    for name, operation in operations(document):
        assert operation["description"], name
        assert set(operation["tags"]) <= tags, name
        assert bool(operation.get("security")) == (PREFIX in name or name == "GET /metrics"), name
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description"), (name, parameter["name"])


def test_every_refusal_is_documented_as_a_problem(document):
    for name, operation in operations(document):
        if PREFIX not in name:
            continue
        assert {"401", "403", "404", "422", "503"} <= set(operation["responses"]), name
        if "requestBody" in operation:
            assert {"400", "413"} <= set(operation["responses"]), name
        for status, response in operation["responses"].items():
            assert response["description"] != "Successful Response", (name, status)
            if int(status) >= 400:
                assert list(response["content"]) == [PROBLEM], (name, status)


def test_what_is_made_says_what_can_be_done_with_it(document):
    known = {operation["operationId"]: operation for _, operation in operations(document)}
    linked = [r["links"] for o in known.values() for r in o["responses"].values() if "links" in r]
    assert len(linked) == 5
    for link in (link for links in linked for link in links.values()):
        assert "id" in {parameter["name"] for parameter in known[link["operationId"]]["parameters"]}


def test_every_body_has_an_example_that_fits_its_schema(document):
    bodies = [(n, o["requestBody"]["content"]) for n, o in operations(document) if "requestBody" in o]
    assert len(bodies) == 22
    for name, content in bodies:
        for media in content.values():
            assert list(mismatches(media["example"], media["schema"], document)) == [], name


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
async def test_it_is_written_beside_the_loop_which_has_schedules_to_fire(tmp_path, monkeypatch, path):
    threads = []

    def note(*given: Any, **named: Any) -> dict[str, Any]:
        threads.append(threading.current_thread())
        return get_openapi(*given, **named)

    monkeypatch.setattr("backend.api.app.get_openapi", note)
    async with api_on(tmp_path) as api:
        answers = await asyncio.gather(*(ask(api.app, "GET", path) for _ in range(10)))
    assert {(answer.status, answer.body) for answer in answers} == {(200, answers[0].body)}
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


@pytest.mark.anyio
async def test_the_examples_are_accepted_by_the_server(tmp_path):
    async with api_on(tmp_path) as api:
        assert (await api.post("/schedules", SCHEDULE_EXAMPLE)).status == 201
        assert (await api.patch(f"/schedules/{SCHEDULE_EXAMPLE['id']}", PATCH_EXAMPLE)).status == 200
        assert (await api.post("/schedules/batch", BATCH_EXAMPLE)).status == 200
        assert (await api.post("/preview", PREVIEW_EXAMPLE)).status == 200
        assert (await api.put("/calendars/uk", CALENDAR_EXAMPLE)).status == 201
        assert (await api.post("/simulate", SIMULATE_EXAMPLE)).status == 200
        served = await ask(api.app, "GET", "/openapi.json")
        assert served.json == api.app.openapi() == api.document()


@pytest.mark.anyio
async def test_the_documented_refusal_is_the_real_one(tmp_path, document):
    refusal = document["paths"][f"{PREFIX}/schedules"]["post"]["responses"]["422"]["content"][PROBLEM]["example"]
    wrong = {"triggers": [{"kind": "cron", "expression": "61 * * * *"}], "target": SCHEDULE_EXAMPLE["target"]}
    async with api_on(tmp_path) as api:
        assert (await api.post("/schedules", wrong)).json == refusal


def test_no_route_takes_a_thread_for_what_it_depends_on():
    """A dependency that is no coroutine runs in a thread, which takes longer than all that ours do."""

    def calls(dependant: Dependant) -> Iterator[Any]:
        yield dependant.call
        for inner in dependant.dependencies:
            yield from calls(inner)

    routes = [route for noun in NOUNS for route in noun.router.routes if isinstance(route, APIRoute)]
    assert len(routes) > 40
    found = {call for route in routes for call in calls(route.dependant)}
    assert {call.__qualname__ for call in found if not iscoroutinefunction(call)} == set()
