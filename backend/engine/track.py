"""One schedule on its way through a simulation: which of its runs are open, wait, or have begun. Pure."""

from __future__ import annotations

from array import array
from bisect import insort
from collections import Counter
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from types import MappingProxyType
from typing import NamedTuple

from backend.engine.ledger import spacing_of
from backend.engine.misfire import Action, Lateness, Verdict, choose
from backend.engine.overlap import admit
from backend.model.policies import MisfirePolicy, OverlapPolicy


class Range(NamedTuple):
    """From an instant to before another, in microseconds."""

    from_at: int
    to_at: int

    def covers(self, instant: int) -> bool:
        """Tell whether an instant lies in the range."""
        return self.from_at <= instant < self.to_at


class Offered(NamedTuple):
    """What became of occurrences that came while a run of their schedule was open, and of those that came late."""

    overlapping: int = 0
    skipped: int = 0
    waited: int = 0
    replaced: int = 0
    """Runs that were stopped to make room."""
    at_return: int = 0
    """Of those that overlap, those that an outage's end planned in one go with others."""
    late: int = 0
    """What became due during an outage."""
    ran_late: int = 0
    dropped: Mapping[str, int] = MappingProxyType({})
    """Those of them that did not run, by reason."""


class Track:
    """Takes occurrences in order of time. A run takes `duration` microseconds, and goes on through an outage."""

    def __init__(
        self,
        policy: OverlapPolicy,
        duration: int,
        span: Range,
        outage: Range | None,
        *,
        runs_left: int | None = None,
    ) -> None:
        self.starts = array("q")
        """When runs began within the range."""
        self.made = 0
        """Occurrences that became runs."""
        self.offered = Offered()
        self._policy = policy
        self._duration = duration
        self._span = span
        self._outage = outage
        self._runs_left = runs_left
        self._ends: list[int] = []
        self._ahead: list[int] = []
        """When runs of a chain begin."""
        self._waiting = 0

    def offer(self, nominal_at: int, due_at: int) -> None:
        """Take an occurrence that is on time."""
        self.advance(due_at)
        self._admit([Verdict(nominal_at, Action.RUN)], due_at)

    def offer_late(self, policy: MisfirePolicy, nominals: Sequence[int], lateness: Lateness) -> None:
        """Take all that became due during an outage, at its end, `lateness.now`."""
        self.advance(lateness.now)
        before = self.offered.overlapping
        verdicts = self._admit(choose(policy, nominals, lateness), lateness.now)
        late = [v for v in verdicts if v.nominal_at + lateness.delays.get(v.nominal_at, 0) < lateness.now]
        dropped = Counter(str(verdict.reason) for verdict in late if verdict.action is Action.DROP)
        self.offered = self.offered._replace(
            at_return=self.offered.overlapping - before,
            late=len(late),
            ran_late=len(late) - dropped.total(),
            dropped=dict(dropped),
        )

    def advance(self, now: int) -> None:
        """End what is over by `now`, and let what waits begin."""
        while self._ends and self._ends[0] <= now:
            ended_at = heappop(self._ends)
            if not self._ends and self._waiting:
                self._waiting -= 1
                self._start(ended_at)

    def _admit(self, verdicts: Sequence[Verdict], now: int) -> Sequence[Verdict]:
        """Let the overlap policy decide; answers what it decided, as far as the run limit lets it."""
        busy, before = bool(self._ends), self._waiting
        admission = admit(self._policy, verdicts, open_run=busy, buffered=self._waiting)
        allowed = self._within_limit(admission.verdicts)
        if admission.stop is not None and any(verdict.action is not Action.DROP for verdict in allowed):
            self._make_room(now)
        for verdict in allowed:
            if verdict.action is Action.RUN or (verdict.action is Action.BUFFER and not self._ends):
                self._start(now)
            elif verdict.action is Action.BUFFER:
                self._waiting += 1
        self._chain([v.nominal_at for v in allowed if v.action is Action.CHAIN], now)
        self.made += sum(verdict.action is not Action.DROP for verdict in allowed)
        if self._span.covers(now):
            self._count(allowed, waited=max(self._waiting - before, 0), busy=busy)
        return allowed

    def _within_limit(self, verdicts: Sequence[Verdict]) -> Sequence[Verdict]:
        """Cut off what comes after the last run that the schedule may have, as planning does."""
        if self._runs_left is None:
            return verdicts
        left = self._runs_left - self.made
        runs = [place for place, verdict in enumerate(verdicts) if verdict.action is not Action.DROP]
        if left <= 0:
            return ()
        return verdicts if len(runs) < left else verdicts[: runs[left - 1] + 1]

    def _make_room(self, now: int) -> None:
        # Stopping takes no time here, whether a run is asked to or not.
        ahead = sum(at > now for at in self._ahead)
        while self.starts and self.starts[-1] > now:
            self.starts.pop()
        self.offered = self.offered._replace(
            replaced=self.offered.replaced + len(self._ends) - ahead,
            skipped=self.offered.skipped + self._waiting + ahead,
        )
        self._ends, self._ahead, self._waiting = [], [], 0

    def _chain(self, nominals: Sequence[int], now: int) -> None:
        """Start late ones one after another, behind what is open unless that does not matter."""
        spacing = spacing_of(nominals)
        free_at = now if self._policy is OverlapPolicy.ALLOW_ALL else max([now, *self._ends])
        for place in range(len(nominals)):
            begins_at = max(free_at, now + place * spacing)
            self._ahead.append(begins_at)
            free_at = self._start(begins_at)

    def _count(self, verdicts: Sequence[Verdict], *, waited: int, busy: bool) -> None:
        skipped = sum(verdict.overlapped for verdict in verdicts)
        offered = sum(verdict.action is not Action.DROP or verdict.overlapped for verdict in verdicts)
        self.offered = self.offered._replace(
            overlapping=self.offered.overlapping + (offered if busy else skipped + waited),
            skipped=self.offered.skipped + skipped,
            waited=self.offered.waited + waited,
        )

    def _start(self, at: int) -> int:
        """Begin a run, after the outage if it would be in it; answers when it ends."""
        if self._outage is not None and self._outage.covers(at):
            at = self._outage.to_at
        if self._span.covers(at):
            # In order, as nearly all come.
            insort(self.starts, at)
        heappush(self._ends, at + self._duration)
        return at + self._duration
