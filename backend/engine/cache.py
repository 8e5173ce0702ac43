"""A cache for what is read from stored texts, bounded in bytes as well as in number."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

T = TypeVar("T")
ENTRIES = 8192
LONGEST = 4096
"""Characters; a longer text is read anew each time, since thousands of them would fill the memory."""


def cached_if_short(read: Callable[[str], T]) -> Callable[[str], T]:
    """Remember what `read` makes of texts of up to LONGEST characters, ENTRIES of them."""
    remembered = lru_cache(maxsize=ENTRIES)(read)

    @wraps(read)
    def look(text: str) -> T:
        return remembered(text) if len(text) <= LONGEST else read(text)

    return look
