"""How callees come in: by the token of their run, or by a key."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Query, Request, Security
from fastapi.security import SecurityScopes

from backend.api.context import Context
from backend.api.queries import check_query
from backend.api.requests import RunId, caller, principal
from backend.model.access import Scope
from backend.model.ids import NamespaceId
from backend.service.callbacks import Callbacks, owner_of


async def callee(
    request: Request,
    wanted: SecurityScopes,
    id: RunId,  # noqa: A002 - as in the path
    token: Annotated[
        str | None,
        Header(alias="X-Callback-Token", max_length=200, description="That of the run; then no key is needed."),
    ] = None,
    namespace: Annotated[
        str | None, Query(max_length=200, description="For a key that belongs to none; `default` unless given.")
    ] = None,
) -> Callbacks:
    """Let in whoever has the token of the run, in its namespace; else whoever has a key, in that of the key."""
    context: Context = request.app.state.context
    if token is None:
        found = await caller(request, await principal(request, wanted), namespace)
        return Callbacks(found.store, context.around, None)
    check_query(request)
    owner, hash_ = await owner_of(context.store.admin(), token, id)
    request.state.by = f"run:{owner.run_id}"
    return Callbacks(context.store.namespace(NamespaceId(owner.namespace)), context.around, hash_)


Calls = Annotated[Callbacks, Security(callee, scopes=[Scope.TRIGGER])]
