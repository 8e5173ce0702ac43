"""When a process that died is started again, and when that has become pointless."""

from __future__ import annotations

from collections.abc import Sequence

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
WINDOW = 300.0
MOST_DEATHS = 5


def recent(deaths: Sequence[float], now: float) -> list[float]:
    """Keep the deaths that still count, by a monotonic clock in seconds.

    >>> recent([0, 250, 400], 500)
    [250, 400]
    """
    return [at for at in deaths if now - at <= WINDOW]


def pause_before_restart(deaths: int) -> float | None:
    """Answer the seconds to wait after so many recent deaths, or None when it is a crash loop.

    >>> [pause_before_restart(deaths) for deaths in (1, 2, 3, 4, 5, 6)]
    [0.2, 0.4, 0.8, 1.6, 3.2, None]
    """
    if deaths > MOST_DEATHS:
        return None
    return min(FIRST_PAUSE * 2.0 ** (deaths - 1), LONGEST_PAUSE)
