"""Which query parameters and conditions a route has, and how numbers and flags are written there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant
from pydantic import BeforeValidator

from backend.duration import shown
from backend.errors import FieldError, FieldProblem, Refused
from backend.service.validation import MOST_PROBLEMS
from backend.service.wording import nearest

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
CONDITIONS = ("If-Match", "If-None-Match")


def _written(pattern: str, what: str) -> BeforeValidator:
    """Take what JSON has only: left to itself, pydantic reads `1_000` as a number and `yes` as a flag."""

    def check(value: object) -> object:
        if isinstance(value, str) and re.fullmatch(pattern, value) is None:
            raise FieldError(f"{shown(value)} is not {what}", f"give {what}")
        return value

    return BeforeValidator(check)


WHOLE_NUMBER = _written(r"-?(0|[1-9][0-9]*)(\.0+)?", "a whole number")
"""Stands behind the bounds of an `int`: before them, the OpenAPI document would not have them as such."""
FLAG = _written("true|false", "true or false")


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
