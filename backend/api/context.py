"""What the wiring hands to the API."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from backend.service.schedules import Surroundings
from backend.store.port import Store


class Health(NamedTuple):
    """Whether the engine lives, whether it serves, and why not."""

    live: bool
    ready: bool
    status: str
    details: Mapping[str, Any]


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
    streams: Counter[str] = field(default_factory=Counter)
    """Streams of events that are open, by key."""
    simulating: asyncio.Lock = field(default_factory=asyncio.Lock)
