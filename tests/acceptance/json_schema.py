"""The part of JSON Schema that our OpenAPI document uses, to hold answers against it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}


def resolved(reference: str, document: Mapping[str, Any]) -> Any:
    """Follow `#/a/b`; KeyError if there is nothing."""
    found: Any = document
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def mismatches(value: Any, schema: Mapping[str, Any], document: Mapping[str, Any], path: str = "$") -> Iterator[str]:
    """Say where a value is not what a schema says."""
    if "$ref" in schema:
        yield from mismatches(value, resolved(schema["$ref"], document), document, path)
        return
    for group in ("anyOf", "oneOf"):
        if group in schema and all(list(mismatches(value, option, document, path)) for option in schema[group]):
            yield f"{path}: {value!r} fits none of {group}"
    if "type" in schema and not _is_a(value, schema["type"]):
        yield f"{path}: {value!r} is not of type {schema['type']}"
        return
    yield from _plain(value, schema, path)
    if isinstance(value, dict):
        yield from _in_object(value, schema, document, path)
    if isinstance(value, list) and "items" in schema:
        for place, item in enumerate(value):
            yield from mismatches(item, schema["items"], document, f"{path}[{place}]")


def _plain(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is none of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        yield f"{path}: {value!r} is not {schema['const']!r}"
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{path}: {value!r} does not match {schema['pattern']}"


def _is_a(value: Any, kind: str) -> bool:
    return isinstance(value, TYPES[kind]) and not (isinstance(value, bool) and kind in {"integer", "number"})


def _in_object(
    value: Mapping[str, Any], schema: Mapping[str, Any], document: Mapping[str, Any], path: str
) -> Iterator[str]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}: {name} is missing"
    for name, item in value.items():
        if name in known:
            yield from mismatches(item, known[name], document, f"{path}.{name}")
        elif others is False:
            yield f"{path}: {name} is not documented"
        elif isinstance(others, Mapping):
            yield from mismatches(item, others, document, f"{path}.{name}")
