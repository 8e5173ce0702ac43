"""A process that keeps others: it starts them in order, starts again what dies, and stops them in reverse."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any

from backend.clock import SystemClock
from backend.errors import SchedulerError
from backend.events import ProcessDied, ProcessRestarting
from backend.process.base import Process, StartFailed
from backend.process.restart import pause_before_restart, recent
from backend.process.signals import Bell

logger = logging.getLogger("backend.app")

LONGEST_NAP = 3600.0
"""Seconds; to wait for much longer at a stretch is more than the operating system takes."""

Recruit = Callable[[], Process]
"""Makes a process, also the second and every further time."""


class CrashLoop(SchedulerError):
    """A process died again and again; starting it once more would not help."""


@dataclass(slots=True)
class _Place:
    """One place in the team, taken by one process after another."""

    recruit: Recruit
    process: Process | None = None
    deaths: list[float] = field(default_factory=list)
    launched_at: float = 0.0
    restart_at: float | None = None

    def is_vacant(self) -> bool:
        """Say whether the process has ended and nothing has been done about it."""
        return self.restart_at is None and self.process is not None and self.process.exit_code is not None


class Team(Process):
    """Runs in the foreground, its members in child processes. Override `members`, and `beat` if wanted."""

    def __init__(self, service_name: str) -> None:
        super().__init__(service_name)
        self._clock = SystemClock()
        self._places: list[_Place] = []
        self._bell: Bell | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Travel without members."""
        return super().__getstate__() | {"_places": [], "_bell": None}

    def members(self) -> Sequence[Recruit]:
        """Give those to start, in order; called once, after `prepare`."""
        raise NotImplementedError(f"{type(self).__name__} must override members()")

    def beat(self) -> float | None:
        """Do what is to be done now and then; answers the seconds until the next time, None for never."""
        return None

    def run(self) -> None:
        """Keep the members running until asked to stop; CrashLoop when one cannot be kept."""
        self._bell = Bell()
        self._places = [_Place(recruit) for recruit in self.members()]
        try:
            for place in self._places:
                self._fill(place)
            if not self.stop_requested.is_set():
                self.ready()
                self._keep()
        finally:
            self._stop_members()
        self._judge()

    def on_stop_requested(self) -> None:
        """Wake the loop, and give up a start that is going on."""
        if self._bell is not None:
            self._bell.ring()
        for place in tuple(self._places):
            if place.process is not None and place.process.state == "initializing":
                place.process.stop()

    def kill(self) -> None:
        """End all members at once; safe in a signal handler."""
        for place in tuple(self._places):
            if place.process is not None:
                place.process.kill()

    def _fill(self, place: _Place) -> None:
        if not self.stop_requested.is_set():
            self._recruit(place).start(background=True)

    def _recruit(self, place: _Place) -> Process:
        place.restart_at, place.launched_at = None, self._clock.monotonic()
        process = place.process = place.recruit()
        process.events.subscribe(self.events.emit)
        return process

    def _keep(self) -> None:
        assert self._bell is not None
        while not self.stop_requested.is_set():
            pauses = [self.beat(), *(self._look_after(place) for place in self._places)]
            alive = [place.process for place in self._places if place.restart_at is None and place.process]
            sentinels = [process.sentinel for process in alive if process.sentinel is not None]
            wait([self._bell.fileno(), *sentinels], min(p for p in (*pauses, LONGEST_NAP) if p is not None))
            self._bell.hush()

    def _look_after(self, place: _Place) -> float | None:
        """Do what a place needs now; answers the seconds until it needs something more."""
        now = self._clock.monotonic()
        if place.is_vacant():
            self._mourn(place, now)
        if place.restart_at is not None and place.restart_at > now:
            return place.restart_at - now
        if place.restart_at is not None:
            # Not waited for: it may take as long as a database is away, and the others may need us meanwhile.
            self._recruit(place).launch()
        return self._patience_with(place)

    def _patience_with(self, place: _Place) -> float | None:
        """Kill who takes too long to start; answers the seconds until that is the case, None for never."""
        process = place.process
        if process is None or process.state != "initializing":
            return None
        left = place.launched_at + process.start_timeout.total_seconds() - self._clock.monotonic()
        if left <= 0:
            logger.error("%s", process.too_slow())
        return max(left, 0.1)

    def _mourn(self, place: _Place, now: float) -> None:
        assert place.process is not None
        name, code = place.process.service_name, place.process.exit_code
        failure = place.process.start_failure()
        if failure is not None:
            logger.error("%s", failure)  # with the traceback, which the child has written
        place.process.stop()  # it is dead: this only forgets it
        self.events.emit(ProcessDied(name, code))
        place.deaths = [*recent(place.deaths, now), now]
        pause = pause_before_restart(len(place.deaths))
        if pause is None:
            raise CrashLoop(f"{name} died {len(place.deaths)} times in a row, the last time with exit code {code}")
        place.restart_at = now + pause
        self.events.emit(ProcessRestarting(name, len(place.deaths), pause))

    def _stop_members(self) -> None:
        for place in reversed(self._places):
            if place.process is not None:
                try:
                    place.process.stop()
                except Exception:
                    logger.exception("%s: stop() raised", place.process.service_name)

    def _judge(self) -> None:
        """Count a member that crashed while it drained as our crash; one that we had to kill was told of already."""
        for place in self._places:
            code = place.process.exit_code if place.process is not None and place.restart_at is None else None
            if code not in (None, 0, -signal.SIGKILL):
                assert place.process is not None
                raise StartFailed(f"{place.process.service_name} ended with exit code {code} while it drained")
