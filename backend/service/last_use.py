"""When keys were last used: for people who wonder whether one may be revoked. Nothing is decided by it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from backend.errors import StoreUnavailable
from backend.store.keys import KeyRow
from backend.store.port import AdminStore

OFTEN = 60_000_000
"""Microseconds after which a use is noted again."""


class LastUse:
    """Notes uses in the background, many in one write; what waits when the server ends is forgotten."""

    def __init__(self) -> None:
        self._waiting: dict[str, int] = {}
        self._noted: dict[str, int] = {}
        self.writing: asyncio.Task[None] | None = None

    def note(self, store: AdminStore, row: KeyRow, now: int) -> None:
        """Note that a key is used, unless that was written less than a minute ago."""
        if now - max(row.last_used_at or 0, self._noted.get(row.id, 0)) < OFTEN:
            return
        self._noted[row.id] = self._waiting[row.id] = now
        if self.writing is None or self.writing.done():
            self.writing = asyncio.create_task(self._write(store), name="last use of keys")

    async def _write(self, store: AdminStore) -> None:
        with suppress(StoreUnavailable):
            while self._waiting:
                ids, instant = list(self._waiting), max(self._waiting.values())
                self._waiting.clear()
                await store.note_used(ids, instant)
        # What is in the rows now need not be remembered here; what was revoked meanwhile must not be.
        self._noted.clear()
