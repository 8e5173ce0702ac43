"""Transactions on keys: of those that come in, and of those that are given out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from backend.errors import Conflict, NotFound
from backend.model.ids import DEFAULT_NAMESPACE, NamespaceId
from backend.model.instants import micros, rfc3339_or_none
from backend.store.audit_log import Entry, note
from backend.store.namespaces import Terms, hold_namespace, terms_of
from backend.store.operation import Operation, Query, Runner, now
from backend.store.repeats import Noting, Show, shown, write
from backend.store.together import Together

MOST_KEYS = 1000
"""Keys of one namespace, or of none, that are in force."""
MOST_AT_ONCE = 200
"""Requests whose keys are looked up by one statement."""
PATIENCE = 0.05
"""Seconds after which those that come in no longer wait for a look that something holds up."""
KEPT = micros(timedelta(days=90))
"""How long what is no longer in force is still listed."""


class KeyRow(NamedTuple):
    """A key without its secret. `scopes` are words; `source` names the file, on its host, that it was adopted from."""

    id: str
    namespace: NamespaceId | None
    name: str
    hash: str
    scopes: str
    source: str | None
    created_at: int
    created_by: str
    expires_at: int | None
    last_used_at: int | None = None
    revoked_at: int | None = None
    successor: str | None = None

    def in_force(self, instant: int) -> bool:
        """Tell whether the key lets anybody in at an instant."""
        return self.revoked_at is None and (self.expires_at is None or instant < self.expires_at)


class NewKey(NamedTuple):
    """A key that is to be made. `namespace` None: for all of them."""

    id: str
    namespace: NamespaceId | None
    name: str
    hash: str
    scopes: str
    created_by: str
    expires_at: int | None


class Successor(NamedTuple):
    """What takes a key's place, and for how long both are in force, in microseconds."""

    id: str
    hash: str
    created_by: str
    overlap: int


class Arrival(NamedTuple):
    """What is known of a request that comes in: the keys that its text could be, and what holds where it may lead."""

    now: int
    keys: Sequence[KeyRow]
    terms: Mapping[str, Terms]


class Asked(NamedTuple):
    """What a request shows: the id that stands in its key, the key's hash, and the namespace that it names."""

    id: str | None
    hash: str
    namespace: str | None


def arrive(asked: Sequence[Asked]) -> Operation[list[Arrival]]:
    """Find the keys that each text could be, by the id in it, or by its hash if it came from a file.

    With it come the time, and the terms of the key's namespace, of the one that the request names, and of the default.
    """
    instant = yield from now()
    keys = yield from _candidates(sorted({one.id for one in asked if one.id}), sorted({one.hash for one in asked}))
    named = (*(one.namespace for one in asked), *(key.namespace for key in keys))
    terms = yield from terms_of({DEFAULT_NAMESPACE, *filter(None, named)})
    return [_arrival(one, instant, keys, terms) for one in asked]


def _arrival(one: Asked, instant: int, keys: Sequence[KeyRow], terms: Mapping[str, Terms]) -> Arrival:
    own = [key for key in keys if key.id == one.id or (key.hash == one.hash and key.source is not None)]
    named = {DEFAULT_NAMESPACE, *filter(None, (one.namespace, *(key.namespace for key in own)))}
    return Arrival(instant, own, {name: terms[name] for name in named & terms.keys()})


def _candidates(ids: Sequence[str], hashes: Sequence[str]) -> Operation[list[KeyRow]]:
    return [KeyRow._make(row) for row in (yield Query("key_candidates", {"ids": list(ids), "hashes": list(hashes)}))]


async def _arrive(runner: Runner, asked: Sequence[Asked]) -> list[Arrival]:
    return await runner.read(arrive(asked))


Arrivals = Together[Asked, Arrival]


def arrivals() -> Arrivals:
    """Give what gathers requests that come in, to look their keys up together."""
    return Arrivals(_arrive, MOST_AT_ONCE, PATIENCE)


def adopt_key(hash_: str, source: str) -> Operation[KeyRow]:
    """Let the key of a file in as an admin of everything, in place of the one that the file held before."""
    instant = yield from now()
    # One transaction: nobody ever sees the old key and the new one in force, or neither.
    known = yield from _candidates([], [hash_])
    replaced = yield Query("revoke_replaced_keys", {"hash": hash_, "source": source, "now": instant})
    yield Query("adopt_key", {"hash": hash_, "source": source, "now": instant})
    [row] = yield from _candidates([], [hash_])
    entries = [Entry(None, "key", id_, "revoked", by="file") for (id_,) in replaced]
    entries += [] if known else [Entry(None, "key", row.id, "adopted", None, _document(row), "file")]
    yield from note(entries, instant)
    return row


