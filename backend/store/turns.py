"""Whose turn it is when runs are claimed: pure arithmetic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def share_of(limit: int, namespaces: int) -> int:
    """Divide a claim among namespaces; what one leaves over is for the next claim, which follows at once.

    >>> share_of(64, 1), share_of(64, 3), share_of(1, 1)
    (64, 22, 1)
    """
    return -(-limit // namespaces)


def last_served(claimed: Sequence[str], in_turn: Sequence[str]) -> str | None:
    """Name the namespace that the last run of a claim came from, when each got one after another.

    >>> last_served(["a", "a", "b"], ["a", "b", "c"]), last_served(["a", "b"], ["b", "a"]), last_served([], ["a"])
    ('a', 'a', None)
    """
    counted = Counter(claimed)
    most = max(counted.values(), default=0)
    return next((name for name in reversed(in_turn) if most and counted[name] == most), None)
