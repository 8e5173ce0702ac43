"""The secrets that definitions refer to. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from pydantic import BaseModel

from backend.engine.definition import ScheduleDefinition
from backend.errors import FieldProblem, Refused
from backend.model.secret import NAMED, WHOLE, references_of
from backend.service.validation import MOST_PROBLEMS, joined

REFERRING = frozenset((*NAMED, *WHOLE))


def secrets_of(definitions: Iterable[ScheduleDefinition]) -> list[str]:
    """Name the secrets that definitions refer to, each once."""
    return sorted({name for definition in definitions for _, name in references_of(_document(definition.target))})


def check_secrets(target: BaseModel, known: Collection[str], at: str = "") -> None:
    """Refuse a target that refers to a secret that is not there; each is named with its place."""
    problems = [
        FieldProblem(
            joined(at, where),
            f"there is no secret {name[:80]!r} in this namespace",
            f"put it first, by PUT /api/v1/secrets/{name[:80]}",
        )
        for where, name in references_of(_document(target))
        if name not in known
    ]
    if problems:
        raise Refused(problems[:MOST_PROBLEMS])


def _document(target: BaseModel) -> dict[str, Any]:
    """Write as JSON what of a target may refer to secrets."""
    values = vars(target)
    filled = {field for field in REFERRING if values.get(field)}
    return target.model_dump(mode="json", include=filled) if filled else {}
