"""Use cases on namespaces themselves: the tenants of a server, and what holds for all that is in one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from backend.errors import FieldProblem, Forbidden, Refused
from backend.events import NamespaceChanged
from backend.model.access import Principal
from backend.model.ids import NamespaceId
from backend.model.instants import rfc3339
from backend.model.limits import NO_LIMITS, NamespaceLimits, loosened
from backend.service.cursors import read_cursor, write_cursor
from backend.service.schedules import Surroundings
from backend.service.validation import check_text, parse
from backend.service.views import View
from backend.store.namespaces import NamespaceRow, NamespacesStore, no_such_namespace
from backend.store.repeats import shown
from backend.triggers.zones import timeline

ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


def is_namespace_id(text: str) -> bool:
    """Tell whether a namespace could be called so."""
    return re.fullmatch(ID, text) is not None


def _known(name: str) -> str:
    timeline(name)
    return name


Timezone = Annotated[
    str,
    Field(description="IANA name; of triggers and exclusions that name none.", examples=["Europe/London"]),
    AfterValidator(_known),
]
Id = Annotated[str, Field(pattern=ID, description="Up to 100 letters, digits and . _ - , beginning with the former.")]


class NamespaceBody(BaseModel):
    """A namespace that is to be made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Id
    timezone: Timezone = "UTC"
    limits: NamespaceLimits = NO_LIMITS


class NamespacePatch(BaseModel):
    """What is to hold for a namespace: what is left out stays, a limit that is null is lifted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timezone: Timezone = "UTC"
    limits: NamespaceLimits | None = Field(default_factory=NamespaceLimits, description="null lifts them all.")


class NamespaceView(View):
    """A namespace, and what holds for all that is in it."""

    id: str
    timezone: str
    limits: NamespaceLimits
    created_at: str


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The namespaces, as far as somebody may know of them."""

    store: NamespacesStore
    principal: Principal
    around: Surroundings

    async def create(self, document: object) -> NamespaceView:
        """Make a namespace; Conflict when it exists."""
        body = parse(NamespaceBody, document)
        limits = body.limits.model_dump_json()
        row = await self.store.create(NamespaceId(body.id), body.timezone, limits, shown(_view))
        self._tell(row.id, "created")
        return _view(row)

    async def get(self, id_: str) -> NamespaceView:
        """Show one namespace, or raise NotFound."""
        self._check_reach(id_)
        return _view(await self.store.get(id_))

    async def page(self, *, cursor: str | None, limit: int) -> tuple[list[NamespaceView], str | None]:
        """Show one page by id, and the cursor of the next; whoever belongs to a namespace sees that alone."""
        place = read_cursor(cursor, str)
        if self.principal.namespace is not None:
            return [await self.get(self.principal.namespace)], None
        found = await self.store.page(after=str(place[0]) if place else "", limit=limit + 1)
        page = found[:limit]
        return list(map(_view, page)), write_cursor(page[-1].id) if len(found) > limit else None

    async def patch(self, id_: str, patch: object) -> NamespaceView:
        """Change what holds for a namespace. Whoever belongs to it may narrow its limits, not widen them."""
        self._check_reach(id_)
        check_text(patch)
        row = await self.store.change(id_, lambda row: self._patched(row, patch))
        self._tell(id_, "updated")
        return _view(row)

    def _patched(self, row: NamespaceRow, patch: object) -> NamespaceRow:
        limits = _limits(row)
        given = patch if isinstance(patch, dict) else {}
        body = parse(NamespacePatch, _merged({"timezone": row.timezone, "limits": limits.model_dump()}, given))
        wanted = body.limits or NO_LIMITS
        wider = loosened(limits, wanted)
        if wider and self.principal.namespace is not None:
            raise Forbidden(f"only a key that belongs to no namespace may widen the limits {', '.join(wider)}")
        return row._replace(timezone=body.timezone, limits=wanted.model_dump_json())

    async def delete(self, id_: str) -> None:
        """Forget a namespace; Conflict unless it is empty."""
        await self.store.delete(id_)
        self._tell(id_, "deleted")

    def _check_reach(self, id_: str) -> None:
        if self.principal.namespace not in {None, id_}:
            raise no_such_namespace(id_)

    def _tell(self, namespace: str, verb: str) -> None:
        self.around.events.emit(NamespaceChanged(namespace, verb, self.principal.by))


def _merged(current: dict[str, object], patch: dict[str, object]) -> dict[str, object]:
    """Apply a merge patch (RFC 7396) to a document of two levels."""
    if patch.get("timezone", "") is None:
        raise Refused([FieldProblem("timezone", "it is null", 'name a zone such as "UTC"')])
    limits, changed = current["limits"], patch.get("limits")
    if isinstance(limits, dict) and isinstance(changed, dict):
        return {**current, **patch, "limits": {**limits, **changed}}
    return {**current, **patch}


def _limits(row: NamespaceRow) -> NamespaceLimits:
    return NamespaceLimits.model_validate_json(row.limits)


def _view(row: NamespaceRow) -> NamespaceView:
    return NamespaceView(id=row.id, timezone=row.timezone, limits=_limits(row), created_at=rfc3339(row.created_at))