def create_key(wanted: NewKey) -> Operation[KeyRow]:
    """Make a key; NotFound without its namespace, Conflict when there are too many."""
    instant = yield from _room(wanted.namespace)
    return (yield from _insert(_row(wanted, instant)))


def _row(wanted: NewKey, instant: int) -> KeyRow:
    return KeyRow(**wanted._asdict(), source=None, created_at=instant)


def _room(namespace: NamespaceId | None) -> Operation[int]:
    if namespace is not None:
        yield from hold_namespace(namespace)
    instant = yield from now()
    yield Query("forget_old_keys", {"before": instant - KEPT})
    number = (yield Query("count_keys", {"namespace": namespace, "now": instant}))[0][0]
    if number >= MOST_KEYS:
        raise Conflict(f"there are {MOST_KEYS} keys in force here; revoke one that is no longer used")
    return instant


def _insert(row: KeyRow) -> Operation[KeyRow]:
    yield Query("insert_key", row._asdict())
    yield from note([Entry(row.namespace, "key", row.id, "created", None, _document(row))], row.created_at)
    return row


def _document(row: KeyRow) -> dict[str, Any]:
    return {"name": row.name, "scopes": row.scopes.split(), "expires_at": rfc3339_or_none(row.expires_at)}


def get_key(reach: NamespaceId | None, id_: str) -> Operation[KeyRow]:
    """Read one key within reach (None: all); NotFound if there is none."""
    rows = yield Query("key_by_id", {"namespace": reach, "id": id_})
    if not rows:
        raise NotFound(f"there is no key {id_!r}")
    return KeyRow._make(rows[0])


def list_keys(reach: NamespaceId | None, *, after: str, limit: int) -> Operation[tuple[int, list[KeyRow]]]:
    """Read one page of keys within reach with ids above `after`, and the time."""
    instant = yield from now()
    rows = yield Query("list_keys", {"namespace": reach, "after": after, "limit": limit})
    return instant, [KeyRow._make(row) for row in rows]


def revoke_key(reach: NamespaceId | None, id_: str) -> Operation[bool]:
    """Let a key in no more; answers whether it was in force until now."""
    row = yield from get_key(reach, id_)
    instant = yield from now()
    yield Query("revoke_key", {"id": id_, "now": instant})
    if row.revoked_at is None:
        yield from note([Entry(row.namespace, "key", id_, "revoked", _document(row))], instant)
    return row.in_force(instant)


def rotate_key(reach: NamespaceId | None, id_: str, successor: Successor) -> Operation[KeyRow]:
    """Make a key that may do the same for as long again, and let the old one expire after the overlap."""
    old = yield from get_key(reach, id_)
    instant = yield from _room(old.namespace)
    if old.source is not None:
        raise Conflict(f"the key {id_!r} comes from a file; put another into it, and start the server anew")
    end = {"id": id_, "at": instant + successor.overlap, "now": instant, "successor": successor.id}
    # The row itself decides: of two who rotate at once, only one makes a successor.
    if not (yield Query("replace_key", end)):
        raise Conflict(f"the key {id_!r} is no longer in force, or has a successor already; create a new one")
    yield from note([Entry(old.namespace, "key", id_, "rotated", None, {"successor": successor.id})], instant)
    life = None if old.expires_at is None else instant + old.expires_at - old.created_at
    made = NewKey(
        successor.id, old.namespace, old.name, successor.hash, old.scopes, successor.created_by, expires_at=life
    )
    return (yield from _insert(_row(made, instant)))


def note_used(ids: Sequence[str], instant: int) -> Operation[None]:
    """Note when these keys were last used."""
    yield Query("note_keys_used", {"ids": list(ids), "now": instant})


_ITSELF: Show[KeyRow] = shown(lambda row: row)


@dataclass(frozen=True, slots=True)
class KeyStore:
    """The keys within reach: those of one namespace, or with None all."""

    runner: Runner
    reach: NamespaceId | None
    noting: Noting | None = None

    async def create(self, wanted: NewKey, show: Show[KeyRow] = _ITSELF) -> KeyRow:
        """Make a key."""
        return await write(self.runner, self.noting, create_key(wanted), show)

    async def get(self, id_: str) -> KeyRow:
        """Read one key, or raise NotFound."""
        return await self.runner.read(get_key(self.reach, id_))

    async def page(self, *, after: str, limit: int) -> tuple[int, list[KeyRow]]:
        """Read one page of keys with ids above `after`, and the time."""
        return await self.runner.read(list_keys(self.reach, after=after, limit=limit))

    async def revoke(self, id_: str) -> bool:
        """Let a key in no more; answers whether it was in force until now."""
        return await self.runner.write(revoke_key(self.reach, id_))

    async def rotate(self, id_: str, successor: Successor, show: Show[KeyRow] = _ITSELF) -> KeyRow:
        """Make a key that takes another's place."""
        return await write(self.runner, self.noting, rotate_key(self.reach, id_, successor), show)
