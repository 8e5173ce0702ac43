"""Who asks: a key, the namespace it belongs to, and what it may do there."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from backend.model.ids import NamespaceId


class Scope(StrEnum):
    """What a key may do. None includes another, but `admin` includes all."""

    READ = "read"
    WRITE = "write"
    TRIGGER = "trigger"
    ADMIN = "admin"


class Principal(NamedTuple):
    """Whose key it is. `namespace` None: it belongs to none, and so may choose any."""

    key_id: str
    namespace: NamespaceId | None
    scopes: frozenset[Scope]

    @property
    def by(self) -> str:
        """Name whoever asks, for what is recorded."""
        return f"key:{self.key_id}"

    def may(self, scope: Scope) -> bool:
        """Tell whether the key has a scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


def read_scopes(text: str) -> frozenset[Scope]:
    """Read scopes as they are stored.

    >>> sorted(read_scopes("read trigger"))
    [<Scope.READ: 'read'>, <Scope.TRIGGER: 'trigger'>]
    """
    return frozenset(map(Scope, text.split()))


def write_scopes(scopes: frozenset[Scope]) -> str:
    """Write scopes as they are stored, in the order of their declaration."""
    return " ".join(scope for scope in Scope if scope in scopes)
