"""How requests come in: who it is, in which namespace, and the body as a document."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import UnionType
from typing import Annotated, Any, NamedTuple

from fastapi import Depends, Header, Path, Query, Request, Security
from fastapi.dependencies.models import Dependant
from fastapi.security import SecurityScopes
from pydantic import Field

from backend.api.bodies import BATCH_LIMIT, BODY_LIMIT, read_body, read_json
from backend.api.context import Context
from backend.api.queries import WHOLE_NUMBER, check_query
from backend.api.request_ids import request_id_of
from backend.errors import FieldProblem, Forbidden, NotFound, Refused
from backend.model.access import Principal, Scope
from backend.model.ids import DEFAULT_NAMESPACE, NamespaceId
from backend.service.api_keys import Keys, KeyView, key_view
from backend.service.audit_log import AuditLog
from backend.service.backfill import Backfills
from backend.service.calendars import Calendars
from backend.service.drafts import ANY_REVISION, NO_REVISION
from backend.service.egress import Allowances
from backend.service.keys import identify, principal_of
from backend.service.maintenance import Maintenance
from backend.service.namespaces import Namespaces, is_namespace_id
from backend.service.notifications import Notifications
from backend.service.runs import Runs
from backend.service.schedules import Schedules
from backend.service.secrets import Secrets
from backend.service.simulate import Simulations
from backend.service.validation import MOST_PROBLEMS, check_text
from backend.service.wording import kind_of
from backend.store.keys import Arrival
from backend.store.namespaces import no_such_namespace
from backend.store.port import NamespaceStore
from backend.store.repeats import Noting

_ETAG = re.compile(r'(?:W/)?"(\d{1,18})"')


class Caller(NamedTuple):
    """Who asks, and the only namespace the request can touch."""

    principal: Principal
    store: NamespaceStore
    context: Context
    chosen: NamespaceId | None
    """The namespace that the request names; None when it leaves it open."""
    now: int
    """When the request came in, by the database's clock."""

    @property
    def by(self) -> str:
        """Name whoever asks, for what is recorded."""
        return self.principal.by

    @property
    def namespaces(self) -> Namespaces:
        """Give the use cases on namespaces themselves."""
        return Namespaces(self.context.store.namespaces(), self.principal, self.context.around)

    @property
    def keys(self) -> Keys:
        """Give the use cases on keys: of one namespace, or of all when neither key nor request names one."""
        keys = self.context.store.keys(self.principal.namespace or self.chosen)
        return Keys(keys, self.store.store_id, self.principal, self.context.around)

    @property
    def schedules(self) -> Schedules:
        """Give the use cases on schedules."""
        return Schedules(self.store, self.by, self.context.around)

    @property
    def maintenance(self) -> Maintenance:
        """Give the use cases on many schedules at once."""
        return Maintenance(self.schedules)

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
        return Allowances(self.store, self.by, self.context.around, everywhere=self.principal.namespace is None)

    @property
    def secrets(self) -> Secrets:
        """Give the use cases on secrets."""
        return Secrets(self.store, self.by, self.context.around)

    @property
    def audit_log(self) -> AuditLog:
        """Give the audit log: of one namespace, or of all when neither key nor request names one."""
        return AuditLog(self.context.store.audit(self.principal.namespace or self.chosen))

    @property
    def notifications(self) -> Notifications:
        """Give the use cases on notifications."""
        return Notifications(self.store, self.by, self.context.around)

    @property
    def simulations(self) -> Simulations:
        """Give what foresees the load."""
        return Simulations(self.store)

    async def where(self, given: Any) -> Caller:  # noqa: ANN401 - JSON
        """Choose the namespace that a body names, if key and query leave it open; Refused if there is none."""
        named = given.get("namespace") if isinstance(given, dict) else None
        if self.chosen is not None or not isinstance(named, str) or named == DEFAULT_NAMESPACE:
            return self
        check_text(named, "namespace")
        chosen = NamespaceId(named)
        try:
            terms = await self.context.store.namespace(chosen).terms()
        except NotFound as error:
            raise Refused([FieldProblem("namespace", str(error), "create it first, or name another")]) from None
        return self._replace(store=self.context.store.namespace(chosen, terms), chosen=chosen)

    def noting(self, noting: Noting) -> Caller:
        """Let the one write of this request note its answer."""
        context = replace(self.context, store=replace(self.context.store, noting=noting))
        return self._replace(store=replace(self.store, noting=noting), context=context)

    async def own_key(self) -> KeyView:
        """Show the key that asks; its own reach, since the request may have chosen another."""
        own = self.context.store.keys(self.principal.namespace)
        return key_view(await own.get(self.principal.key_id), self.now)


async def principal(request: Request, wanted: SecurityScopes) -> Principal:
    """Find out whose key it is; Unauthorized without one, Forbidden unless it has the scope of the route."""
    context: Context = request.app.state.context
    store = context.store.admin()
    row, arrival = await identify(store, key_of(request), namespace_of(request))
    request.app.state.last_use.note(store, row, arrival.now)
    found = principal_of(row)
    request.state.by, request.state.arrival = found.by, arrival
    limits = "{}" if found.namespace is None else arrival.terms[found.namespace].limits
    request.app.state.rates.admit(found.key_id, found.namespace, limits)
    for scope in map(Scope, wanted.scopes):
        if not found.may(scope):
            raise Forbidden(f"the key {found.key_id!r} lacks the scope {scope.value!r}; ask for a key that has it")
    return found


async def anywhere(found: Annotated[Principal, Depends(principal)]) -> Principal:
    """Insist on a key that belongs to no namespace."""
    if found.namespace is not None:
        raise Forbidden(f"the key {found.key_id!r} belongs to a namespace; ask for one that belongs to none")
    return found


