"""Transactions on the hosts that a namespace may call."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from backend.errors import FieldError
from backend.model.egress import ANYWHERE, Egress, read_egress
from backend.model.ids import NamespaceId
from backend.store.audit_log import Entry, note
from backend.store.namespaces import hold_namespace
from backend.store.operation import Operation, Query, Runner, now

Check = Callable[[Sequence[str]], None]


def get_egress(namespace: str) -> Operation[list[str] | None]:
    """Read the allow-list of a namespace; None when it has none."""
    rows = yield Query("egress_of", {"namespace": namespace})
    return json.loads(rows[0][0]) if rows and rows[0][0] is not None else None


def put_egress(namespace: str, hosts: Sequence[str] | None, check: Check) -> Operation[None]:
    """Replace the allow-list of a namespace, None takes it away; `check` raises unless the old one may become it."""
    yield from hold_namespace(namespace)
    before = yield from get_egress(namespace)
    check(before or ())
    text = None if hosts is None else json.dumps(list(hosts))
    yield Query("put_egress", {"namespace": namespace, "egress": text})
    after = None if hosts is None else list(hosts)
    entry = Entry(namespace, "egress", namespace, "updated", {"allowed_hosts": before}, {"allowed_hosts": after})
    yield from note([entry], (yield from now()))


@lru_cache(maxsize=256)
def load_egress(text: str | None) -> Egress:
    """Read what is stored; what cannot be read allows nothing."""
    if text is None:
        return ANYWHERE
    try:
        return read_egress(json.loads(text))
    except (ValueError, TypeError, FieldError):
        return Egress(restricted=True)


@dataclass(frozen=True, slots=True)
class EgressStore:
    """The allow-list of one namespace."""

    runner: Runner
    namespace: NamespaceId

    async def hosts(self) -> list[str] | None:
        """Read the list; None when there is none."""
        return await self.runner.read(get_egress(self.namespace))

    async def put(self, hosts: Sequence[str] | None, check: Check) -> None:
        """Replace the list, None takes it away; what `check` raises of the old list changes nothing."""
        await self.runner.write(put_egress(self.namespace, hosts, check))
