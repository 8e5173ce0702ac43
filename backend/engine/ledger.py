"""Turns verdicts into rows: a run each, or for many dropped in a row one range row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from backend.engine.misfire import Action, Verdict
from backend.model.instants import DAY, SECOND
from backend.model.plan import NewRun, RangeExtension
from backend.model.policies import Reason
from backend.model.run import RunState, TriggerType
from backend.model.schedule import Schedule

SINGLE_ROWS = 20
"""Dropped occurrences in a row that are recorded one by one; what follows becomes a range row."""
RETRY_SPAN = DAY
CHAIN_SPACING = SECOND
MISSED = frozenset({Reason.MISSED, Reason.CAP, Reason.CATCHUP_WINDOW})


class SkipStreak(NamedTuple):
    """The latest occurrences that did not run, all for one reason, across turns."""

    reason: str | None
    length: int
    range_at: int | None


class Rows(NamedTuple):
    """What one plan writes into the ledger."""

    runs: list[NewRun]
    extension: RangeExtension | None
    streak: SkipStreak


class RowMaker(NamedTuple):
    """Makes ledger rows for one schedule at one instant."""

    schedule: Schedule
    now: int
    run_id: Callable[[int], str]
    delays: Mapping[int, int] = {}
    """How much later than their nominal time occurrences are scheduled."""

    def rows(self, verdicts: Sequence[Verdict], following: int | None) -> Rows:
        """Record all verdicts; `following` is the first instant after them."""
        runs: list[NewRun] = []
        extension: RangeExtension | None = None
        streak = SkipStreak(self.schedule.skip_reason, self.schedule.skip_count, self.schedule.skip_range_at)
        nexts = _following(verdicts, following)
        for (reason, overlapped), group in groupby(zip(verdicts, nexts, strict=True), key=_fate):
            pairs = list(group)
            if reason is None:
                runs += self._accepted(pairs)
                streak = SkipStreak(None, 0, None)
                continue
            made, more, streak = self._dropped([v.nominal_at for v, _ in pairs], reason, streak)
            runs += [run._replace(state=RunState.SKIPPED) for run in made] if overlapped else made
            extension = more or extension
        return Rows(runs, extension, streak)

    def _accepted(self, pairs: Sequence[tuple[Verdict, int | None]]) -> Iterator[NewRun]:
        chain = [verdict.nominal_at for verdict, _ in pairs if verdict.action is Action.CHAIN]
        spacing = spacing_of(chain)
        waits = {nominal_at: place * spacing for place, nominal_at in enumerate(chain)}
        for verdict, following in pairs:
            yield self._accept(verdict, following, wait=waits.get(verdict.nominal_at))

    def _accept(self, verdict: Verdict, following: int | None, *, wait: int | None) -> NewRun:
        # What waits for others may begin after the schedule's next time, which is no bound for its retries then.
        bounded = following is not None and verdict.action is Action.RUN
        until = min(following or 0, self.now + RETRY_SPAN) if bounded else self.now + RETRY_SPAN
        due_at = verdict.nominal_at + self.delays.get(verdict.nominal_at, 0)
        # What is planned before its delay is over must wait for it, as only what is chained does when it is queued.
        waits = wait is not None or due_at > self.now
        return self._row(verdict.nominal_at)._replace(
            state=_STATES[verdict.action],
            available_at=max(self.now + (wait or 0), due_at),
            retry_until_at=until,
            chained=1 if waits else 0,
            missed_count=verdict.missed.number,
            missed_first_at=verdict.missed.first_at,
            missed_last_at=verdict.missed.last_at,
        )

    def _dropped(
        self, instants: Sequence[int], reason: Reason, streak: SkipStreak
    ) -> tuple[list[NewRun], RangeExtension | None, SkipStreak]:
        if streak.reason != reason:
            streak = SkipStreak(reason, 0, None)
        total = streak.length + len(instants)
        if streak.range_at is not None:
            extension = RangeExtension(self.schedule.key, streak.range_at, len(instants), instants[-1])
            return [], extension, SkipStreak(reason, total, streak.range_at)
        if total <= SINGLE_ROWS:
            return [self._drop(i, reason) for i in instants], None, SkipStreak(reason, total, None)
        row = self._drop(instants[0], reason)._replace(
            missed_count=len(instants), missed_first_at=instants[0], missed_last_at=instants[-1]
        )
        return [row], None, SkipStreak(reason, total, instants[0])

    def _drop(self, nominal_at: int, reason: Reason) -> NewRun:
        state = RunState.MISSED if reason in MISSED else RunState.SKIPPED
        return self._row(nominal_at)._replace(state=state, reason=reason, finished_at=self.now)

    def _row(self, nominal_at: int) -> NewRun:
        return NewRun(
            id=self.run_id(nominal_at),
            schedule_key=self.schedule.key,
            namespace=self.schedule.namespace,
            nominal_at=nominal_at,
            backfill_id="",
            trigger_type=TriggerType.SCHEDULE,
            state=RunState.QUEUED,
            reason=None,
            scheduled_at=nominal_at + self.delays.get(nominal_at, 0),
            queued_at=self.now,
            available_at=self.now,
            finished_at=None,
            retry_until_at=self.now,
            chained=0,
            missed_count=0,
            missed_first_at=None,
            missed_last_at=None,
            input=None,
            revision=self.schedule.revision,
        )


_STATES = {Action.RUN: RunState.QUEUED, Action.CHAIN: RunState.HELD, Action.BUFFER: RunState.BUFFERED}


def _fate(pair: tuple[Verdict, int | None]) -> tuple[Reason | None, bool]:
    return pair[0].reason, pair[0].overlapped


def _following(verdicts: Sequence[Verdict], following: int | None) -> list[int | None]:
    return [*(verdict.nominal_at for verdict in verdicts[1:]), following] if verdicts else []


def spacing_of(chain: Sequence[int]) -> int:
    """Spread a chain at one a second, but never slower than twice the schedule's own rate."""
    if len(chain) < 2:
        return 0
    own = (chain[-1] - chain[0]) // (len(chain) - 1)
    return min(CHAIN_SPACING, own // 2)
