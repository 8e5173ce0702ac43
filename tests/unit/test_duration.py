from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from backend.duration import LONGEST, Duration, format_duration, parse_duration
from backend.errors import FieldError

SECOND, MILLISECOND = timedelta(seconds=1), timedelta(milliseconds=1)


class Waiting(BaseModel):
    length: Duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (0, 0),
        (90, 90),
        (1.5, 1.5),
        ("90", 90),
        ("0.25", 0.25),
        (" 90s ", 90),
        ("250ms", 0.25),
        ("15m", 900),
        ("2h", 7200),
        ("1d", 86400),
        ("1w", 604800),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("PT15M", 900),
        ("P1D", 86400),
        ("P2W", 1209600),
        ("P1DT2H3M4.5S", 93784.5),
        (timedelta(minutes=3), 180),
        ("36500d", 36500 * 86400),
    ],
)
def test_every_notation_of_the_contract_is_read(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "s",
        "90 s",
        "1y",
        "1h 30m",
        "P",
        "PT",
        "P1DT",
        "PT15",
        "-5s",
        "1e3",
        "½h",
        "1h\n30m",
        "9" * 50,
        "P1Y",
    ],
)
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(FieldError) as caught:
        parse_duration(text)
    assert "is not a duration" in caught.value.rule
    assert "PT15M" in caught.value.fix


@pytest.mark.parametrize(
    "value", [None, True, False, [], {}, float("nan"), float("inf"), float("-inf"), 1e300, 10**400, b"90s"]
)
def test_what_is_no_text_or_number_is_refused(value):
    with pytest.raises(FieldError):
        parse_duration(value)


@pytest.mark.parametrize(
    "value",
    [
        -1,
        -2e-98,  # rounds to nothing
        -0.001,
        timedelta(seconds=-1),
        "36501d",
        LONGEST + SECOND,
        36500 * 86400 + 1,
        "100000000000d",
        "9999999999999w",
        "P999999W",
    ],
)
def test_lengths_lie_between_nothing_and_a_century(value):
    with pytest.raises(FieldError, match="outside 0 to 36500 days"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (1, "1s"),
        (60, "1m"),
        (90, "90s"),
        (5400, "90m"),
        (7200, "2h"),
        (86400, "1d"),
        (90000, "25h"),
        (0.25, "250ms"),
    ],
)
def test_a_length_is_written_in_the_largest_unit_that_divides_it(seconds, text):
    assert format_duration(timedelta(seconds=seconds)) == text


@given(st.sampled_from([MILLISECOND, SECOND, 60 * SECOND]), st.integers(min_value=0, max_value=52_000_000))
def test_what_is_written_is_read_back_the_same(unit, number):
    length = number * unit
    assert parse_duration(format_duration(length)) == length


@given(st.one_of(st.text(), st.floats(), st.integers()))
def test_reading_anything_gives_a_length_or_a_field_error(value):
    try:
        length = parse_duration(value)
    except FieldError:
        return
    assert timedelta(0) <= length <= LONGEST


def test_a_model_reads_and_writes_the_same_notation():
    waiting = Waiting.model_validate({"length": "1h30m"})
    assert waiting.length == timedelta(minutes=90)
    assert json.loads(waiting.model_dump_json()) == {"length": "90m"}


def test_a_model_names_the_field_and_keeps_rule_and_fix():
    with pytest.raises(ValidationError) as caught:
        Waiting.model_validate({"length": "soon"})
    (detail,) = caught.value.errors()
    assert detail["loc"] == ("length",)
    assert isinstance(detail["ctx"]["error"], FieldError)


def test_the_schema_accepts_text_and_numbers():
    assert {kind["type"] for kind in Waiting.model_json_schema()["properties"]["length"]["anyOf"]} == {
        "string",
        "number",
    }
