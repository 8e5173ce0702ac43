"""What pydantic finds wrong, in our words: the rule that is broken, and what would be right."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from backend.duration import format_duration, shown
from backend.engine.definition import ID_PATTERN, TAG_NAME_PATTERN
from backend.errors import FieldProblem, Refused
from backend.model.secret import SecretRef

Model = type[BaseModel]

TYPES: Mapping[str, str] = {
    "string_type": "give a text",
    "int_type": "give a whole number",
    "int_from_float": "give a whole number",
    "float_type": "give a number",
    "bool_type": "give true or false",
    "dict_type": "give an object",
    "model_type": "give an object",
    "model_attributes_type": "give an object",
    "list_type": "give a list",
    "tuple_type": "give a list",
}
PARSED: Mapping[str, str] = {
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of that size",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
}
PATTERNS: Mapping[str, tuple[str, str]] = {
    ID_PATTERN: (
        "has a character that ids cannot have",
        "use letters, digits and . _ : @ ~ -, beginning with a letter or digit, at most 200",
    ),
    TAG_NAME_PATTERN: ("has a character that names of tags cannot have", "leave out colons and control characters"),
}
LIMITS: Mapping[str, tuple[str, str]] = {
    "ge": ("is below", "give at least"),
    "gt": ("is not above", "give more than"),
    "le": ("is above", "give at most"),
    "lt": ("is not below", "give less than"),
}
JSON_TYPES: tuple[tuple[type, str], ...] = (
    (str, "text"),
    (int, "a number"),
    (float, "a number"),
    (dict, "an object"),
    (list, "a list"),
)


def rule_and_fix(detail: ErrorDetails, field: str, model: Model | None) -> tuple[str, str]:
    """Word one finding at `field`; `model` is what the whole document was checked against, to name near fields."""
    kind = detail["type"]
    if kind in TYPES:
        return _of_type(detail)
    if kind in PARSED:
        return f"{shown(detail['input'])} is not {PARSED[kind]}", f"give {PARSED[kind]}"
    if kind in WORDS:
        return WORDS[kind](detail, field)
    if kind == "extra_forbidden":
        return "there is no such field", _nearest(detail, model)
    message = detail["msg"]
    return message[:1].lower() + message[1:], _limit(detail)[1]


def kind_of(value: object) -> str:
    """Name what a JSON value is.

    >>> kind_of(None), kind_of(True), kind_of([1]), kind_of("x")
    ('null', 'true', 'a list', 'text')
    """
    if value is None or isinstance(value, bool):
        return shown(value)
    return next((name for type_, name in JSON_TYPES if isinstance(value, type_)), type(value).__name__)


def field_of(detail: ErrorDetails, field: str) -> str:
    """Name the field that a finding is about, where that is not quite the place pydantic gives."""
    if detail["type"].startswith("union_tag"):
        return f"{field}.kind"
    return field.removesuffix(".[key]")


def _of_type(detail: ErrorDetails) -> tuple[str, str]:
    value = detail["input"]
    if not detail["loc"]:
        return f"it is {kind_of(value)}", "send a JSON object"
    it = shown(value) if isinstance(value, float) else kind_of(value)
    if detail.get("ctx", {}).get("class_name") == SecretRef.__name__:
        return f"it is {it}", 'give {"secret": NAME}'
    return f"it is {it}", TYPES[detail["type"]]


def _missing(_: ErrorDetails, __: str) -> tuple[str, str]:
    return "it is missing", "add it"


def _date(detail: ErrorDetails, _: str) -> tuple[str, str]:
    return f"{shown(detail['input'])} is not a date", 'give one such as "2026-12-25"'


def _enum(detail: ErrorDetails, field: str) -> tuple[str, str]:
    name, index, _ = field.rpartition(".")[2].replace("_", " ").partition("[")
    name = name.removesuffix("s") if index else name
    article = "an" if name[:1] in set("aeiou") else "a"
    return f"{shown(detail['input'])} is not {article} {name}", f"give {detail['ctx']['expected']}"


def _unknown_kind(detail: ErrorDetails, field: str) -> tuple[str, str]:
    first, _, last = str(detail["ctx"]["expected_tags"]).rpartition(", ")
    return f"{shown(detail['ctx']['tag'])} is not a kind of {_thing(field)}", f"use {first} or {last}"


def _no_kind(_: ErrorDetails, field: str) -> tuple[str, str]:
    return "it is missing", f"say which kind of {_thing(field)} it is"


def _thing(field: str) -> str:
    return "target" if re.search(r"(^|\.)target\.kind$", field) else "trigger"


def _too_short(detail: ErrorDetails, field: str) -> tuple[str, str]:
    least, name = detail["ctx"]["min_length"], field.rpartition(".")[2]
    return (
        "the list is empty",
        f"give at least one {name.removesuffix('s')}" if least == 1 else f"give at least {least}",
    )


def _too_long(detail: ErrorDetails, _: str) -> tuple[str, str]:
    context = detail["ctx"]
    count = context.get("actual_length")
    most = context["max_length"]
    return f"it has {count or f'more than {most}'} items", f"give at most {most}"


def _text_too_short(detail: ErrorDetails, _: str) -> tuple[str, str]:
    return "it is empty" if not detail["input"] else "it is too short", "give at least " + _characters(detail, "min")


def _text_too_long(detail: ErrorDetails, _: str) -> tuple[str, str]:
    return "it is longer than " + _characters(detail, "max"), "shorten it"


def _characters(detail: ErrorDetails, bound: str) -> str:
    number = detail["ctx"][f"{bound}_length"]
    return f"{number} character" + ("" if number == 1 else "s")


def _pattern(detail: ErrorDetails, _: str) -> tuple[str, str]:
    pattern = detail["ctx"]["pattern"]
    rule, fix = PATTERNS.get(pattern, ("has a form that is not accepted", f"give a text matching {pattern}"))
    value = str(detail["input"])
    if len(value) > 200 and pattern == ID_PATTERN:
        return "it is longer than 200 characters", "shorten it"
    return f"{shown(value)} {rule}" if value else "it is empty", fix


def _limit(detail: ErrorDetails, _: str = "") -> tuple[str, str]:
    context: Mapping[str, Any] = detail.get("ctx", {})
    for name, (rule, fix) in LIMITS.items():
        if name in context:
            bound = _bound(context[name])
            return f"{shown(detail['input'])} {rule} {bound}", f"{fix} {bound}"
    return "it is not accepted", "give a valid value"


def _bound(value: object) -> object:
    """Write a bound as callers write it; pydantic gives that of a duration as Python would."""
    if not str(value).startswith("datetime.timedelta("):
        return value
    parts = re.findall(r"(days|seconds|microseconds)=(\d+)", str(value))
    return format_duration(timedelta(**{unit: int(number) for unit, number in parts}))


WORDS: Mapping[str, Callable[[ErrorDetails, str], tuple[str, str]]] = {
    "missing": _missing,
    "date_from_datetime_parsing": _date,
    "date_parsing": _date,
    "enum": _enum,
    "literal_error": _enum,
    "union_tag_invalid": _unknown_kind,
    "union_tag_not_found": _no_kind,
    "too_short": _too_short,
    "too_long": _too_long,
    "string_too_short": _text_too_short,
    "string_too_long": _text_too_long,
    "string_pattern_mismatch": _pattern,
    "greater_than_equal": _limit,
    "greater_than": _limit,
    "less_than_equal": _limit,
    "less_than": _limit,
}


def check_known(field: str, value: str | None, known: Sequence[str]) -> None:
    """Refuse a filter's value that nothing can have: it would silently match nothing. None does not count."""
    if value is None or value in known:
        return
    near = nearest(value, known)
    fix = f"did you mean {near}?" if near else f"give {', '.join(known[:-1])} or {known[-1]}"
    raise Refused([FieldProblem(field, f"there is no {field} {shown(value)}", fix)])


