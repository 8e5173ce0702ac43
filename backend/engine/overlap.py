"""What becomes of an occurrence while an earlier run of its schedule is open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, assert_never

from backend.engine.misfire import Action, Verdict
from backend.model.plan import Stop
from backend.model.policies import OverlapPolicy, Reason

MOST_BUFFERED = 1000
"""Occurrences of one schedule that wait under `buffer_all` at the most."""


class Admission(NamedTuple):
    """What the overlap policy makes of occurrences, and of the runs that are open."""

    verdicts: list[Verdict]
    stop: Stop | None = None
    """How the open runs make room for the newest occurrence; what is buffered is skipped in its favour."""


def admit(policy: OverlapPolicy, verdicts: Sequence[Verdict], *, open_run: bool, buffered: int = 0) -> Admission:
    """Apply the policy to what misfire handling let through, in order of time.

    A chain of late occurrences never overlaps anything, since each waits for the one before it, and for whatever
    is open. What is planned in one turn with a chain takes its place at the chain's end: `fire_all` promises that
    all run, the other policies that no two run at a time, and this keeps both.
    """
    if policy is not OverlapPolicy.ALLOW_ALL and any(verdict.action is Action.CHAIN for verdict in verdicts):
        return Admission([_chained(verdict) for verdict in verdicts])
    return _admit(policy, verdicts, busy=open_run or buffered > 0, buffered=buffered)


def _admit(policy: OverlapPolicy, verdicts: Sequence[Verdict], *, busy: bool, buffered: int) -> Admission:
    match policy:
        case OverlapPolicy.SKIP:
            return Admission(_one_by_one(verdicts, busy=busy, room=0, without=Reason.OVERLAP))
        case OverlapPolicy.BUFFER_ONE:
            return Admission(_one_by_one(verdicts, busy=busy, room=1 - buffered, without=Reason.OVERLAP))
        case OverlapPolicy.BUFFER_ALL:
            return Admission(_one_by_one(verdicts, busy=busy, room=MOST_BUFFERED - buffered, without=Reason.CAP))
        case OverlapPolicy.CANCEL_OTHER:
            return _newest(verdicts, Action.BUFFER, Stop.ASK) if busy else _newest(verdicts, Action.RUN)
        case OverlapPolicy.TERMINATE_OTHER:
            return _newest(verdicts, Action.RUN, Stop.REVOKE if busy else None)
        case OverlapPolicy.ALLOW_ALL:
            return Admission(list(verdicts))
        case _:
            assert_never(policy)


def _chained(verdict: Verdict) -> Verdict:
    return verdict._replace(action=Action.CHAIN) if verdict.action is Action.RUN else verdict


def _one_by_one(verdicts: Sequence[Verdict], *, busy: bool, room: int, without: Reason) -> list[Verdict]:
    """Let the first run if nothing does, the next ones wait while there is room; without, they are dropped."""
    admitted: list[Verdict] = []
    for verdict in verdicts:
        if verdict.action is not Action.RUN:
            admitted.append(verdict)
        elif not busy:
            admitted.append(verdict)
            busy = True
        elif room > 0:
            admitted.append(verdict._replace(action=Action.BUFFER))
            room -= 1
        else:
            admitted.append(_dropped(verdict, without))
    return admitted


def _newest(verdicts: Sequence[Verdict], action: Action, stop: Stop | None = None) -> Admission:
    """Let the newest take the place of all others, with what the first of them had to report as missed."""
    runs = [verdict for verdict in verdicts if verdict.action is Action.RUN]
    if not runs:
        return Admission(list(verdicts))
    newest = runs[-1]._replace(action=action, missed=runs[0].missed)
    admitted = [_dropped(v, Reason.OVERLAP) if v.action is Action.RUN else v for v in verdicts]
    admitted[verdicts.index(runs[-1])] = newest
    return Admission(admitted, stop)


def _dropped(verdict: Verdict, reason: Reason) -> Verdict:
    return Verdict(verdict.nominal_at, Action.DROP, reason, overlapped=True)
