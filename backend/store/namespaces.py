"""Transactions on namespaces themselves: what they are called, and what holds for all that is in them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from backend.errors import Conflict, NotFound
from backend.model.ids import DEFAULT_NAMESPACE, NamespaceId
from backend.store.audit_log import Entry, differing, note
from backend.store.operation import Operation, Query, Runner, now
from backend.store.repeats import Noting, Show, shown, write

MOST_NAMESPACES = 10_000


class NamespaceRow(NamedTuple):
    """A namespace. `timezone` is for triggers that name none, `limits` a JSON object."""

    id: NamespaceId
    created_at: int
    timezone: str
    limits: str


class Terms(NamedTuple):
    """What holds for all that is in a namespace, as it is stored. `egress` None: every public host."""

    timezone: str
    limits: str
    egress: str | None


Decide = Callable[[NamespaceRow], NamespaceRow]


def hold_namespace(namespace: str) -> Operation[None]:
    """Let nobody else change what is in the namespace until the transaction ends; NotFound if it is gone."""
    if not (yield Query("hold_namespace", {"namespace": namespace})):
        raise no_such_namespace(namespace)


def create_namespace(id_: NamespaceId, timezone: str, limits: str) -> Operation[NamespaceRow]:
    """Make a namespace; Conflict when it exists."""
    if (yield Query("count_namespaces"))[0][0] >= MOST_NAMESPACES:
        raise Conflict(f"there are {MOST_NAMESPACES} namespaces already; delete one that is empty")
    row = NamespaceRow(id_, (yield from now()), timezone, limits)
    if not (yield Query("insert_namespace", row._asdict())):
        raise Conflict(f"the namespace {id_!r} exists; choose another id, or PATCH it")
    yield Query("insert_use", {"namespace": id_})
    yield from note([Entry(id_, "namespace", id_, "created", None, _document(row))], row.created_at)
    return row


def get_namespace(namespace: str) -> Operation[NamespaceRow]:
    """Read one namespace; NotFound if there is none."""
    rows = yield Query("namespace_by_id", {"namespace": namespace})
    if not rows:
        raise no_such_namespace(namespace)
    return NamespaceRow._make(rows[0])


def terms_of(ids: Collection[str]) -> Operation[dict[str, Terms]]:
    """Read what holds in these namespaces; unknown ones are left out."""
    rows = yield Query("terms_of", {"namespaces": sorted(ids)})
    return {id_: Terms(*terms) for id_, *terms in rows}


def terms_in(namespace: str) -> Operation[Terms]:
    """Read what holds in one namespace; NotFound if there is none."""
    found = yield from terms_of([namespace])
    if namespace not in found:
        raise no_such_namespace(namespace)
    return found[namespace]


def list_namespaces(*, after: str, limit: int) -> Operation[list[NamespaceRow]]:
    """Read one page of namespaces with ids above `after`."""
    rows = yield Query("list_namespaces", {"after": after, "limit": limit})
    return [NamespaceRow._make(row) for row in rows]


def change_namespace(namespace: str, decide: Decide) -> Operation[NamespaceRow]:
    """Let `decide` say what holds for a namespace from now on; what it raises changes nothing."""
    yield from hold_namespace(namespace)
    current = yield from get_namespace(namespace)
    row = decide(current)
    yield Query("update_namespace", {"namespace": namespace, "timezone": row.timezone, "limits": row.limits})
    before, after = differing(_document(current), _document(row))
    if after:
        yield from note([Entry(namespace, "namespace", namespace, "updated", before, after)], (yield from now()))
    return row


def delete_namespace(namespace: str) -> Operation[None]:
    """Forget an empty namespace, with its keys that are no longer in force; Conflict while anything is in it."""
    # What is made in a namespace holds its row as well: nothing can come into it between look and deletion.
    yield from hold_namespace(namespace)
    row = yield from get_namespace(namespace)
    if namespace == DEFAULT_NAMESPACE:
        raise Conflict(f"the namespace {DEFAULT_NAMESPACE!r} always exists")
    rows = yield Query("namespace_contents", {"namespace": namespace, "now": (yield from now())})
    if rows:
        raise Conflict(f"the namespace {namespace!r} still has {', '.join(row[0] for row in rows)}; delete them first")
    yield Query("delete_keys_of", {"namespace": namespace})
    yield Query("delete_namespace", {"namespace": namespace})
    yield from note([Entry(namespace, "namespace", namespace, "deleted", _document(row))], (yield from now()))


def _document(row: NamespaceRow) -> dict[str, Any]:
    return {"timezone": row.timezone, "limits": json.loads(row.limits)}


def no_such_namespace(namespace: str) -> NotFound:
    """Word that there is no such namespace, or none that the caller may know of."""
    return NotFound(f"there is no namespace {namespace!r}")


_ITSELF: Show[NamespaceRow] = shown(lambda row: row)


@dataclass(frozen=True, slots=True)
class NamespacesStore:
    """The namespaces themselves."""

    runner: Runner
    noting: Noting | None = None

    async def create(
        self, id_: NamespaceId, timezone: str, limits: str, show: Show[NamespaceRow] = _ITSELF
    ) -> NamespaceRow:
        """Make a namespace; Conflict when it exists."""
        return await write(self.runner, self.noting, create_namespace(id_, timezone, limits), show)

    async def get(self, id_: str) -> NamespaceRow:
        """Read one namespace, or raise NotFound."""
        return await self.runner.read(get_namespace(id_))

    async def page(self, *, after: str, limit: int) -> list[NamespaceRow]:
        """Read one page of namespaces with ids above `after`."""
        return await self.runner.read(list_namespaces(after=after, limit=limit))

    async def change(self, id_: str, decide: Decide) -> NamespaceRow:
        """Let `decide` say what holds for a namespace from now on."""
        return await self.runner.write(change_namespace(id_, decide))

    async def delete(self, id_: str) -> None:
        """Forget an empty namespace; Conflict while anything is in it."""
        await self.runner.write(delete_namespace(id_))
