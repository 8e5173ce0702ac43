"""What the wiring hands to the API."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from backend.model.ids import NamespaceId
from backend.service.schedules import Surroundings
from backend.store.port import Store


class Health(NamedTuple):
    """Whether the engine lives, whether it serves, and why not."""

    live: bool
    ready: bool
    status: str
    details: Mapping[str, Any]


class Follower(NamedTuple):
    """A key that follows events, and the namespace that it belongs to; None: to none."""

    namespace: NamespaceId | None
    key_id: str


@dataclass(frozen=True, slots=True)
class Context:
    """The use cases' surroundings, and what belongs to no namespace."""

    store: Store
    around: Surroundings
    health: Callable[[], Health]
    metrics: Callable[[], Awaitable[tuple[bytes, str]]]
    version: str
    metrics_public: bool = False
    requests_per_second: int = 0
    """Of one key; 0: as many as it likes."""
    streams: Counter[Follower] = field(default_factory=Counter)
    """Streams of events that are open."""
    simulating: asyncio.Lock = field(default_factory=asyncio.Lock)
    simulated: set[NamespaceId] = field(default_factory=set)
    """Namespaces whose simulation is on its way, or waits for another."""
