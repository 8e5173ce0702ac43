"""Documents in, models or named problems out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from backend.engine.definition import ScheduleDefinition
from backend.errors import Refused
from backend.service.validation import DEEPEST, KIND_TAGS, MOST_PROBLEMS, check_text, joined, parse, path_of
from backend.targets.registry import KINDS as TARGET_KINDS
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
    assert set(TARGET_KINDS) | set(TRIGGER_KINDS) | set(EXCLUSION_KINDS) == KIND_TAGS


def test_a_field_that_is_called_like_a_kind_keeps_its_name():
    [(field, _)] = refused({"triggers": [MINUTELY], "target": TARGET | {"headers": {"http": 5}}})
    assert field == "target.headers.http"


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
