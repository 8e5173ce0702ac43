"""A server in another time, and the knobs that are not settings.

    python -m tests.acceptance.clocked AHEAD SPEED STALLED_AFTER

It believes to be AHEAD seconds after now (before, if negative), and that time passes SPEED times as fast.
"""

import sys
import time
from datetime import timedelta

from backend.app import run_processes
from backend.executor.scheduler import Scheduler


class ElsewhereInTime:
    """A clock that is off, and fast."""

    def __init__(self, ahead: float, speed: float) -> None:
        self._speed = speed
        self._began = time.time()
        self._offset = ahead

    def now(self) -> int:
        real = time.time()
        return int((self._began + self._offset + (real - self._began) * self._speed) * 1_000_000)

    def monotonic(self) -> float:
        return time.monotonic()

    def uptime(self) -> float:
        return self._began + (time.time() - self._began) * self._speed


def main() -> None:
    ahead, speed, stalled_after = map(float, sys.argv[1:])
    clock = ElsewhereInTime(ahead, speed) if (ahead, speed) != (0, 1) else None
    run_processes(Scheduler(clock=clock, stalled_after=timedelta(seconds=stalled_after)))


if __name__ == "__main__":
    main()
