"""The only reader of time.

Instants are integers: microseconds since 1970-01-01T00:00:00Z. What is due is decided by the database's
clock, which a store reads once per transaction and offers behind the same protocol.
"""

from __future__ import annotations

import time
from typing import Protocol

# On Linux the monotonic clock stands still while the machine sleeps.
_UPTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """Wall time for instants, monotonic time for waiting and for measuring."""

    def now(self) -> int:
        """Read the wall clock, in microseconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Read a clock that never goes back, in seconds."""
        ...

    def uptime(self) -> float:
        """Read how long this machine has been up, in seconds, sleep included."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()

    def uptime(self) -> float:
        return time.clock_gettime(_UPTIME)
