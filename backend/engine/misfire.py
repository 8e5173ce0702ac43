"""What becomes of occurrences that are late: one pure function over plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple, assert_never

from backend.model.policies import MisfirePolicy, Reason

CATCH_UP_CAP = 1000
"""Late occurrences that `fire_all` runs at the most; the newest are kept."""


class Action(Enum):
    """What happens to an occurrence."""

    RUN = "run"
    CHAIN = "chain"
    """Run, one after another with the others of the chain."""
    BUFFER = "buffer"
    """Run once no earlier run is open."""
    DROP = "drop"


class Missed(NamedTuple):
    """How many occurrences a run stands for beside its own, and when they were."""

    number: int
    first_at: int | None
    last_at: int | None


NONE_MISSED = Missed(0, None, None)


class Verdict(NamedTuple):
    """What happens to the occurrence at one nominal time; a dropped one has a reason."""

    nominal_at: int
    action: Action
    reason: Reason | None = None
    missed: Missed = NONE_MISSED
    overlapped: bool = False
    """Dropped because of runs that are open or wait, not because it is late."""


class Lateness(NamedTuple):
    """What counts as late, and what is too late for any policy. All in microseconds."""

    now: int
    threshold: int
    window: int
    delays: Mapping[int, int] = {}
    """How much later than their nominal time occurrences were due."""

    def is_on_time(self, nominal_at: int) -> bool:
        """Tell what is no later than the threshold; a delay that was asked for is no lateness."""
        return nominal_at + self.delays.get(nominal_at, 0) >= self.now - self.threshold

    def is_expired(self, nominal_at: int) -> bool:
        """Tell what is late, and too late for any policy."""
        return nominal_at < self.now - self.window and not self.is_on_time(nominal_at)


def choose(
    policy: MisfirePolicy,
    instants: Sequence[int],
    lateness: Lateness,
    *,
    beyond: Sequence[int] = (),
    carried: Missed = NONE_MISSED,
) -> list[Verdict]:
    """Decide every instant, in order. One no later than the threshold is on time and runs.

    `beyond` are newer instants that are due as well and decided by the next walk: while there are any, none of ours
    is the newest. `carried` are missed occurrences of earlier walks that the next run has to report.
    """
    expired = [i for i in instants if lateness.is_expired(i)]
    late = [i for i in instants[len(expired) :] if not lateness.is_on_time(i)]
    on_time = instants[len(expired) + len(late) :]
    verdicts = [Verdict(i, Action.DROP, Reason.CATCHUP_WINDOW) for i in expired]
    newer_late = sum(not (lateness.is_on_time(i) or lateness.is_expired(i)) for i in beyond)
    verdicts += _choose_late(policy, late, newer_late=newer_late, newest_counts=not (on_time or beyond))
    verdicts += [Verdict(i, Action.RUN) for i in on_time]
    if policy is MisfirePolicy.FIRE_ONCE:
        _report_missed(verdicts, carried)
    return verdicts


def _choose_late(policy: MisfirePolicy, late: Sequence[int], *, newer_late: int, newest_counts: bool) -> list[Verdict]:
    match policy:
        case MisfirePolicy.SKIP:
            return [Verdict(i, Action.DROP, Reason.MISSED) for i in late]
        case MisfirePolicy.FIRE_ONCE:
            runs = 1 if newest_counts and late else 0
            dropped = late[: len(late) - runs]
            return [Verdict(i, Action.DROP, Reason.MISSED) for i in dropped] + [
                Verdict(i, Action.RUN) for i in late[len(dropped) :]
            ]
        case MisfirePolicy.FIRE_ALL:
            surplus = late[: max(len(late) + newer_late - CATCH_UP_CAP, 0)]
            return [Verdict(i, Action.DROP, Reason.CAP) for i in surplus] + [
                Verdict(i, Action.CHAIN) for i in late[len(surplus) :]
            ]
        case _:
            assert_never(policy)


def _report_missed(verdicts: list[Verdict], carried: Missed) -> None:
    """Let the first run carry the count and range of what was missed before it."""
    total = carried_with(carried, verdicts)
    for place, verdict in enumerate(verdicts):
        if verdict.action is Action.RUN:
            verdicts[place] = verdict._replace(missed=total)
            return


def carried_with(carried: Missed, verdicts: Sequence[Verdict]) -> Missed:
    """Add the missed occurrences among `verdicts` to those carried from earlier walks."""
    missed = [v.nominal_at for v in verdicts if v.reason is Reason.MISSED]
    if not missed:
        return carried
    first = missed[0] if carried.first_at is None else carried.first_at
    return Missed(carried.number + len(missed), first, missed[-1])
