"""The use case of following what happens in a namespace."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from backend.model.instants import SECOND
from backend.store.feed import FeedStore, Happening, Reading

BEHIND = 5 * SECOND
"""How long a transaction may take to show what it noted: so far back each reading looks again."""
AT_ONCE = 500
MOST_AT_ONCE = 64 * AT_ONCE
VERBS: Mapping[str, Sequence[str]] = {
    "schedule": ("created", "updated", "moved", "paused", "resumed", "deleted", "backfilled"),
    "run": ("queued", "started", "finished"),
    "notification": ("queued", "started", "finished"),
}
KINDS = (*VERBS, *(f"{noun}.{verb}" for noun, verbs in VERBS.items() for verb in verbs))
"""What may be asked for: a kind, or its first word."""
REMEMBERED = 50_000
"""Events that are known to have been given; beyond, one may be given twice."""


class Taste(NamedTuple):
    """Which events are wanted; None does not count. `kind` may be a beginning such as `run`."""

    schedule: str | None = None
    kind: str | None = None

    def likes(self, one: Happening) -> bool:
        """Tell whether an event is wanted."""
        by_kind = self.kind is None or one.kind == self.kind or one.kind.startswith(f"{self.kind}.")
        return by_kind and (self.schedule is None or one.schedule_id == self.schedule)


@dataclass
class Feed:
    """One follower's place. Each event is given at least once, and as a rule once."""

    store: FeedStore
    taste: Taste
    since: int
    floor: int
    """Nothing is given that happened at this instant or before."""
    caught_up: bool = True
    _limit: int = AT_ONCE
    _given: OrderedDict[str, int] = field(default_factory=OrderedDict)

    async def news(self) -> list[Happening]:
        """Give what has happened since the last time, oldest first."""
        # Commits become visible out of order: what was noted a moment before what is known may show only now.
        start = self.since - (BEHIND if self.caught_up else 0)
        reading = await self.store.read(start, self._limit)
        self.caught_up = not reading.more
        if reading.more and reading.until <= start:
            # More than a page happened at one instant, such as when a file is applied.
            self._limit = min(self._limit * 4, MOST_AT_ONCE)
            if self._limit < MOST_AT_ONCE:
                self.since = start
                return []
        else:
            self._limit = AT_ONCE
        self.since = max(self.since, reading.until)
        return self._fresh(reading)

    def _fresh(self, reading: Reading) -> list[Happening]:
        fresh = [one for one in reading.happenings if one.at > self.floor and one.name not in self._given]
        self._given.update((one.name, one.at) for one in fresh)
        while len(self._given) > REMEMBERED:
            self._given.popitem(last=False)
        return [one for one in fresh if self.taste.likes(one)]


def feed_from(store: FeedStore, taste: Taste, last: int | None, now: int) -> Feed:
    """Begin after the event of an id, or with what happens from now on."""
    if last is None:
        return Feed(store, taste, now, now)
    return Feed(store, taste, min(last, now), min(last, now) - BEHIND - 1)
