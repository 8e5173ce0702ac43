"""Documents in, models or named problems out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from backend.engine.definition import ScheduleDefinition
from backend.errors import Refused
from backend.service.notifications import RouteBody
from backend.service.simulate import SimulateRequest
from backend.service.validation import DEEPEST, KIND_TAGS, MOST_PROBLEMS, check_text, joined, parse, path_of
from backend.targets.registry import ERRAND_KINDS
from backend.triggers.exclusions import KINDS as EXCLUSION_KINDS
from backend.triggers.registry import KINDS as TRIGGER_KINDS
from tests.unit.engine_cases import MINUTELY, TARGET


def refused(document: object, at: str = "") -> list[tuple[str, str]]:
    with pytest.raises(Refused) as caught:
        parse(ScheduleDefinition, document, at=at)
    return [(problem.field, problem.rule) for problem in caught.value.problems]


def nested(levels: int) -> Any:
    value: Any = "deep"
    for _ in range(levels):
        value = [value]
    return value


def test_every_problem_is_named_with_the_place_in_the_batch():
    document = {"triggers": [MINUTELY, {"kind": "cron", "expression": "61 * * * *"}], "colour": "red"}
    fields = [field for field, _ in refused(document, "schedules[3]")]
    assert fields == ["schedules[3].triggers[1].expression", "schedules[3].target", "schedules[3].colour"]


def test_every_kind_is_known_as_a_tag_so_that_no_path_shows_it():
    assert set(ERRAND_KINDS) | set(TRIGGER_KINDS) | set(EXCLUSION_KINDS) == KIND_TAGS


def test_a_field_that_is_called_like_a_kind_keeps_its_name():
    [(field, _)] = refused({"triggers": [MINUTELY], "target": TARGET | {"headers": {"http": 5}}})
    assert field == "target.headers.http"


def test_a_bound_of_a_duration_is_told_in_the_notation_that_callers_use():
    assert route(late_by="5s") == ["late_by: '5s' is below 10s; give at least 10s"]
    assert route(every="8d") == ["every: '8d' is above 7d; give at most 7d"]


def test_a_wrong_item_of_a_list_is_no_such_thing_and_the_choices_are_named():
    [problem] = route(events=["failed"])
    assert problem.startswith("events[0]: 'failed' is not an event; give 'failure', ")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("x", 'target.signing_secret: it is text; give {"secret": NAME}'),
        ([{"secret": "a"}] * 3, "target.signing_secret: it has 3 items; give at most 2"),
        ([], "target.signing_secret: the list is empty; give at least one signing_secret"),
        ([{"secret": "a"}, "x"], 'target.signing_secret[1]: it is text; give {"secret": NAME}'),
        ({"secret": 1}, "target.signing_secret.secret: it is a number; give a text"),
    ],
)
def test_one_finding_is_told_of_a_field_that_may_have_two_forms(given, problem):
    assert route(target=TARGET | {"signing_secret": given}) == [problem]


@pytest.mark.parametrize(
    ("given", "place"), [("x", "durations"), ({"each": "x"}, "durations.each"), ([1], "durations")]
)
def test_lengths_of_runs_are_refused_once_and_by_their_place(given, place):
    with pytest.raises(Refused) as caught:
        parse(SimulateRequest, {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "durations": given})
    assert [problem.field for problem in caught.value.problems] == [place]


def test_the_kind_of_a_notifications_target_is_no_part_of_the_place():
    [problem] = route(target={"kind": "email", "to": ["x"]})
    assert problem.startswith("target.to[0]: 'x' is not an e-mail address")


def route(**odd: object) -> list[str]:
    with pytest.raises(Refused) as caught:
        parse(RouteBody, {"id": "a", "events": ["failure"], "target": TARGET} | odd)
    return [f"{problem.field}: {problem.rule}; {problem.fix}" for problem in caught.value.problems]


@pytest.mark.parametrize("document", [None, 1, "x", [], True])
def test_what_is_no_object_is_refused_as_a_body(document):
    assert refused(document)[0][0] == "body"


def test_problems_end_at_a_hundred():
    class Many(BaseModel):
        numbers: list[int]

    with pytest.raises(Refused) as caught:
        parse(Many, {"numbers": ["x"] * 1000})
    assert len(caught.value.problems) == MOST_PROBLEMS


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ({"a": {"b": ["ok", "no\0"]}}, "a.b[1]: it holds a NUL character"),
        ({"a": "\ud800"}, "a: it holds half of a surrogate pair"),
        ({"\udfff": 1}, "body: it holds half of a surrogate pair"),
        ({"a": 2**63}, "a: the number is beyond 64 bits"),
        ({"a": -(2**63) - 1}, "a: the number is beyond 64 bits"),
        (nested(DEEPEST + 1), f"nested deeper than {DEEPEST} levels"),
    ],
)
def test_what_no_store_can_keep_is_refused(value, rule):
    with pytest.raises(Refused) as caught:
        check_text(value)
    assert rule in str(caught.value)


@pytest.mark.parametrize("value", [{"a": 2**63 - 1}, {"a": -(2**63)}, {"a": "😀 ä"}, nested(DEEPEST), 1.5, None, True])
def test_what_a_store_can_keep_passes(value):
    check_text(value)


def test_paths_read_like_the_document():
    assert path_of(["triggers", 0, "expression"]) == "triggers[0].expression"
    assert (joined("", "a"), joined("a", ""), joined("a", "b")) == ("a", "a", "a.b")


def outcome(document: object) -> ScheduleDefinition | Refused:
    try:
        return parse(ScheduleDefinition, document)
    except Refused as refused:
        return refused


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(sorted(ScheduleDefinition.model_fields))


@given(st.dictionaries(FIELDS, JSON, max_size=4), st.sampled_from([{}, {"triggers": [MINUTELY], "target": TARGET}]))
def test_any_document_is_either_a_definition_or_refused_by_name(odd, base):
    found = outcome(base | odd)
    if isinstance(found, Refused):
        assert found.problems
        assert all(problem.field and problem.rule and problem.fix for problem in found.problems)