def nearest(name: str, known: Sequence[str]) -> str | None:
    """Find the known name that was probably meant."""
    wanted = name.casefold()
    close = get_close_matches(wanted, known, n=5)
    # Letters in common say less than the same beginning: `retries` means retry, not triggers.
    return max(close, key=lambda one: _shared_start(one, wanted), default=None)


def _shared_start(one: str, other: str) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _nearest(detail: ErrorDetails, model: Model | None) -> str:
    *place, name = detail["loc"]
    near = nearest(str(name), sorted(_fields_at(model, place)) if model else [])
    return f"did you mean {near}?" if near else "leave it out, or check its spelling"


def _fields_at(model: Model, place: Sequence[int | str]) -> set[str]:
    """Name the fields that are known at a place of the document."""
    models = [model]
    for step in place:
        of_kind = [one for one in models if _kind(one) == step]
        if of_kind:
            models = of_kind
        elif isinstance(step, str):
            models = [inner for one in models if step in one.model_fields for inner in _models_in(one, step)]
    return {field.alias or name for one in models for name, field in one.model_fields.items()}


def _kind(model: Model) -> object:
    return model.model_fields["kind"].default if "kind" in model.model_fields else None


def _models_in(model: Model, field: str) -> Iterator[Model]:
    pending: list[Any] = [model.model_fields[field].annotation]
    while pending:
        annotation = pending.pop()
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield annotation
        pending += get_args(annotation)
