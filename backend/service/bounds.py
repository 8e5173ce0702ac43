"""Refuses documents with far more parts than a model has room for, before each part is looked at.

To tell what is wrong with one item takes a kilobyte and some microseconds, and of a list that is too long each is told:
a body of one megabyte would take a gigabyte. A check of the whole cannot be ended early, so this one goes first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from pydantic import BaseModel

Schema = Mapping[str, Any]
MOST_UNKNOWN = 100
"""Fields beyond those that there are, each of which is told by its name."""


class Beyond(NamedTuple):
    """A list or object that has too much in it."""

    location: tuple[int | str, ...]
    rule: str
    fix: str


def beyond_bounds(model: type[BaseModel], document: object) -> Iterator[Beyond]:
    """Find the lists and objects of a document that have more in them than the model's JSON Schema has room for."""
    whole = _schema_of(model)
    return _beyond(document, [whole], whole.get("$defs", {}), ())


@cache
def _schema_of(model: type[BaseModel]) -> Schema:
    return model.model_json_schema()


def _beyond(
    value: object, schemas: Sequence[Schema], definitions: Schema, at: tuple[int | str, ...]
) -> Iterator[Beyond]:
    if isinstance(value, list):
        lists = [form for form in _forms(schemas, definitions) if form.get("type") == "array"]
        most = max((form.get("maxItems", math.inf) for form in lists), default=math.inf)
        if len(value) > most:
            yield Beyond(at, f"it has {len(value)} items", f"give at most {most}")
        elif most < math.inf:
            inside = [form.get("items", {}) for form in lists]
            for place, item in enumerate(value):
                yield from _beyond(item, inside, definitions, (*at, place))
    elif isinstance(value, dict):
        objects = [form for form in _forms(schemas, definitions) if form.get("type") == "object"]
        most = max(map(_most_fields, objects), default=math.inf)
        if len(value) > most:
            yield Beyond(at, f"it has {len(value)} fields", f"give at most {most}")
        elif most < math.inf:
            for name, part in value.items():
                inside = [form["properties"][name] for form in objects if name in form.get("properties", ())]
                yield from _beyond(part, inside, definitions, (*at, name))


def _forms(schemas: Sequence[Schema], definitions: Schema) -> Iterator[Schema]:
    """Give every form that a value may have."""
    for schema in schemas:
        if "$ref" in schema:
            yield from _forms([definitions[schema["$ref"].rpartition("/")[2]]], definitions)
        elif "anyOf" in schema or "oneOf" in schema:
            yield from _forms(schema.get("anyOf", ()) or schema["oneOf"], definitions)
        else:
            yield schema


def _most_fields(form: Schema) -> float:
    if "maxProperties" in form:
        return int(form["maxProperties"])
    return math.inf if form.get("additionalProperties", True) else len(form["properties"]) + MOST_UNKNOWN
