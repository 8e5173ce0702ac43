"""The secrets that definitions refer to. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pydantic import BaseModel

from backend.engine.definition import ScheduleDefinition
from backend.errors import FieldProblem, Refused
from backend.model.secret import references_of
from backend.service.validation import MOST_PROBLEMS, joined


def secrets_of(definitions: Iterable[ScheduleDefinition]) -> list[str]:
    """Name the secrets that definitions refer to, each once."""
    return sorted({name for definition in definitions for _, name in references_of(vars(definition.target))})


def check_secrets(target: BaseModel, known: Collection[str], at: str = "") -> None:
    """Refuse a target that refers to a secret that is not there; each is named with its place."""
    problems = [
        FieldProblem(
            joined(at, where),
            f"there is no secret {name[:80]!r} in this namespace",
            f"put it first, by PUT /api/v1/secrets/{name[:80]}",
        )
        for where, name in references_of(vars(target))
        if name not in known
    ]
    if problems:
        raise Refused(problems[:MOST_PROBLEMS])
