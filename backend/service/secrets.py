"""Use cases on secrets: values that are kept encrypted, and that nobody is shown again."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from backend.errors import FieldProblem, Refused
from backend.events import SecretChanged
from backend.model.instants import rfc3339
from backend.model.secret import is_name
from backend.service.cursors import read_cursor, write_cursor
from backend.service.schedules import Surroundings
from backend.service.validation import check_text
from backend.service.views import View
from backend.store.port import NamespaceStore
from backend.store.secrets import NewValue, SecretRow

LARGEST = 64 * 1024
"""Bytes of a value."""


class SecretBody(BaseModel):
    """The value of a secret. Messages about it never quote it."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    value: str = Field(min_length=1, max_length=LARGEST, repr=False, json_schema_extra={"writeOnly": True})


class SecretView(View):
    """What is told of a secret: everything but its value."""

    name: str
    key_id: str = Field(description="The key that encrypts it, of SCHEDULER_SECRET_KEYS.")
    created_at: str
    created_by: str
    updated_at: str
    updated_by: str


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secrets of one namespace, changed in somebody's name."""

    store: NamespaceStore
    by: str
    around: Surroundings

    async def put(self, name: str, value: str | None) -> tuple[SecretView, bool]:
        """Make or replace a secret; answers whether it is new. Runs that begin from now on get the new value."""
        checked = checked_value(checked_name(name), value)
        ring, namespace = self.around.ring, self.store.namespace
        wanted = NewValue(name, ring.seal(checked, namespace, name), ring.first, self.by)
        row, created = await self.store.secrets().put(wanted)
        self._tell(name, "created" if created else "updated")
        return _view(row), created

    async def page(self, *, cursor: str | None, limit: int) -> tuple[list[SecretView], str | None]:
        """Show one page by name, without values, and the cursor of the next."""
        place = read_cursor(cursor, str)
        found = await self.store.secrets().page(after=str(place[0]) if place else "", limit=limit + 1)
        page = found[:limit]
        return [_view(row) for row in page], write_cursor(page[-1].name) if len(found) > limit else None

    async def delete(self, name: str) -> None:
        """Delete a secret; Conflict while schedules use it."""
        await self.store.secrets().delete(name)
        self._tell(name, "deleted")

    def _tell(self, name: str, change: str) -> None:
        self.around.events.emit(SecretChanged(self.store.namespace, name, change, self.by))


def checked_name(name: str) -> str:
    """Accept a name; Refused says what one looks like."""
    if not is_name(name):
        rule = "a name has up to 200 letters, digits and . _ - , and begins with a letter or digit"
        raise Refused([FieldProblem("name", rule, 'choose one such as "api-token"')])
    return name


def checked_value(name: str, value: str | None) -> str:
    """Accept a text that can be stored and sent; messages name the secret alone."""
    if not value:
        raise Refused([FieldProblem("value", f"the value of {name!r} is missing", 'send {"value": "…"}')])
    check_text(value, "value")
    if len(value.encode()) > LARGEST:
        raise Refused([FieldProblem("value", f"the value is larger than {LARGEST // 1024} KiB", "give a shorter one")])
    return value


def _view(row: SecretRow) -> SecretView:
    return SecretView(
        name=row.name,
        key_id=row.key_id,
        created_at=rfc3339(row.created_at),
        created_by=row.created_by,
        updated_at=rfc3339(row.updated_at),
        updated_by=row.updated_by,
    )
