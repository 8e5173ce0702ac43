"""Which query parameters and conditions a route has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant

from backend.errors import FieldProblem, Refused
from backend.service.validation import MOST_PROBLEMS
from backend.service.wording import nearest

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
CONDITIONS = ("If-Match", "If-None-Match")


def check_query(request: Request) -> None:
    """Refuse parameters that the route does not have: a misspelt filter would answer more than was asked for.

    The same holds for one that stands twice, of which one would count in silence, and for conditions on versions that
    the route does not look at.
    """
    dependant = request.scope["route"].dependant
    known = sorted(set(_names(dependant, "query_params")))
    problems = [
        FieldProblem(name[:80] or "query", "there is no such parameter here", _near_parameter(name, known))
        if name not in known
        else FieldProblem(name, "the parameter stands twice", "give it once")
        for name, times in Counter(name for name, _ in request.query_params.multi_items()).items()
        if name not in known or times > 1
    ]
    conditions = () if request.method in SAFE else [name for name in CONDITIONS if name.lower() in request.headers]
    if conditions:
        looked_at = set(_names(dependant, "header_params"))
        problems += [
            FieldProblem(name, "nothing looks at it here", "leave it out: it is for writes of one schedule")
            for name in conditions
            if name.lower() not in looked_at
        ]
    if problems:
        raise Refused(problems[:MOST_PROBLEMS])


def _names(dependant: Dependant, kind: str) -> Iterator[str]:
    yield from (str(parameter.alias) for parameter in getattr(dependant, kind))
    for inner in dependant.dependencies:
        yield from _names(inner, kind)


def _near_parameter(name: str, known: list[str]) -> str:
    near = nearest(name, known)
    return f"did you mean {near}?" if near else f"give only {', '.join(known)}"
