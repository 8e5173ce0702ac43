"""What an open run does to the occurrences after it, pure."""

from __future__ import annotations

import pytest

from backend.engine.misfire import Action, Missed, Verdict
from backend.engine.overlap import admit
from backend.model.policies import OverlapPolicy, Reason

KINDS = {
    "R": (Action.RUN, None),
    "C": (Action.CHAIN, None),
    "m": (Action.DROP, Reason.MISSED),
    "o": (Action.DROP, Reason.OVERLAP),
}


def verdicts(text: str) -> list[Verdict]:
    return [Verdict(place, *KINDS[letter]) for place, letter in enumerate(text)]


@pytest.mark.parametrize(
    ("policy", "open_run", "given", "admitted"),
    [
        ("skip", False, "", ""),
        ("skip", False, "R", "R"),
        ("skip", True, "R", "o"),
        ("skip", False, "RRR", "Roo"),
        ("skip", True, "RRR", "ooo"),
        ("skip", False, "mmR", "mmR"),
        ("skip", True, "mmR", "mmo"),
        # A chain never overlaps anything: its members wait for each other, and for whatever is open.
        ("skip", False, "CCC", "CCC"),
        ("skip", True, "CCC", "CCC"),
        ("skip", False, "CCRR", "CCCC"),
        ("skip", True, "mCCR", "mCCC"),
        ("allow_all", False, "RRR", "RRR"),
        ("allow_all", True, "RRR", "RRR"),
        ("allow_all", True, "mCCR", "mCCR"),
    ],
)
def test_a_policy_admits(policy, open_run, given, admitted):
    assert admit(OverlapPolicy(policy), verdicts(given), open_run=open_run) == verdicts(admitted)


def test_an_admitted_run_keeps_what_it_reports_as_missed():
    run = Verdict(5, Action.RUN, missed=Missed(2, 3, 4))
    assert admit(OverlapPolicy.SKIP, [run], open_run=False) == [run]
