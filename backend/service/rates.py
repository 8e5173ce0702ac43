"""How many requests keys and namespaces may make: token buckets in this process's memory, one per name."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field

from backend.clock import Clock
from backend.errors import OverLimit
from backend.model.ids import NamespaceId
from backend.store.quotas import read_limits

BURST_SECONDS = 2.0
"""A bucket holds what comes in in so many seconds."""
MOST_BUCKETS = 10_000
"""Of more, those asked longest ago are forgotten, and are full when they are asked again."""


@dataclass(slots=True)
class Bucket:
    """What is left at an instant of the monotonic clock."""

    left: float
    at: float


@dataclass(slots=True)
class Rates:
    """Decides about each request; what it remembers may be lost."""

    clock: Clock
    per_key: int
    buckets: OrderedDict[str, Bucket] = field(default_factory=OrderedDict)

    def admit(self, key_id: str, namespace: NamespaceId | None, limits: str) -> None:
        """Count a request; OverLimit when its key, or all keys of the namespace together, make too many.

        `limits` are those of the namespace, as they are stored.
        """
        if self.per_key:
            self._take(f"key {key_id}", self.per_key, namespace or "")
        rate = None if namespace is None else read_limits(limits).requests_per_second
        if rate is not None:
            self._take(f"namespace {namespace}", rate, namespace or "")

    def _take(self, name: str, rate: int, namespace: str) -> None:
        now, most = self.clock.monotonic(), max(rate * BURST_SECONDS, 1.0)
        bucket = self.buckets.pop(name, None) or Bucket(most, now)
        left = min(bucket.left + (now - bucket.at) * rate, most)
        refused = left < 1
        self.buckets[name] = Bucket(left if refused else left - 1, now)
        if len(self.buckets) > MOST_BUCKETS:
            self.buckets.popitem(last=False)
        if refused:
            raise OverLimit(namespace, "requests_per_second", rate, rate, math.ceil((1 - left) / rate))
