"""What is far too long is refused as such: not each of its parts, which would take a kilobyte each to tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from backend.api.schemas import BODIES
from backend.engine.definition import ScheduleDefinition
from backend.errors import Refused
from backend.service.api_keys import KeyBody
from backend.service.bounds import MOST_UNKNOWN
from backend.service.calendars import CalendarBody
from backend.service.egress import EgressBody
from backend.service.notifications import RouteBody
from backend.service.simulate import SimulateRequest
from backend.service.times import PreviewRequest
from backend.service.validation import parse
from backend.targets.registry import KINDS, TargetKind

MANY = 20_000
CALL = {"kind": "http", "url": "https://example.org"}
JOB = {"triggers": [{"kind": "cron", "expression": "* * * * *"}], "target": CALL}
RANGE = {"from": "2030-01-01T00:00:00Z", "to": "2030-01-02T00:00:00Z"}


def named(value: object) -> dict[str, object]:
    return {f"n{number}": value for number in range(MANY)}


@pytest.mark.parametrize(
    ("model", "document", "field", "most"),
    [
        (ScheduleDefinition, JOB | {"triggers": [0] * MANY}, "triggers", 20),
        (ScheduleDefinition, JOB | {"tags": named("\n")}, "tags", 50),
        (ScheduleDefinition, JOB | {"target": CALL | {"success_statuses": [0] * MANY}}, "target.success_statuses", 100),
        (ScheduleDefinition, JOB | {"target": CALL | {"headers": named(0)}}, "target.headers", 100),
        (ScheduleDefinition, JOB | {"target": CALL | {"signing_secret": [0] * MANY}}, "target.signing_secret", 2),
        (
            ScheduleDefinition,
            JOB | {"exclusions": [{"kind": "calendar", "days": [0] * MANY * 2}]},
            "exclusions[0].days",
            MANY,
        ),
        (ScheduleDefinition, JOB | named(0), "body", len(ScheduleDefinition.model_fields) + MOST_UNKNOWN),
        (CalendarBody, {"days": [0] * MANY}, "days", 4000),
        (RouteBody, {"events": ["failure"], "target": {"kind": "email", "to": [""] * MANY}}, "target.to", 20),
        (RouteBody, {"events": [0] * MANY, "target": CALL}, "events", 20),
        (EgressBody, {"allowed_hosts": [0] * MANY}, "allowed_hosts", 500),
        (KeyBody, {"scopes": [0] * MANY}, "scopes", 4),
        (SimulateRequest, RANGE | {"durations": named("")}, "durations", 10_000),
    ],
)
def test_what_is_far_too_long_is_one_problem(
    model: type[BaseModel], document: dict[str, Any], field: str, most: int
) -> None:
    with pytest.raises(Refused) as refused:
        parse(model, document)
    assert [(problem.field, problem.fix) for problem in refused.value.problems] == [(field, f"give at most {most}")]


def test_what_is_free_may_be_as_long_as_a_body() -> None:
    free = {"input": named([0] * 3), "target": CALL | {"body": [0] * MANY}}
    assert len(parse(ScheduleDefinition, JOB | free).input) == MANY
    tags = {f"n{number}": "x" * 200 for number in range(50)}
    headers = {f"X-{number}": "x" * 100 for number in range(90)}
    full = JOB | {"tags": tags, "target": CALL | {"headers": headers}, "input": {"a": "x" * MANY}}
    assert len(parse(ScheduleDefinition, full).tags) == 50


def parts(schema: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(schema, dict):
        yield schema
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from parts(part)


@pytest.mark.parametrize("model", [*BODIES, PreviewRequest])
def test_whatever_has_parts_that_are_checked_has_a_bound(model: type[BaseModel]) -> None:
    for part in parts(model.model_json_schema()):
        if part.get("type") == "array" and part.get("items", {}) not in ({}, {"$ref": "#/$defs/JsonValue"}):
            assert "maxItems" in part, part
        values = part.get("additionalProperties", True)
        if part.get("type") == "object" and isinstance(values, dict) and values:
            assert "maxProperties" in part, part


def test_the_kinds_of_targets_are_those_that_can_be_asked_for() -> None:
    assert set(get_args(TargetKind)) == set(KINDS)
