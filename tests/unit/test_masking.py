"""What may be a secret is masked; the quick look that says there is nothing to mask is never wrong."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from backend.model.masking import WORDS, masked, may_tell

PIECES = st.sampled_from(
    [*WORDS, *(word.upper() for word in WORDS), "x", "-", "?", "&a=b", "=", "\u017f", "\u212a", "url"]
)
TEXTS = st.lists(PIECES, max_size=5).map("".join)
DOCUMENTS: st.SearchStrategy[Any] = st.recursive(
    TEXTS | st.none() | st.integers(0, 9), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner)
)


@given(st.dictionaries(TEXTS, DOCUMENTS))
def test_where_the_quick_look_finds_nothing_there_is_nothing_to_mask(document: Any) -> None:
    if not may_tell(orjson.dumps(document).decode()):
        assert masked(document) == document


def test_a_name_tells_however_long_it_is_and_for_all_below() -> None:
    name = "x" * 200 + "-Token"
    assert masked({name: {"a": ["b", {"c": "d"}]}, "y" * 200: "e"}) == {
        name: {"a": ["***", {"c": "***"}]},
        "y" * 200: "e",
    }


def test_a_reference_stays_only_where_a_target_may_have_one() -> None:
    reference = {"secret": "tok"}
    target = {"headers": {"X-Key": reference}, "body": [1, {"a": reference}], "signing_secret": [reference, reference]}
    assert masked({"target": target}) == {"target": target}
    for elsewhere in ({"input": reference}, {"tags": reference}, {"target": {"headers": {"secret": "plain"}}}):
        assert "***" in str(masked(elsewhere)), elsewhere


def test_a_number_is_masked_where_it_may_be_a_password() -> None:
    found = masked({"target": {"body": {"password": 1234, "max_tokens": 5, "secret": True, "n": {"passwd": [1.5]}}}})
    assert found == {"target": {"body": {"password": "***", "max_tokens": 5, "secret": True, "n": {"passwd": ["***"]}}}}
