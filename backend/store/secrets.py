"""Transactions on secrets. Values come and go encrypted; who holds no key can read none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from backend.errors import Conflict, NotFound
from backend.model.ids import NamespaceId
from backend.model.secret import references_of
from backend.store.audit_log import Entry, note
from backend.store.namespaces import hold_namespace
from backend.store.operation import Operation, Query, Runner, now

MOST_SECRETS = 1000
"""Secrets of one namespace."""
NAMED = 10
"""Users of a secret that a refusal names."""
CANDIDATES = 10_000
BATCH = 100
Reseal = Callable[[str, str, str], str]
"""(sealed, namespace, name) → sealed anew."""
Sealed = Mapping[str, Mapping[str, str]]
"""Encrypted values by namespace and name."""


class SecretRow(NamedTuple):
    """What is told of a secret: everything but its value."""

    name: str
    key_id: str
    created_at: int
    created_by: str
    updated_at: int
    updated_by: str


class NewValue(NamedTuple):
    """An encrypted value on its way in, and the key that it was encrypted with."""

    name: str
    sealed: str
    key_id: str
    by: str


def put_secret(namespace: str, wanted: NewValue) -> Operation[tuple[SecretRow, bool]]:
    """Make or replace a secret; answers whether it is new."""
    yield from hold_namespace(namespace)
    known = yield Query("secret_by_name", {"namespace": namespace, "name": wanted.name})
    if not known:
        yield from _check_number(namespace)
    instant = yield from now()
    yield Query("put_secret", {"namespace": namespace, "now": instant, **wanted._asdict()})
    verb = "updated" if known else "created"
    yield from note([Entry(namespace, "secret", wanted.name, verb, None, {"key_id": wanted.key_id})], instant)
    return (yield from get_secret(namespace, wanted.name)), not known


def _check_number(namespace: str) -> Operation[None]:
    if (yield Query("count_secrets", {"namespace": namespace}))[0][0] >= MOST_SECRETS:
        raise Conflict(f"the namespace has {MOST_SECRETS} secrets already; delete one that nothing uses")


def get_secret(namespace: str, name: str) -> Operation[SecretRow]:
    """Read what is told of a secret; NotFound if there is none."""
    rows = yield Query("secret_by_name", {"namespace": namespace, "name": name})
    if not rows:
        raise NotFound(f"there is no secret {name!r} in this namespace")
    return SecretRow._make(rows[0])


def list_secrets(namespace: str, *, after: str, limit: int) -> Operation[list[SecretRow]]:
    """Read one page of secrets with names above `after`."""
    rows = yield Query("list_secrets", {"namespace": namespace, "after": after, "limit": limit})
    return [SecretRow._make(row) for row in rows]


def delete_secret(namespace: str, name: str) -> Operation[None]:
    """Forget a secret; Conflict while schedules or notification routes use it, NotFound if there is none."""
    yield from hold_namespace(namespace)
    yield from get_secret(namespace, name)
    users = yield from secret_users(namespace, name)
    if users:
        named = ", ".join(users[:NAMED]) + (" and more" if len(users) > NAMED else "")
        raise Conflict(f"targets use the secret {name!r}: {named}; take it out of them first")
    yield Query("delete_secret", {"namespace": namespace, "name": name})
    yield from note([Entry(namespace, "secret", name, "deleted")], (yield from now()))


def secret_users(namespace: str, name: str) -> Operation[list[str]]:
    """Name schedules, and notification routes, whose targets refer to a secret."""
    params = {"namespace": namespace, "reference": f'{{"secret":"{name}"}}', "limit": CANDIDATES}
    rows = yield Query("schedules_that_mention", params)
    routes = yield Query("route_errands_in", {"namespace": namespace})
    return [
        *(id_ for id_, definition in rows if name in names_in(definition)),
        *(f"notification route {id_}" for id_, errand in routes if name in _named_in_errand(errand)),
    ]


def names_in(definition: str) -> set[str]:
    """Name the secrets that the target of a stored definition refers to; of one that cannot be read, none."""
    try:
        target = json.loads(definition)["definition"]["target"]
    except (ValueError, LookupError, TypeError):
        return set()
    return {name for _, name in references_of(target)}


def known_secrets(namespace: str, names: Sequence[str] | None) -> Operation[frozenset[str]]:
    """Tell which of these secrets there are; None: all of the namespace."""
    if names is not None and not names:
        return frozenset()
    rows = yield Query("known_secrets", {"namespace": namespace, "names": None if names is None else list(names)})
    return frozenset(row[0] for row in rows)


def secrets_for(errands: Iterable[tuple[str, str | None]]) -> Operation[Sealed]:
    """Read the encrypted values that these errands refer to; each is (namespace, `[version, target, …]` as JSON)."""
    wanted = {(namespace, name) for namespace, errand in errands for name in _named_in_errand(errand)}
    if not wanted:
        return {}
    params = {"namespaces": sorted({pair[0] for pair in wanted}), "names": sorted({pair[1] for pair in wanted})}
    found: dict[str, dict[str, str]] = {}
    for namespace, name, sealed in (yield Query("sealed_secrets", params)):
        if (namespace, name) in wanted:
            found.setdefault(namespace, {})[name] = sealed
    return found


def _named_in_errand(errand: str | None) -> set[str]:
    if errand is None or '"secret"' not in errand:
        return set()
    target = json.loads(errand)[1]
    return {name for _, name in references_of(target)} if isinstance(target, dict) else set()


def reseal_secrets(
    key_id: str, reseal: Reseal, after: tuple[str, str]
) -> Operation[tuple[int, tuple[str, str] | None]]:
    """Encrypt one batch anew that was not encrypted with this key; answers how many, and where to go on.

    If we die, those before are done, and the rest can still be read with the old key.
    """
    place = {"namespace": after[0], "name": after[1], "key_id": key_id, "limit": BATCH}
    rows = yield Query("stale_secrets", place)
    for namespace, name, sealed in rows:
        row = {"namespace": namespace, "name": name, "old": sealed, "key_id": key_id}
        yield Query("reseal_secret", row | {"sealed": reseal(sealed, namespace, name)})
    return len(rows), (rows[-1][0], rows[-1][1]) if len(rows) == BATCH else None


@dataclass(frozen=True, slots=True)
class SecretStore:
    """What may be seen and done with the secrets of one namespace."""

    runner: Runner
    namespace: NamespaceId

    async def put(self, wanted: NewValue) -> tuple[SecretRow, bool]:
        """Make or replace a secret; answers whether it is new."""
        return await self.runner.write(put_secret(self.namespace, wanted))

    async def page(self, *, after: str, limit: int) -> list[SecretRow]:
        """Read one page of secrets with names above `after`."""
        return await self.runner.read(list_secrets(self.namespace, after=after, limit=limit))

    async def delete(self, name: str) -> None:
        """Forget a secret; Conflict while schedules use it."""
        await self.runner.write(delete_secret(self.namespace, name))
