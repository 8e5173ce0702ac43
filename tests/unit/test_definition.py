"""The document that defines a schedule: defaults, rules, and how it is stored."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from backend.engine.definition import (
    ScheduleDefinition,
    dump_definition,
    load_definition,
    says_the_same,
)
from backend.errors import FieldProblem, Refused
from backend.service.validation import parse
from backend.targets.http import HttpTarget
from tests.unit.engine_cases import MINUTELY, TARGET, definition

DOCUMENT: dict[str, Any] = {"id": "digest", "triggers": [MINUTELY], "target": TARGET}


def problem(**fields: Any) -> FieldProblem:
    with pytest.raises(Refused) as refused:
        parse(ScheduleDefinition, DOCUMENT | fields)
    [found] = refused.value.problems
    return found


def test_the_defaults_are_those_of_the_product():
    made = definition()
    assert (made.misfire_policy, made.overlap_policy, made.delivery) == ("fire_once", "skip", "at_least_once")
    assert (made.misfire_threshold, made.catchup_window) == (timedelta(seconds=60), timedelta(days=365))
    assert (made.timeout, made.pause_after_failures) == (timedelta(minutes=3), 5)
    assert (made.retry.max_attempts, made.retry.multiplier) == (3, 2)
    assert (made.retry.initial, made.retry.maximum) == (timedelta(seconds=10), timedelta(minutes=10))


def test_a_definition_survives_the_database():
    wanted = definition(
        [MINUTELY, {"kind": "cron", "expression": "0 9 * * mon-fri", "timezone": "Europe/London"}],
        input={"z": 1, "a": [1, None, "ä"]},
        tags={"team": "growth"},
        retry={"max_attempts": 7},
        timeout="90s",
    )
    assert load_definition(dump_definition(wanted)) == wanted
    assert list(load_definition(dump_definition(wanted)).input) == ["z", "a"], "targets may show the order"


def test_a_definition_of_another_version_is_not_guessed_at():
    text = dump_definition(definition()).replace('"version":1', '"version":2')
    with pytest.raises(ValueError, match="of version 2, this program reads 1"):
        load_definition(text)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('{"a":1,"b":2}', '{"b":2,"a":1}', True),
        ('{"a":1}', '{"a":1.0}', False),
        ('{"a":1}', '{"a":true}', False),
        ('{"a":[1,2]}', '{"a":[2,1]}', False),
        ("nonsense", "nonsense", True),
        ("nonsense", "{}", False),
    ],
)
def test_two_stored_definitions_say_the_same(one, other, same):
    assert says_the_same(one, other) is same


def test_what_was_answered_can_be_written_back():
    answered = DOCUMENT | {"state": "paused", "note": "x", "revision": 3, "last_run": None, "next_nominal_time": None}
    assert parse(ScheduleDefinition, answered) == parse(ScheduleDefinition, DOCUMENT)


@pytest.mark.parametrize(
    "neutral", [{"exclusions": []}, {"jitter": "0s"}, {"start_at": None}, {"end_at": None}, {"max_runs": None}]
)
def test_neutral_values_say_nothing(neutral):
    assert parse(ScheduleDefinition, DOCUMENT | neutral) == parse(ScheduleDefinition, DOCUMENT)


def test_a_whole_number_may_be_written_as_one_with_a_fraction_of_nothing():
    # As JSON Schema counts, and as writers do that know but one kind of number.
    whole = {"max_runs": 5.0, "pause_after_failures": 1e3, "retry": {"max_attempts": 3.0}}
    made = parse(ScheduleDefinition, DOCUMENT | whole | {"target": TARGET | {"success_statuses": [200.0]}})
    assert repr((made.max_runs, made.pause_after_failures, made.retry.max_attempts)) == "(5, 1000, 3)"
    assert isinstance(made.target, HttpTarget)
    assert repr(made.target.success_statuses) == "(200,)"


@pytest.mark.parametrize(
    ("fields", "field", "rule"),
    [
        ({"max_runs": 5.5}, "max_runs", "5.5"),
        ({"max_runs": float("inf")}, "max_runs", ""),
        ({"triggers": []}, "triggers", "the list is empty"),
        ({"triggers": [{"kind": "interval", "every": 0}]}, "triggers[0].every", "1 second to 3650 days"),
        (
            {"triggers": [{"kind": "cron", "expression": "61 * * * *"}]},
            "triggers[0].expression",
            "minute 61 is outside 0–59",
        ),
        ({"triggers": [{"kind": "cron", "expression": "0 0 30 2 *"}]}, "triggers[0].expression", ""),
        ({"triggers": [MINUTELY | {"timezone": "UTC"}]}, "triggers[0].timezone", "no such field"),
        ({"target": {"kind": "carrier-pigeon"}}, "target.kind", "'carrier-pigeon' is not a kind of target"),
        ({"target": TARGET | {"url": "ftp://example.org"}}, "target.url", ""),
        ({"timeout": "8d"}, "timeout", "10 ms to 7 days"),
        ({"timeout": "1ms"}, "timeout", "10 ms to 7 days"),
        ({"timeout": "soon"}, "timeout", "not a duration"),
        ({"retry": {"max_attempts": 0}}, "retry.max_attempts", "0 is below 1"),
        ({"retry": {"initial": "1h"}}, "retry.maximum", "maximum is below initial"),
        ({"overlap_policy": "queue"}, "overlap_policy", "'queue' is not an overlap policy"),
        ({"misfire_policy": "never"}, "misfire_policy", "'never' is not a misfire policy"),
        ({"name": "a\nb"}, "name", "control characters"),
        ({"name": "x" * 201}, "name", "200"),
        ({"id": "../etc"}, "id", "has a character that ids cannot have"),
        ({"id": "x" * 201}, "id", "longer than 200"),
        ({"tags": {"a:b": "c"}}, "tags.a:b", "has a character that names of tags cannot have"),
        ({"colour": "red"}, "colour", "no such field"),
        ({"input": []}, "input", "it is a list"),
    ],
)
def test_a_broken_rule_is_named_with_its_field_and_a_fix(fields, field, rule):
    found = problem(**fields)
    assert found.field == field
    assert rule in found.rule
    assert found.fix
