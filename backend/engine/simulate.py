"""Replays schedules over a range without firing: when runs start, what overlaps, what an outage costs. Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from backend.engine.due import find_next
from backend.engine.jitter import delay
from backend.engine.misfire import Lateness
from backend.engine.timing import Timing, load_timing
from backend.engine.track import Offered, Range, Track
from backend.errors import FieldError
from backend.model.instants import DAY, MINUTE
from backend.model.policies import MisfirePolicy, OverlapPolicy

MOST = 5_000_000
"""Occurrences that one simulation replays at the most."""
STEP = 100
"""Instants between two pauses, in which others may run."""
MOST_PEAKS = 10
MOST_NAMED = 100
LONGEST_WARM_UP = DAY
"""How long before the range a run may have begun that is taken to be still open in it."""
NEVER = 2**62


class Line(NamedTuple):
    """A schedule as far as it is replayed. Lengths in microseconds."""

    id: str
    timing: str
    seed: str
    jitter: int
    misfire_policy: MisfirePolicy
    misfire_threshold: int
    catchup_window: int
    overlap_policy: OverlapPolicy
    runs_left: int | None
    duration: int

    @property
    def is_plain(self) -> bool:
        """Tell whether its runs simply start at their nominal times."""
        return not (self.jitter or self.duration) and self.runs_left is None


class Forecast(NamedTuple):
    """What a replay found. `counts` has the starts of each minute from the beginning of the range."""

    counts: array[int]
    total: int
    peak: int
    peak_minutes: Sequence[int]
    """The first minutes with the most starts, counted from the beginning of the range."""
    peak_schedules: Sequence[tuple[str, int]]
    """Who starts in these minutes, and how often, most first."""
    peak_schedule_count: int
    offered: Sequence[tuple[str, Offered]]
    """What became of occurrences that overlapped or were late, by schedule, where there were any."""
    unplannable: Sequence[tuple[str, str]]
    """Schedules that were left out, and why."""


class TooMany(FieldError):
    """There is more to replay than one simulation does."""


def simulate(lines: Sequence[Line], span: Range, outage: Range | None = None) -> Generator[None, None, Forecast]:
    """Replay; pauses every few instants, so that the caller can let others run.

    TooMany when there are more than MOST. A schedule that cannot be planned is left out, and named.
    """
    found = Findings(array("L", bytes(array("L").itemsize * -(-(span.to_at - span.from_at) // MINUTE))))
    for text, members in _by_timing(lines).items():
        try:
            nominals = yield from _nominals(text, span, members, (MOST - found.replayed) // len(members))
        except TooMany:
            raise
        except ValueError as error:
            found.unplannable += [(line.id, str(error)) for line in members]
            continue
        found.replayed += (len(nominals) - 1) * len(members)
        plain = [line for line in members if line.is_plain and outage is None]
        if plain:
            yield from found.add_plain(plain, nominals, span)
        for line in members if len(plain) < len(members) else ():
            if not line.is_plain or outage is not None:
                track = Track(line.overlap_policy, line.duration, span, outage, runs_left=line.runs_left)
                yield from _replay(line, nominals, track, outage)
                yield from found.add(line.id, track, span)
    return found.forecast()


@dataclass(slots=True)
class Findings:
    """What a replay has found so far; `counts` has the starts of each minute."""

    counts: array[int]
    replayed: int = 0
    total: int = 0
    starts: list[tuple[str, array[int]]] = field(default_factory=list)
    offered: list[tuple[str, Offered]] = field(default_factory=list)
    unplannable: list[tuple[str, str]] = field(default_factory=list)

    def add(self, id_: str, track: Track, span: Range) -> Iterator[None]:
        """Take what one schedule did."""
        yield from self._count([id_], track.starts, span)
        if track.offered != Offered():
            self.offered.append((id_, track.offered))

    def add_plain(self, lines: Sequence[Line], nominals: Sequence[int], span: Range) -> Iterator[None]:
        """Take schedules whose runs start at their nominal times, which they share."""
        starts = nominals[bisect_left(nominals, span.from_at) : bisect_left(nominals, span.to_at)]
        yield from self._count([line.id for line in lines], starts, span)

    def _count(self, ids: Sequence[str], starts: Sequence[int], span: Range) -> Iterator[None]:
        minutes = array("L")
        for place, at in enumerate(starts):
            minute = (at - span.from_at) // MINUTE
            minutes.append(minute)
            self.counts[minute] += len(ids)
            if place % (10 * STEP) == 0:
                yield
        self.total += len(minutes) * len(ids)
        if minutes:
            self.starts += [(id_, minutes) for id_ in ids]

    def forecast(self) -> Forecast:
        """Find the peak, and who makes it."""
        # Step by step in Python, since nothing else gets to run while one long call in C goes on.
        peak = 0
        for count in self.counts:
            peak = max(peak, count)
        minutes = [minute for minute, count in enumerate(self.counts) if count == peak][:MOST_PEAKS] if peak else []
        who: Counter[str] = Counter()
        for id_, own in self.starts:
            if number := sum(bisect_right(own, minute) - bisect_left(own, minute) for minute in minutes):
                who[id_] = number
        return Forecast(
            counts=self.counts,
            total=self.total,
            peak=peak,
            peak_minutes=minutes,
            peak_schedules=who.most_common(MOST_NAMED),
            peak_schedule_count=len(who),
            offered=self.offered,
            unplannable=self.unplannable,
        )


def _by_timing(lines: Sequence[Line]) -> Mapping[str, list[Line]]:
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(line.timing, []).append(line)
    return groups


def _nominals(text: str, span: Range, members: Sequence[Line], most: int) -> Generator[None, None, array[int]]:
    """List the nominal times of a timing, and the first after the range or NEVER; who shares it shares the list."""
    # A run that began before the range may still be open in it, and an occurrence be delayed into it.
    before = max(line.jitter + min(line.duration, LONGEST_WARM_UP) for line in members)
    timing, found = load_timing(text), array("q")
    instant = _next(timing, span.from_at - before - 1)
    while instant is not None and instant < span.to_at:
        if len(found) >= most:
            rule = f"there are more than {MOST:,} occurrences before it"
            raise TooMany(rule, "give a shorter range, or fewer schedules", "to")
        found.append(instant)
        if len(found) % STEP == 0:
            yield
        instant = _next(timing, instant)
    found.append(NEVER if instant is None else instant)
    return found


def _next(timing: Timing, after: int) -> int | None:
    # Not by way of the engine's cache, which would lose what it needs for what comes next.
    return find_next(timing, after, after)


def _replay(line: Line, nominals: Sequence[int], track: Track, outage: Range | None) -> Iterator[None]:
    late: dict[int, int] = {}
    for place, (nominal_at, due_at) in enumerate(_due(line, nominals)):
        if line.runs_left is not None and track.made >= line.runs_left:
            break
        # What is due just when the server returns is planned with what it finds.
        if outage is not None and outage.from_at <= due_at <= outage.to_at:
            late[nominal_at] = due_at - nominal_at
            continue
        _return(line, late, track, outage)
        late = {}
        track.offer(nominal_at, due_at)
        if place % STEP == 0:
            yield
    _return(line, late, track, outage)
    track.advance(nominals[-1])


def _return(line: Line, late: Mapping[int, int], track: Track, outage: Range | None) -> None:
    """Let the policies decide about what became due during the outage, as the engine would at its end."""
    if late and outage is not None:
        lateness = Lateness(outage.to_at, line.misfire_threshold, line.catchup_window, late)
        track.offer_late(line.misfire_policy, list(late), lateness)


def _due(line: Line, nominals: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Pair nominal times with when they are due, but for the last, which lies behind the range."""
    for nominal_at, following in pairwise(nominals):
        yield nominal_at, nominal_at + delay(line.seed, nominal_at, line.jitter, following)
