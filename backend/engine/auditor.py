"""Walks over ledgers and compares them, a little at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple

from backend.clock import Clock
from backend.engine.audit import Comparison, Findings, compare_page, is_zoned
from backend.events import Events, LedgerAudited
from backend.model.history import LedgerPage, Stretch
from backend.model.instants import MINUTE, rfc3339
from backend.store.history import HistoryStore
from backend.triggers.zones import tzdata_version

SCHEDULES = 50
"""Schedules that are read at a time."""
OCCURRENCES = 2000
"""Rows and occurrences of a schedule that are compared at a time."""
AT_FIRST = 100
"""Rows of each that are read together with other schedules; who has more is read on alone."""
SPAN = 60 * MINUTE
EVERY = 300.0
BREATH = 0.1
"""Seconds between two reads, so that fires never wait for an audit."""
REST, IDLE_REST = 20, 500
"""How many times as long as a batch took it rests after it; the second where nothing was due in the whole batch.

So the audit of very many schedules costs a fifth of a percent of a processor while they rest, and five percent
while they fire.
"""


class Bookmark(NamedTuple):
    """Where an audit goes on: the last schedule's key, and where in it; None: after it."""

    key: int = 0
    at: int | None = None


@dataclass(slots=True)
class Audit:
    """Compares all that `reader` can read with nominal times from `from_at` to `until_at`, both inclusive."""

    reader: HistoryStore
    from_at: int
    until_at: int
    found: Findings = field(default_factory=Findings)
    left: int = 10**18
    """Occurrences that may still be compared before the audit breaks off."""

    async def batch(self, place: Bookmark) -> Bookmark | None:
        """Compare the next few schedules; answers where to go on, None at the end."""
        if place.at is not None:
            broken_off = await self.one(place)
            if broken_off is not None:
                return broken_off
        stretch = self._stretch(self.from_at)._replace(rows=min(AT_FIRST, OCCURRENCES))
        pages = await self.reader.ledger_pages(place.key, stretch, tzdata_version(), SCHEDULES)
        for page in pages:
            self.found.schedules += 1
            broken_off = await self.schedule(page, self.from_at)
            if broken_off is not None:
                return broken_off
        return Bookmark(pages[-1].key) if len(pages) == SCHEDULES else None

    async def one(self, place: Bookmark) -> Bookmark | None:
        """Compare one schedule, from its beginning or where it broke off; answers where to go on."""
        begin = self.from_at if place.at is None else place.at
        page = await self.reader.ledger_page(place.key, self._stretch(begin), tzdata_version())
        self.found.schedules += place.at is None and page is not None
        return await self.schedule(page, begin) if page else None

    async def schedule(self, page: LedgerPage, from_at: int) -> Bookmark | None:
        """Compare one schedule from `from_at` on, where its first page begins; answers where it broke off, if so."""
        begin = max(from_at, page.complete_from)
        start = max(begin, page.zoned_from) if is_zoned(page.revisions) else begin
        if begin < start and begin <= self.until_at:
            self.found.leave(page.id, "the rules of its time zones changed meanwhile")
        comparison = Comparison(page.id, self.found)
        shown = page if start == begin else None
        next_at: int | None = start
        while next_at is not None and next_at <= self.until_at:
            if self.left <= 0:
                return Bookmark(page.key, next_at)
            shown = shown or await self.reader.ledger_page(page.key, self._stretch(next_at), tzdata_version())
            if shown is None:
                return None
            next_at, shown = await self._part(comparison, shown, next_at), None
        return None

    async def _part(self, comparison: Comparison, page: LedgerPage, start: int) -> int | None:
        begin, most = max(start, page.complete_from), min(OCCURRENCES, self.left)
        try:
            # In a thread, because the event loop has schedules to fire.
            part = await asyncio.to_thread(compare_page, comparison, page, begin, self.until_at, most)
        except Exception as error:  # whatever one rule raises, the others are compared
            self.found.leave(page.id, f"its times cannot be computed ({type(error).__name__}: {error})"[:300])
            return None
        self.left -= max(part.expected, 1)
        return part.next_at

    def _stretch(self, from_at: int) -> Stretch:
        return Stretch(from_at, self.until_at, OCCURRENCES)


@dataclass(slots=True)
class Auditor:
    """Compares the last hour of every ledger, every five minutes, and tells what it found.

    When that takes longer, the next audit begins where the last one ended.
    """

    store: HistoryStore
    clock: Clock
    events: Events
    _audit: Audit | None = field(default=None)
    _place: Bookmark = field(default=Bookmark())
    _began: float = field(default=0.0)
    _audited_to: int | None = field(default=None)

    async def turn(self) -> float:
        """Compare one batch; answers the seconds until the next."""
        if self._audit is None:
            await self.store.note_tzdata(tzdata_version())
            now = await self.store.now()
            begin = now - SPAN if self._audited_to is None else min(now - SPAN, self._audited_to)
            self._audit, self._place = Audit(self.store, begin, now), Bookmark()
            self._began = self.clock.monotonic()
        began, compared = self.clock.monotonic(), self._audit.found.expected
        place = await self._audit.batch(self._place)
        if place is not None:
            self._place = place
            rest = IDLE_REST if self._audit.found.expected == compared else REST
            return max(BREATH, rest * (self.clock.monotonic() - began))
        self._tell(self._audit.found)
        self._audited_to = self._audit.until_at
        self._audit = None
        return EVERY

    def _tell(self, found: Findings) -> None:
        self.events.emit(
            LedgerAudited(
                schedules=found.schedules,
                expected=found.expected,
                missing=found.missing_count,
                doubled=found.doubled_count,
                examples=_examples(found),
                milliseconds=(self.clock.monotonic() - self._began) * 1000,
            )
        )


def _examples(found: Findings) -> str:
    places = [(one.schedule_id, one.nominal_at) for one in found.missing[:3]]
    places += [(one.schedule_id, one.nominal_at) for one in found.doubled[:3]]
    return ", ".join(f"{schedule_id} at {rfc3339(nominal_at)}" for schedule_id, nominal_at in places)
