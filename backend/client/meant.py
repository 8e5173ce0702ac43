"""Writes what callers give, models, instants and lengths, as the API has it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from backend.client.wire import Json

if TYPE_CHECKING:
    from pydantic import BaseModel

Draft: TypeAlias = "BaseModel | Mapping[str, Any]"
"""One of the server's models, such as `ScheduleDefinition`, or a mapping of the same fields."""
Moment: TypeAlias = str | datetime
"""RFC 3339, or a datetime with a zone."""


def document(draft: Draft) -> Json:
    """Write a model or a mapping as an object."""
    if isinstance(draft, Mapping):
        return written(draft)
    dumped: Json = draft.model_dump(mode="json", by_alias=True)
    return dumped


def written(fields: Mapping[str, Any]) -> Json:
    """Write the instants, lengths and models of an object as the API has them."""
    return {str(name): _value(value) for name, value in fields.items()}


def instant(moment: str | Moment | None) -> str | None:
    """Write an instant; ValueError for a datetime without a zone, which could mean any."""
    if not isinstance(moment, datetime):
        return moment
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone; give one, such as tzinfo=UTC")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def matching(revision: int | None) -> dict[str, str]:
    """Name the revision that a thing must still have."""
    return {} if revision is None else {"If-Match": f'"{revision}"'}


def _value(value: Any) -> Any:  # noqa: ANN401, PLR0911 - JSON
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return written(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_value(one) for one in value]
    if hasattr(value, "model_dump"):
        return document(value)
    return value
