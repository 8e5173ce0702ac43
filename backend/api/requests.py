"""How requests come in: who it is, in which namespace, and the body as a document."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import orjson
from fastapi import Depends, Header, Path, Query, Request
from fastapi.dependencies.models import Dependant
from starlette.exceptions import HTTPException

from backend.api.context import Context
from backend.errors import FieldProblem, Refused, TooLarge, Unauthorized
from backend.model.ids import DEFAULT_NAMESPACE, NamespaceId
from backend.service.backfill import Backfills
from backend.service.calendars import Calendars
from backend.service.drafts import ANY_REVISION
from backend.service.egress import Allowances
from backend.service.keys import hash_of
from backend.service.runs import Runs
from backend.service.schedules import Schedules
from backend.service.secrets import Secrets
from backend.service.simulate import Simulations
from backend.service.validation import MOST_PROBLEMS
from backend.service.wording import kind_of, nearest
from backend.store.port import NamespaceStore

MIB = 1024 * 1024
BODY_LIMIT = MIB
BATCH_LIMIT = 32 * MIB
LARGE = 256 * 1024
_ETAG = re.compile(r'(?:W/)?"(\d{1,18})"')


class Caller(NamedTuple):
    """Who asks, and the only namespace the request can touch."""

    by: str
    store: NamespaceStore
    context: Context

    @property
    def schedules(self) -> Schedules:
        """Give the use cases on schedules."""
        return Schedules(self.store, self.by, self.context.around)

    @property
    def runs(self) -> Runs:
        """Give the use cases on runs."""
        return Runs(self.store, self.by, self.context.around)

    @property
    def backfills(self) -> Backfills:
        """Give the use cases on backfills."""
        return Backfills(self.store, self.by, self.context.around)

    @property
    def calendars(self) -> Calendars:
        """Give the use cases on named calendars."""
        return Calendars(self.store, self.by, self.context.around)

    @property
    def allowances(self) -> Allowances:
        """Give the use cases on the hosts that may be called."""
        return Allowances(self.store, self.by, self.context.around, everywhere=True)

    @property
    def secrets(self) -> Secrets:
        """Give the use cases on secrets."""
        return Secrets(self.store, self.by, self.context.around)

    @property
    def simulations(self) -> Simulations:
        """Give what foresees the load."""
        return Simulations(self.store)

    async def now(self) -> int:
        """Read the database's clock."""
        return await self.context.store.admin().now()


async def caller(
    request: Request,
    namespace: Annotated[str, Query(max_length=200, description="Only `default` so far.")] = DEFAULT_NAMESPACE,
) -> Caller:
    """Find out whose key it is; Unauthorized without one."""
    context: Context = request.app.state.context
    key = _key_of(request)
    principal = await context.store.admin().principal(hash_of(key)) if key else None
    if principal is None:
        text = "the key is not known" if key else "there is no key; send Authorization: Bearer KEY or X-API-Key: KEY"
        raise Unauthorized(text)
    _check_query(request)
    if namespace != DEFAULT_NAMESPACE:
        rule = f"there is no namespace {namespace!r}"
        raise Refused([FieldProblem("namespace", rule, f"use {DEFAULT_NAMESPACE!r}")])
    return Caller(f"key:{principal.key_id}", context.store.namespace(NamespaceId(namespace)), context)


Reads = Annotated[Caller, Depends(caller)]
Administers = Annotated[Caller, Depends(caller)]


def _check_query(request: Request) -> None:
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


Authenticated = Annotated[Caller, Depends(caller)]


def _key_of(request: Request) -> str | None:
    given = request.headers.get("x-api-key")
    if given:
        return given.strip()
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None


ABSENT = object()
"""Stands for a body that was not sent; `null` is one that was."""


async def document(request: Request) -> Any:  # noqa: ANN401 - JSON
    """Read the body as JSON, `ABSENT` when there is none; 400 when it is no JSON, TooLarge over its limit."""
    is_batch = request.method == "POST" and request.url.path.endswith(("/schedules/batch", "/simulate"))
    raw = await read_body(request, BATCH_LIMIT if is_batch else BODY_LIMIT)
    if not raw.strip():
        return ABSENT
    try:
        # Megabytes of JSON take a tenth of a second, in which the event loop has schedules to fire.
        return await asyncio.to_thread(orjson.loads, raw) if len(raw) > LARGE else orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise HTTPException(400, f"the body is not valid JSON in UTF-8: {error}") from error


async def read_body(request: Request, limit: int) -> bytes:
    """Read the body's bytes; TooLarge over the limit."""
    # One that says so is refused before its bytes are read; of one that does not, no more is read than the limit.
    declared = request.headers.get("content-length", "")
    pieces, size = [], int(declared) if declared.isdecimal() and len(declared) < 20 else 0
    _check_size(size, limit)
    size = 0
    async for piece in request.stream():
        size += len(piece)
        _check_size(size, limit)
        pieces.append(piece)
    return b"".join(pieces)


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        rule = f"the body is larger than {limit // MIB} MiB"
        raise TooLarge([FieldProblem("body", rule, "send less, or several requests")])


Document = Annotated[Any, Depends(document)]


def some(given: Any) -> object:  # noqa: ANN401 - JSON
    """Insist on an object as the body."""
    if given is ABSENT:
        raise Refused([FieldProblem("body", "it is empty", "send a JSON object")])
    if not isinstance(given, dict):
        raise Refused([FieldProblem("body", f"it is {kind_of(given)}", "send a JSON object")])
    return given


def fields(given: object, **allowed: type) -> dict[str, Any]:
    """Check a small body: an object with no other than the allowed fields, of their types; absent ones are left out."""
    if given is ABSENT or given is None:
        return {}
    if not isinstance(given, dict):
        raise Refused([FieldProblem("body", f"it is {kind_of(given)}", "send a JSON object, or no body")])
    problems = [
        FieldProblem(name or "body", "there is no such field", f"give only {', '.join(allowed)}")
        for name in given
        if name not in allowed
    ]
    problems += [
        FieldProblem(name, f"it is {kind_of(given[name])}", f"give {_ARTICLES[kind]}")
        for name, kind in allowed.items()
        if given.get(name) is not None and not isinstance(given[name], kind)
    ]
    if problems:
        raise Refused(problems[:MOST_PROBLEMS])
    return {name: value for name, value in given.items() if value is not None}


_ARTICLES = {str: "a text", bool: "true or false", dict: "an object", list: "a list"}


def if_match(
    if_match: Annotated[
        str | None,
        Header(description="An ETag, or `*` for any; else 412."),
    ] = None,
) -> int | None:
    """Read the revision that a write insists on."""
    if if_match is None:
        return None
    if if_match.strip() == "*":
        return ANY_REVISION
    found = _ETAG.fullmatch(if_match.strip())
    if found is None:
        raise Refused([FieldProblem("If-Match", f"{if_match[:50]!r} is not an ETag of a schedule", 'give e.g. "3"')])
    return int(found[1])


IfMatch = Annotated[int | None, Depends(if_match)]
Limit = Annotated[int, Query(ge=1, le=500, description="Items per page.")]
ScheduleId = Annotated[str, Path(description="The id of a schedule.")]
RunId = Annotated[str, Path(description="The id of a run.")]
Cursor = Annotated[str | None, Query(max_length=500, description="`next_cursor` of the page before.")]


def etag(view: dict[str, Any]) -> dict[str, str]:
    """Name the version of a schedule."""
    return {"ETag": f'"{view["revision"]}"'}
