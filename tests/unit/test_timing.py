"""A stored timing is read, or refused as what it is."""

from __future__ import annotations

import pytest

from backend.engine.timing import load_timing


@pytest.mark.parametrize("text", ["null", "7", '"x"', "{}", '{"triggers": 1}', "not json", '[{"kind": "lunar"}]'])
def test_what_is_no_timing_is_told_apart_from_every_other_failure(text: str):
    with pytest.raises(ValueError, match=r"."):
        load_timing(text)
