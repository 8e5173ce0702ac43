"""One validator for every entrance: documents in, models or named problems out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from backend.errors import FieldError, FieldProblem, Refused
from backend.service.bounds import beyond_bounds
from backend.service.wording import field_of, rule_and_fix

M = TypeVar("M", bound=BaseModel)
DEEPEST = 32
MOST_PROBLEMS = 100
SHORT = 16 * 1024
"""Bytes of a document in which few things can be wrong."""
LARGEST = 2**63
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def parse(model: type[M], document: object, *, at: str = "") -> M:
    """Check a document against a model; Refused names every field that breaks a rule. `at` is where it stands."""
    if check_text(document, at) > SHORT:
        _check_bounds(model, document, at)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise Refused(problems_of(error, at, model)) from None


def _check_bounds(model: type[BaseModel], document: object, at: str) -> None:
    beyond = islice(beyond_bounds(model, document), MOST_PROBLEMS)
    problems = [FieldProblem(path_of(one.location, at) or "body", one.rule, one.fix) for one in beyond]
    if problems:
        raise Refused(problems)


def problems_of(error: ValidationError, at: str = "", model: type[BaseModel] | None = None) -> list[FieldProblem]:
    """Turn pydantic's findings about a document for `model` into field, rule, fix."""
    details = error.errors(include_url=False)
    # Each is worded with the nearest known name, which takes its time: of twenty thousand, only those that are told.
    told = islice((detail for detail in details if not _follows(detail, details)), MOST_PROBLEMS)
    return [problem_of(detail, at, model) for detail in told]


def _follows(detail: ErrorDetails, others: Sequence[ErrorDetails]) -> bool:
    """Tell a list that is only too short because its items were refused."""
    place = detail["loc"]
    return detail["type"] == "too_short" and any(
        len(other["loc"]) > len(place) and other["loc"][: len(place)] == place for other in others
    )


def problem_of(detail: ErrorDetails, at: str = "", model: type[BaseModel] | None = None) -> FieldProblem:
    """Turn one of pydantic's findings into field, rule, fix."""
    cause = detail.get("ctx", {}).get("error")
    field = path_of(_without_tags(detail["loc"]), at)
    if isinstance(cause, FieldError):
        # A rule of one field names that field, also where it is checked as the field's own.
        below = "" if detail["loc"] and detail["loc"][-1] == cause.field else cause.field
        return FieldProblem(joined(field, below), cause.rule, cause.fix)
    field = field_of(detail, field)
    return FieldProblem(field or "body", *rule_and_fix(detail, field, model))


KIND_TAGS = frozenset(
    {"cron", "interval", "once", "rrule", "date", "range", "calendar", "http", "command", "python", "email"}
)
MEMBER_TAGS = frozenset({"text", "reference", "references"})
TEXTS_OR_REFERENCES = frozenset({"headers", "env"})
"""Fields whose values are texts or name secrets."""
ONES_OR_MANY = {"signing_secret": MEMBER_TAGS, "durations": frozenset({"one", "each"})}
"""Fields that have two forms themselves, and what the forms are called."""


def _without_tags(location: Sequence[int | str]) -> list[int | str]:
    """Drop what pydantic puts into a location beside fields and indexes: the kind of a union's member."""
    path: list[int | str] = []
    for place, step in enumerate(location):
        after_union = place > 0 and (location[place - 1] == "target" or isinstance(location[place - 1], int))
        if step in KIND_TAGS and after_union:
            continue
        if step in MEMBER_TAGS and place > 1 and location[place - 2] in TEXTS_OR_REFERENCES:
            continue
        if place > 0 and step in ONES_OR_MANY.get(str(location[place - 1]), ()):
            continue
        path.append(step)
    return path


def path_of(location: Sequence[int | str], at: str = "") -> str:
    """Write a place in a document.

    >>> path_of(["triggers", 0, "expression"], "schedules[2]")
    'schedules[2].triggers[0].expression'
    """
    path = at
    for step in location:
        path = f"{path}[{step}]" if isinstance(step, int) else joined(path, step)
    return path


def joined(path: str, step: str) -> str:
    """Add a step to a path; either may be empty."""
    return f"{path}.{step}" if path and step else path or step


def check_text(document: object, at: str = "") -> float:
    """Refuse what no store can keep: NUL, lone surrogates, numbers beyond 64 bits, documents too deep.

    Answers how many bytes it has as JSON, as far as they had to be counted.
    """
    try:
        text = orjson.dumps(document, option=orjson.OPT_STRICT_INTEGER)  # no surrogates, and less than 64 bits
    except (TypeError, RecursionError):
        text = None
    if (text is None or not _is_plain(text)) and not _can_be_kept(document):
        for path, rule, fix in _unkeepable(document, at, 0):
            raise Refused([FieldProblem(path or "body", rule, fix)])
    return math.inf if text is None else len(text)


def _is_plain(text: bytes) -> bool:
    """Tell whether there is surely nothing to refuse, by what a fast writer of JSON has made of it."""
    return b"\\u0000" not in text and text.count(b"{") + text.count(b"[") <= DEEPEST


def _can_be_kept(document: object) -> bool:
    """Tell whether there is anything to refuse, level by level; to find out where takes ten times as long."""
    level = [document]
    for _ in range(DEEPEST + 1):
        below: list[object] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(value)
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
            elif not _fits_a_store(value):
                return False
        if not below:
            return True
        level = below
    return False


def _fits_a_store(value: object) -> bool:
    if isinstance(value, str):
        return "\0" not in value and (value.isascii() or not _SURROGATE.search(value))
    return not isinstance(value, int) or -LARGEST <= value < LARGEST


def _unkeepable(value: object, path: str, depth: int) -> Iterator[tuple[str, str, str]]:
    if depth > DEEPEST:
        yield path, f"it is nested deeper than {DEEPEST} levels", "flatten it"
    elif isinstance(value, str):
        if "\0" in value:
            yield path, "it holds a NUL character", "leave it out"
        elif _SURROGATE.search(value):
            yield path, "it holds half of a surrogate pair", "encode the text as valid Unicode"
    elif not _fits_a_store(value):
        yield path, "the number is beyond 64 bits", "give it as text"
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _unkeepable(key, path, depth + 1)
            yield from _unkeepable(item, joined(path, str(key)[:80]), depth + 1)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _unkeepable(item, f"{path}[{place}]", depth + 1)
