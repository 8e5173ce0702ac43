"""The audit log: who changed what, when and by which request, written in the transaction that changes it."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import orjson

from backend.model.change import Change
from backend.model.ids import NamespaceId
from backend.model.masking import masked, may_tell
from backend.model.schedule import Schedule
from backend.store.operation import Batch, Operation, Query, Row, Runner, Statement

T = TypeVar("T")
SERVER = "scheduler"
"""Stands for the server itself, where nobody asked."""
NEWEST = 2**62
NOTE = "insert_audit"
AT_ONCE = 10
"""Lines that are read at a time: as many may be in memory beyond what a page holds."""
MOST_BYTES = 4 * 2**20
"""Of the documents of a page, which has one line at least."""


class Entry(NamedTuple):
    """One change. `before` and `after` are documents, or their JSON; of a change both name only what differs."""

    namespace: str | None
    kind: str
    id: str
    verb: str
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | str | None = None
    by: str | None = None
    """None: whoever has signed the operation, else the server."""


class Signature(NamedTuple):
    """Who asks for an operation, and by which request."""

    by: str
    request_id: str


def note(entries: Sequence[Entry], instant: int) -> Operation[None]:
    """Write changes into the log; what may be a secret is masked."""
    yield Batch(NOTE, [_row(entry, instant) for entry in entries])


def note_signed(entries: Iterable[tuple[Entry, Signature]], instant: int) -> Operation[None]:
    """Write changes into the log, each with the signature of whoever asked for it."""
    yield Batch(NOTE, [_under(_row(entry, instant), signature) for entry, signature in entries])


def _under(row: Mapping[str, Any], signature: Signature) -> dict[str, Any]:
    return {**row, "changed_by": row["changed_by"] or signature.by, "request_id": signature.request_id}


def _row(entry: Entry, instant: int) -> dict[str, Any]:
    return {
        "changed_at": instant,
        "namespace": entry.namespace,
        "changed_by": entry.by,
        "request_id": "",
        "verb": entry.verb,
        "kind": entry.kind,
        "object_id": entry.id,
        "was": _text(entry.before),
        "became": _text(entry.after),
    }


UNSIGNED = '"signing_secret":null'
"""Stands in each http target that has none, and tells nothing."""


def _text(document: Mapping[str, Any] | str | None) -> str | None:
    if document is None:
        return None
    text = document if isinstance(document, str) else orjson.dumps(dict(document)).decode()
    return orjson.dumps(masked(orjson.loads(text))).decode() if may_tell(text.replace(UNSIGNED, "")) else text


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give of two documents what is not the same in both.

    >>> differing({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4})
    ({'b': 2, 'c': None}, {'b': 3, 'c': 4})
    """
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return {name: before.get(name) for name in names}, {name: after.get(name) for name in names}


def schedule_entries(changes: Sequence[Change], current: Mapping[str, Schedule]) -> list[Entry]:
    """Say what changes made of schedules; `current` holds those that were there before, by id."""
    return [_entry(change, current.get(change.schedule.id)) for change in changes if change.verb != "unchanged"]


def _entry(change: Change, current: Schedule | None) -> Entry:
    namespace, id_ = change.schedule.namespace, change.schedule.id
    if change.verb == "created" or current is None:
        return Entry(namespace, "schedule", id_, change.verb, None, _snapshot_text(change.schedule), change.by)
    if change.verb == "deleted":
        return Entry(namespace, "schedule", id_, change.verb, _snapshot(current), None, change.by)
    before, after = differing(_snapshot(current), _snapshot(change.schedule))
    return Entry(namespace, "schedule", id_, change.verb, before, after, change.by)


_STORED = re.compile(r'\{"version":\d+,"definition":(?=\{")')


def _snapshot_text(schedule: Schedule) -> str:
    """Write a snapshot without reading the definition: of ten thousand in a batch that would be a tenth of the time."""
    stored = schedule.definition
    found = _STORED.match(stored)
    if found is None or not stored.endswith("}}"):
        return orjson.dumps(_snapshot(schedule)).decode()
    rest = orjson.dumps({"state": schedule.state, "note": schedule.note, "source": schedule.source}).decode()
    return f"{stored[found.end() : -2]},{rest[1:]}"


def _snapshot(schedule: Schedule) -> dict[str, Any]:
    try:
        stored = orjson.loads(schedule.definition)
    except orjson.JSONDecodeError:
        stored = None
    definition = stored.get("definition") if isinstance(stored, dict) else None
    shown = definition if isinstance(definition, dict) else {}
    return {**shown, "state": schedule.state, "note": schedule.note, "source": schedule.source}


