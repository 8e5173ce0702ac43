"""When a request is tried again, and after how long."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from backend.client.errors import ClientError


def chance() -> float:
    """Draw a number from 0 to 1."""
    return int.from_bytes(os.urandom(7)) / 2**56


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How patiently a client asks again: pauses grow from `initial` to `maximum`, and no try begins after `deadline`.

    All in seconds. A pause is drawn between 0 and its limit, so that clients that failed together do not return
    together; what the server asks for in `Retry-After` comes on top.

    >>> Retry(initial=1, draw=lambda: 1.0).pause(3, None)
    4.0
    """

    deadline: float = 60.0
    initial: float = 0.2
    maximum: float = 10.0
    tries: int = 30
    draw: Callable[[], float] = chance

    def pause(self, failed: int, asked: float | None) -> float:
        """Say how long to wait after so many failed tries."""
        limit = min(self.maximum, self.initial * 2.0 ** min(failed - 1, 32))
        return limit * self.draw() + (asked or 0)

    def after(self, failed: int, error: ClientError, elapsed: float) -> float | None:
        """Say how long to wait before the next try; None when it is hopeless, or too late."""
        if not error.passes or failed >= self.tries:
            return None
        pause = self.pause(failed, error.retry_after)
        return None if elapsed + pause > self.deadline else pause


NEVER = Retry(tries=1)
"""One try, whatever becomes of it."""
