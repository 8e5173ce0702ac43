"""Which query parameters a route has."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant

from backend.errors import FieldProblem, Refused
from backend.service.validation import MOST_PROBLEMS
from backend.service.wording import nearest


def check_query(request: Request) -> None:
    """Refuse parameters that the route does not have: a misspelt filter would answer more than was asked for."""
    known = sorted(set(_parameters(request.scope["route"].dependant)))
    problems = [
        FieldProblem(name[:80] or "query", "there is no such parameter here", _near_parameter(name, known))
        for name in dict.fromkeys(request.query_params)
        if name not in known
    ]
    if problems:
        raise Refused(problems[:MOST_PROBLEMS])


def _parameters(dependant: Dependant) -> Iterator[str]:
    yield from (str(parameter.alias) for parameter in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _parameters(inner)


def _near_parameter(name: str, known: list[str]) -> str:
    near = nearest(name, known)
    return f"did you mean {near}?" if near else f"give only {', '.join(known)}"
