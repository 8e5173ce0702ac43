"""Use cases on the audit log: who changed what, when, and by which request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import Field

from backend.model.instants import rfc3339
from backend.service.cursors import read_cursor, write_cursor
from backend.service.views import View
from backend.service.wording import check_known
from backend.store.audit_log import AuditFilter, AuditPlace, AuditRow, AuditStore

_MADE = ("created", "updated", "deleted")
VERBS: Mapping[str, Sequence[str]] = {
    "schedule": (*_MADE, "moved", "paused", "resumed", "backfilled"),
    "run": ("triggered", "retried", "cancelled"),
    "calendar": _MADE,
    "namespace": _MADE,
    "notification": (*_MADE, "tested"),
    "secret": _MADE,
    "egress": ("updated",),
    "key": ("created", "rotated", "revoked", "adopted"),
}
"""What is done to each kind of thing."""
AT_ONCE = 500
"""Lines that are read at a time for an export."""


def check_filter(wanted: AuditFilter) -> None:
    """Refuse a kind that no line has, and a verb that no line of the kind has."""
    check_known("kind", wanted.kind, tuple(VERBS))
    verbs = [verb for kind, verbs in VERBS.items() if wanted.kind in {None, kind} for verb in verbs]
    check_known("verb", wanted.verb, tuple(dict.fromkeys(verbs)))


class ChangeView(View):
    """One change. What may be a secret is shown as `***`."""

    at: str
    namespace: str | None = Field(description="Null for what belongs to none.")
    by: str = Field(description="`key:ID`, `scheduler` for the server itself, `calendar:ID` for a calendar's new days.")
    request_id: str = Field(description="`X-Request-Id` of the request; empty where nobody asked.")
    verb: str
    kind: str
    id: str
    before: dict[str, Any] | None = Field(description="Of a change only what differs.")
    after: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class AuditLog:
    """The log within somebody's reach."""

    store: AuditStore

    async def page(self, wanted: AuditFilter, *, cursor: str | None, limit: int) -> tuple[list[ChangeView], str | None]:
        """Show one page, newest first, and the cursor of the next."""
        place = read_cursor(cursor, int, int)
        after = AuditPlace(int(place[0]), int(place[1])) if place else None
        found = await self.store.page(wanted, after=after, limit=limit + 1)
        last = found[limit - 1] if len(found) > limit else None
        return list(map(_view, found[:limit])), write_cursor(last.changed_at, last.key) if last else None

    async def lines(self, wanted: AuditFilter) -> AsyncIterator[bytes]:
        """Give all as lines of JSON, newest first."""
        after: AuditPlace | None = None
        while found := await self.store.page(wanted, after=after, limit=AT_ONCE):
            yield b"".join(orjson.dumps(_view(row).model_dump()) + b"\n" for row in found)
            after = AuditPlace(found[-1].changed_at, found[-1].key)


def _view(row: AuditRow) -> ChangeView:
    return ChangeView(
        at=rfc3339(row.changed_at),
        namespace=row.namespace,
        by=row.changed_by,
        request_id=row.request_id,
        verb=row.verb,
        kind=row.kind,
        id=row.object_id,
        before=None if row.was is None else orjson.loads(row.was),
        after=None if row.became is None else orjson.loads(row.became),
    )
