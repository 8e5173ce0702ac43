"""Opaque cursors: what a list gives out comes back, anything else is refused."""

from __future__ import annotations

import base64
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.errors import Refused
from backend.service.cursors import read_cursor, write_cursor


def packed(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_no_cursor_is_the_beginning():
    assert read_cursor(None, int) is None


@given(st.integers(-(2**62), 2**62 - 1), st.uuids().map(str))
def test_a_place_survives_the_way_there_and_back(number, id_):
    assert read_cursor(write_cursor(number, id_), int, str) == [number, id_]


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "!!!",
        "é",
        "\ud800",
        packed(None),
        packed({}),
        packed([]),
        packed([1, 2]),
        packed(["1"]),
        packed([1.0]),
        packed([True]),
        packed([None]),
        packed([2**62]),
        packed([-(2**62) - 1]),
        packed([10**400]),
        base64.urlsafe_b64encode(b"[" * 30_000).decode(),
        base64.urlsafe_b64encode(b"\xff\xfe[").decode(),
    ],
)
def test_what_no_list_gave_out_is_refused(cursor):
    with pytest.raises(Refused, match="cursor: it is not one that this list gave out"):
        read_cursor(cursor, int)


@pytest.mark.parametrize("text", ["\ud800", "a\0b", "é", "x" * 600])
def test_texts_that_are_no_ids_are_refused(text):
    with pytest.raises(Refused):
        read_cursor(packed([1, text]), int, str)


@given(st.text())
def test_any_text_is_either_a_place_or_refused(text):
    with suppress(Refused):
        assert isinstance(read_cursor(text, int), list)