async def caller(
    request: Request,
    principal: Annotated[Principal, Depends(principal)],
    namespace: Annotated[
        str | None, Query(max_length=200, description="For a key that belongs to none; `default` unless given.")
    ] = None,
) -> Caller:
    """Find the namespace that the request is about: the key's own, or the one it chooses."""
    check_query(request)
    context: Context = request.app.state.context
    context = replace(context, store=context.store.signed(principal.by, request_id_of(request)))
    if principal.namespace is not None and namespace not in {None, principal.namespace}:
        raise no_such_namespace(str(namespace))
    chosen = principal.namespace or (None if namespace is None else NamespaceId(namespace))
    check_text(chosen, "namespace")
    arrival: Arrival = request.state.arrival
    about = DEFAULT_NAMESPACE if chosen is None else chosen
    terms = arrival.terms.get(about)
    if terms is None:
        raise no_such_namespace(about)
    store = context.store.namespace(about, terms)
    return Caller(principal, store, context, chosen, arrival.now)


async def caller_anywhere(
    found: Annotated[Caller, Depends(caller)], _: Annotated[Principal, Depends(anywhere)]
) -> Caller:
    """Insist on a caller whose key belongs to no namespace."""
    return found


# Each route says by one of these which scope it takes; a test fails without.
Reads = Annotated[Caller, Security(caller, scopes=[Scope.READ])]
Writes = Annotated[Caller, Security(caller, scopes=[Scope.WRITE])]
Triggers = Annotated[Caller, Security(caller, scopes=[Scope.TRIGGER])]
Administers = Annotated[Caller, Security(caller, scopes=[Scope.ADMIN])]
ReadsAll = Annotated[Caller, Security(caller_anywhere, scopes=[Scope.READ])]
AdministersAll = Annotated[Caller, Security(caller_anywhere, scopes=[Scope.ADMIN])]
Known = Annotated[Caller, Security(caller, scopes=[])]
"""Whoever has a key: only for what it says about itself."""


def scopes_of(dependant: Dependant) -> Iterator[str]:
    """List the scopes that a route takes."""
    for inner in dependant.dependencies:
        yield from inner.own_oauth_scopes or ()
        yield from scopes_of(inner)


def namespace_of(request: Request) -> str | None:
    """Read the namespace that the query names; None for what is no id of any."""
    named = request.query_params.get("namespace", "")
    return named if is_namespace_id(named) else None


def key_of(request: Request) -> str | None:
    """Read the key that was sent; None without one, and when two headers do not name the same."""
    named = [request.headers["x-api-key"].strip()] if "x-api-key" in request.headers else []
    scheme, _, key = request.headers.get("authorization", "basic").partition(" ")
    if scheme.lower() != "basic":  # that is for a proxy before us
        named.append(key.strip() if scheme.lower() == "bearer" else "")
    return named[0] or None if len(set(named)) == 1 else None


ABSENT = object()
"""Stands for a body that was not sent; `null` is one that was."""


async def document(request: Request) -> Any:  # noqa: ANN401 - JSON
    """Read the body as JSON, `ABSENT` when there is none; Malformed, Refused or TooLarge if it cannot be read."""
    is_batch = request.method == "POST" and request.url.path.endswith(("/schedules/batch", "/simulate"))
    raw = await read_body(request, BATCH_LIMIT if is_batch else BODY_LIMIT)
    return ABSENT if not raw.strip() else await read_json(raw)


Document = Annotated[Any, Depends(document)]


def some(given: Any) -> object:  # noqa: ANN401 - JSON
    """Insist on an object as the body."""
    if given is ABSENT:
        raise Refused([FieldProblem("body", "it is empty", "send a JSON object")])
    if not isinstance(given, dict):
        raise Refused([FieldProblem("body", f"it is {kind_of(given)}", "send a JSON object")])
    return given


def fields(given: object, **allowed: type | UnionType) -> dict[str, Any]:
    """Check a small body: an object with no other than the allowed fields, of their types; absent ones are left out."""
    if given is ABSENT:
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
        if name in given and not isinstance(given[name], kind)
    ]
    if problems:
        raise Refused(problems[:MOST_PROBLEMS])
    return given


_ARTICLES: Mapping[type | UnionType, str] = {
    str: "a text",
    str | None: "a text or null",
    bool: "true or false",
    dict: "an object",
    list: "a list",
}


async def if_match(
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


async def put_match(
    revision: IfMatch,
    if_none_match: Annotated[
        str | None,
        Header(description="`*`: only create, never replace; else 412."),
    ] = None,
) -> int | None:
    """Read what a PUT insists on: a revision, or that there is none yet."""
    if if_none_match is None:
        return revision
    if if_none_match.strip() != "*":
        rule = f"{if_none_match[:50]!r} is not `*`"
        raise Refused([FieldProblem("If-None-Match", rule, "give * to create only, or If-Match to replace a version")])
    if revision is not None:
        raise Refused([FieldProblem("If-None-Match", "it contradicts If-Match", "give one of them")])
    return NO_REVISION


PutMatch = Annotated[int | None, Depends(put_match)]
Limit = Annotated[int, Field(ge=1, le=500), WHOLE_NUMBER, Query(description="Items per page.")]
ScheduleId = Annotated[str, Path(description="The id of a schedule.")]
RunId = Annotated[str, Path(description="The id of a run.")]
Cursor = Annotated[str | None, Query(max_length=500, description="`next_cursor` of the page before.")]


def etag(view: dict[str, Any]) -> dict[str, str]:
    """Name the version of a schedule."""
    return {"ETag": f'"{view["revision"]}"'}