def signed_operation(operation: Operation[T], signature: Signature) -> Generator[Statement, list[Row], T]:
    """Give the same operation, with the signature below whatever it writes into the log."""
    try:
        statement = next(operation)
        while True:
            statement = operation.send((yield _signed(statement, signature)))
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        operation.close()


def _signed(statement: Statement, signature: Signature) -> Statement:
    if not isinstance(statement, Batch) or statement.name != NOTE:
        return statement
    return replace(statement, rows=[_under(row, signature) for row in statement.rows])


@dataclass(frozen=True, slots=True)
class SignedRunner:
    """Runs operations for somebody: the log names them, whichever port the operation came through."""

    runner: Runner
    signature: Signature

    async def write(self, operation: Operation[T]) -> T:
        return await self.runner.write(signed_operation(operation, self.signature))

    async def read(self, operation: Operation[T]) -> T:
        return await self.runner.read(operation)


def unsigned(runner: Runner) -> tuple[Runner, Signature]:
    """Take a signature off a runner, to put it below one part of what is done for several."""
    return (runner.runner, runner.signature) if isinstance(runner, SignedRunner) else (runner, Signature(SERVER, ""))


class AuditRow(NamedTuple):
    """A line of the log as it is stored; `was` and `became` are JSON."""

    key: int
    changed_at: int
    namespace: str | None
    changed_by: str
    request_id: str
    verb: str
    kind: str
    object_id: str
    was: str | None
    became: str | None


class AuditFilter(NamedTuple):
    """Which lines to list; None does not count. Instants from `from_at` (inclusive) to `to_at` (exclusive)."""

    kind: str | None = None
    id: str | None = None
    by: str | None = None
    verb: str | None = None
    from_at: int | None = None
    to_at: int | None = None


class AuditPlace(NamedTuple):
    """Where a page begins: after this line, in the order newest first."""

    changed_at: int
    key: int


class AuditPage(NamedTuple):
    """Lines, newest first, and where the next page begins; None after the last."""

    rows: list[AuditRow]
    following: AuditPlace | None


def list_audit(
    reach: NamespaceId | None, wanted: AuditFilter, *, after: AuditPlace | None, limit: int
) -> Operation[list[AuditRow]]:
    """Read lines of the log of a namespace, or with None of all, newest first."""
    first = AuditPlace(NEWEST if wanted.to_at is None else wanted.to_at, 0)
    place = after or first
    params = {
        "namespace": reach,
        "kind": wanted.kind,
        "by": wanted.by,
        "verb": wanted.verb,
        "from": wanted.from_at or 0,
        "before_at": place.changed_at,
        "before_key": place.key,
        "limit": limit,
    }
    if wanted.id is not None:
        rows = yield Query("list_audit_of", {**params, "id": wanted.id})
    elif reach is not None:
        rows = yield Query("list_audit", params)
    else:
        rows = yield Query("list_whole_audit", {name: params[name] for name in params if name != "namespace"})
    return [AuditRow._make(row) for row in rows]


def page_audit(
    reach: NamespaceId | None, wanted: AuditFilter, *, after: AuditPlace | None, limit: int
) -> Operation[AuditPage]:
    """Read one page. It ends early after MOST_BYTES, since a line may have two documents of 1 MiB."""
    page: list[AuditRow] = []
    size = 0
    while True:
        rows = yield from list_audit(reach, wanted, after=after, limit=min(AT_ONCE, limit + 1 - len(page)))
        for row in rows:
            size += _size(row)
            if page and (len(page) == limit or size > MOST_BYTES):
                return AuditPage(page, place_of(page[-1]))
            page.append(row)
        if len(rows) < AT_ONCE:
            return AuditPage(page, None)
        after = place_of(page[-1])


def _size(row: AuditRow) -> int:
    return len(row.was or "") + len(row.became or "")


def place_of(row: AuditRow) -> AuditPlace:
    """Tell where the lines after this one begin."""
    return AuditPlace(row.changed_at, row.key)


@dataclass(frozen=True, slots=True)
class AuditStore:
    """The log within reach: of one namespace, or with None of all. It can only be read."""

    runner: Runner
    reach: NamespaceId | None

    async def page(self, wanted: AuditFilter, *, after: AuditPlace | None, limit: int) -> AuditPage:
        """Read one page, newest first, which may end early."""
        return await self.runner.read(page_audit(self.reach, wanted, after=after, limit=limit))
