"""Use cases on keys: who may come in, to which namespace, to do what, and until when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from backend.duration import Duration
from backend.errors import FieldError, FieldProblem, Forbidden, NotFound, Refused
from backend.events import KeyChanged
from backend.model.access import Principal, Scope, read_scopes, write_scopes
from backend.model.ids import NamespaceId
from backend.model.instants import micros, rfc3339, rfc3339_or_none
from backend.service.cursors import read_cursor, write_cursor
from backend.service.keys import hash_of, new_key
from backend.service.schedules import Surroundings
from backend.service.validation import parse
from backend.service.views import View
from backend.store.keys import KeyRow, KeyStore, NewKey, Successor
from backend.store.repeats import shown
from backend.triggers.base import Instant

LONGEST_OVERLAP = timedelta(days=30)


class KeyState(StrEnum):
    """Whether a key lets anybody in."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


def _printable(text: str) -> str:
    if not text.isprintable():
        raise FieldError("it holds a control character", "leave that out")
    return text


class KeyBody(BaseModel):
    """A key that is to be made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: Annotated[str, Field(max_length=200)] | None = Field(
        default=None, description="The only one that the key reaches; null: all. When absent, that of the request."
    )
    name: Annotated[str, Field(max_length=200), AfterValidator(_printable)] = Field(
        default="", description="For people: who uses it."
    )
    scopes: tuple[Scope, ...] = Field(min_length=1, max_length=len(Scope))
    expires_at: Instant | None = Field(default=None, description="When it stops working; never, if null.")


class RotateBody(BaseModel):
    """How long the old key goes on working beside the new one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    overlap: Annotated[Duration, Field(le=LONGEST_OVERLAP)] = timedelta(hours=1)


class KeyView(View):
    """A key, without its text."""

    id: str
    namespace: str | None = Field(description="The only one that the key reaches; null: all.")
    name: str
    scopes: list[Scope]
    state: KeyState
    created_at: str
    created_by: str
    expires_at: str | None
    last_used_at: str | None = Field(description="To the minute.")
    revoked_at: str | None
    successor: str | None = Field(description="Id of the key that was made in its place.")


class NewKeyView(KeyView):
    """A key that has just been made."""

    key: str = Field(description="Its text, shown this once.")


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys within somebody's reach."""

    store: KeyStore
    store_id: str
    principal: Principal
    around: Surroundings

    async def create(self, document: object, now: int) -> NewKeyView:
        """Make a key that may do no more than whoever asks."""
        body = parse(KeyBody, document)
        _check_expiry(body, now)
        namespace = self._namespace_of(body)
        id_, text = new_key()
        hash_, scopes = hash_of(text, self.store_id), write_scopes(frozenset(body.scopes))
        wanted = NewKey(id_, namespace, body.name, hash_, scopes, self.principal.by, body.expires_at)
        try:
            row = await self.store.create(wanted, shown(lambda row: _with_text(row, now, text)))
        except NotFound as error:
            raise Refused([FieldProblem("namespace", str(error), "create it first")]) from None
        self._tell(row, "created")
        return _with_text(row, now, text)

    def _namespace_of(self, body: KeyBody) -> NamespaceId | None:
        """Say what the new key reaches: nothing that whoever asks does not."""
        given = None if body.namespace is None else NamespaceId(body.namespace)
        own = self.principal.namespace
        if "namespace" not in body.model_fields_set:
            if self.store.reach is None:
                raise Refused([FieldProblem("namespace", "it is absent", "name one, or give null for a key to all")])
            return self.store.reach
        if own is not None and given != own:
            raise Forbidden(f"a key of the namespace {own!r} can make keys of that alone")
        return given

    async def get(self, id_: str, now: int) -> KeyView:
        """Show one key, or raise NotFound."""
        return key_view(await self.store.get(id_), now)

    async def page(self, *, cursor: str | None, limit: int) -> tuple[list[KeyView], str | None]:
        """Show one page by id, and the cursor of the next."""
        place = read_cursor(cursor, str)
        now, found = await self.store.page(after=str(place[0]) if place else "", limit=limit + 1)
        page = found[:limit]
        return [key_view(row, now) for row in page], write_cursor(page[-1].id) if len(found) > limit else None

    async def revoke(self, id_: str) -> None:
        """Let a key in no more."""
        row = await self.store.get(id_)
        if await self.store.revoke(id_):
            self._tell(row, "revoked")

    async def rotate(self, id_: str, document: object, now: int) -> NewKeyView:
        """Make a key that takes another's place; the old one expires after the overlap."""
        overlap = parse(RotateBody, document).overlap
        new_id, text = new_key()
        successor = Successor(new_id, hash_of(text, self.store_id), self.principal.by, micros(overlap))
        row = await self.store.rotate(id_, successor, shown(lambda row: _with_text(row, now, text)))
        self._tell(row, "rotated")
        return _with_text(row, now, text)

    def _tell(self, row: KeyRow, verb: str) -> None:
        self.around.events.emit(KeyChanged(row.namespace, row.id, verb, self.principal.by))


def _check_expiry(body: KeyBody, now: int) -> None:
    if body.expires_at is not None and body.expires_at <= now:
        rule = f"{rfc3339(body.expires_at)} is past"
        raise Refused(
            [FieldProblem("expires_at", rule, "give a later instant, or null for a key that does not expire")]
        )


def key_view(row: KeyRow, now: int) -> KeyView:
    """Show a key as it is now."""
    return KeyView(
        id=row.id,
        namespace=row.namespace,
        name=row.name,
        scopes=_listed(row.scopes),
        state=_state(row, now),
        created_at=rfc3339(row.created_at),
        created_by=row.created_by,
        expires_at=rfc3339_or_none(row.expires_at),
        last_used_at=rfc3339_or_none(row.last_used_at),
        revoked_at=rfc3339_or_none(row.revoked_at),
        successor=row.successor,
    )


def _with_text(row: KeyRow, now: int, text: str) -> NewKeyView:
    return NewKeyView(**key_view(row, now).model_dump(), key=text)


def _listed(scopes: str) -> list[Scope]:
    held = read_scopes(scopes)
    return [scope for scope in Scope if scope in held]


def _state(row: KeyRow, now: int) -> KeyState:
    if row.revoked_at is not None:
        return KeyState.REVOKED
    return KeyState.ACTIVE if row.in_force(now) else KeyState.EXPIRED
