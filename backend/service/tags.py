"""Filters by tag."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from backend.errors import FieldError


def _name_and_value(text: str) -> str:
    name, colon, _ = text.partition(":")
    if not (name and colon):
        raise FieldError(f"{text[:80]!r} is not name:value", 'give a tag such as "team:growth"')
    return text


TagFilter = Annotated[str, Field(max_length=300, description="`name:value`"), AfterValidator(_name_and_value)]
