"""Strict JSON: of two values under one name neither is taken, however the document is written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.api.bodies import strict_json
from backend.errors import Refused


class Pairs(tuple[tuple[str, Any], ...]):
    """An object, of which names may stand twice."""

    __slots__ = ()


NAMES = st.sampled_from(["a", "b", 'quo"te', "back\\slash", "colon:", "ä", " "])
DOCUMENTS = st.recursive(
    st.sampled_from([None, 1, "a", '":', "\\", 'x\\":y']),
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(NAMES, inner), max_size=3).map(Pairs),
    max_leaves=12,
)


def written(document: Any, space: str) -> str:
    if isinstance(document, Pairs):
        inner = (f"{json.dumps(name)}{space}:{space}{written(value, space)}" for name, value in document)
        return "{" + f",{space}".join(inner) + "}"
    if isinstance(document, list):
        return "[" + ",".join(written(one, space) for one in document) + "]"
    return json.dumps(document)


def doubled(document: Any) -> bool:
    if isinstance(document, Pairs):
        return len(dict(document)) < len(document) or any(doubled(value) for _, value in document)
    return isinstance(document, list) and any(map(doubled, document))


@given(DOCUMENTS, st.sampled_from(["", " ", "\n\t"]))
def test_a_name_that_stands_twice_is_refused_and_nothing_else(document: Any, space: str) -> None:
    text = written(document, space)
    if doubled(document):
        with pytest.raises(Refused, match="twice"):
            strict_json(text.encode())
    else:
        assert strict_json(text.encode()) == json.loads(text)
