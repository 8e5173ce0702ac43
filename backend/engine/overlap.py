"""What becomes of an occurrence while an earlier run of its schedule is open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from backend.engine.misfire import Action, Verdict
from backend.model.policies import OverlapPolicy, Reason


def admit(policy: OverlapPolicy, verdicts: Sequence[Verdict], *, open_run: bool) -> list[Verdict]:
    """Apply the policy to what misfire handling let through, in order of time.

    A chain of late occurrences never overlaps anything, since each waits for the one before it. Under `skip`,
    what is planned in one turn with a chain takes its place at the chain's end: `fire_all` promises that all
    run, `skip` that no two run at a time, and this keeps both.
    """
    match policy:
        case OverlapPolicy.ALLOW_ALL:
            return list(verdicts)
        case OverlapPolicy.SKIP:
            return _skip(verdicts, open_run=open_run)
        case _:
            assert_never(policy)


def _skip(verdicts: Sequence[Verdict], *, open_run: bool) -> list[Verdict]:
    admitted: list[Verdict] = []
    busy, chained = open_run, False
    for verdict in verdicts:
        match verdict.action:
            case Action.DROP:
                admitted.append(verdict)
            case Action.CHAIN:
                admitted.append(verdict)
                busy = chained = True
            case Action.RUN if chained:
                admitted.append(verdict._replace(action=Action.CHAIN))
            case Action.RUN if busy:
                admitted.append(Verdict(verdict.nominal_at, Action.DROP, Reason.OVERLAP))
            case Action.RUN:
                admitted.append(verdict)
                busy = True
            case _:
                assert_never(verdict.action)
    return admitted
