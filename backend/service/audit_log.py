"""Use cases on the audit log: who changed what, when, and by which request."""

from __future__ import annotations

import asyncio
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
MOST_LINES = 500
"""Of a page of an export."""


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
        """Show one page, newest first, which may end early, and the cursor of the next."""
        place = read_cursor(cursor, int, int)
        after = AuditPlace(int(place[0]), int(place[1])) if place else None
        found = await self.store.page(wanted, after=after, limit=limit)
        views = await asyncio.to_thread(_views, found.rows)
        return views, write_cursor(*found.following) if found.following else None

    async def lines(self, wanted: AuditFilter) -> AsyncIterator[bytes]:
        """Give all as lines of JSON, newest first."""
        found = await self.store.page(wanted, after=None, limit=MOST_LINES)
        yield await asyncio.to_thread(_lines, found.rows)
        while found.following:
            found = await self.store.page(wanted, after=found.following, limit=MOST_LINES)
            yield await asyncio.to_thread(_lines, found.rows)


# Four megabytes of documents take a tenth of a second, in which the event loop has schedules to fire.
def _views(rows: Sequence[AuditRow]) -> list[ChangeView]:
    return list(map(_view, rows))


def _lines(rows: Sequence[AuditRow]) -> bytes:
    return b"".join(orjson.dumps(_view(row).model_dump()) + b"\n" for row in rows)


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
