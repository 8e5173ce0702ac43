"""Spreads load: a delay that is a hash, so that it is the same whoever computes it, and after every restart."""

from __future__ import annotations

import hashlib


def delay(seed: str, nominal_at: int, jitter: int, following: int | None) -> int:
    """Give the delay of one occurrence, from 0 to `jitter`, always before the next one; microseconds.

    `seed` names the schedule, `following` is the next nominal time.
    """
    if not jitter:
        return 0
    longest = jitter if following is None else min(jitter, following - nominal_at - 1)
    digest = hashlib.blake2b(f"{seed}/{nominal_at}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % (longest + 1)
