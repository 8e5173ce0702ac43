"""What an open run does to the occurrences after it, pure: policy × open runs × buffered."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from backend.engine.misfire import NONE_MISSED, Action, Missed, Verdict
from backend.engine.overlap import MOST_BUFFERED, Admission, admit
from backend.engine.plan import plan
from backend.model.instants import MINUTE
from backend.model.plan import Displacement, Stop
from backend.model.policies import OverlapPolicy, Reason
from tests.unit.engine_cases import STORE, T0, made

KINDS: dict[str, Any] = {
    "R": (Action.RUN, None),
    "C": (Action.CHAIN, None),
    "B": (Action.BUFFER, None),
    "m": (Action.DROP, Reason.MISSED),
    "o": (Action.DROP, Reason.OVERLAP, NONE_MISSED, True),
    "c": (Action.DROP, Reason.CAP, NONE_MISSED, True),
}
FULL = MOST_BUFFERED
STOPS = {"": None, "ask": Stop.ASK, "revoke": Stop.REVOKE}


def verdicts(text: str) -> list[Verdict]:
    return [Verdict(place, *KINDS[letter]) for place, letter in enumerate(text)]


# policy, open run?, buffered, given, admitted, what becomes of the open runs
TABLE = [
    ("skip", False, 0, "", "", ""),
    ("skip", False, 0, "R", "R", ""),
    ("skip", False, 0, "RRR", "Roo", ""),
    ("skip", False, 0, "mmR", "mmR", ""),
    ("skip", True, 0, "R", "o", ""),
    ("skip", True, 0, "RRR", "ooo", ""),
    ("skip", True, 0, "mmR", "mmo", ""),
    ("skip", True, 2, "R", "o", ""),  # the policy was another one when they were buffered
    ("skip", False, 2, "R", "o", ""),
    ("buffer_one", False, 0, "", "", ""),
    ("buffer_one", False, 0, "R", "R", ""),
    ("buffer_one", False, 0, "RRR", "RBo", ""),
    ("buffer_one", False, 0, "mRR", "mRB", ""),
    ("buffer_one", True, 0, "R", "B", ""),
    ("buffer_one", True, 0, "RR", "Bo", ""),
    ("buffer_one", True, 1, "R", "o", ""),
    ("buffer_one", True, 1, "RR", "oo", ""),
    ("buffer_one", True, 7, "R", "o", ""),
    ("buffer_one", False, 1, "R", "o", ""),
    ("buffer_all", False, 0, "", "", ""),
    ("buffer_all", False, 0, "R", "R", ""),
    ("buffer_all", False, 0, "RRR", "RBB", ""),
    ("buffer_all", True, 0, "RR", "BB", ""),
    ("buffer_all", True, 5, "mR", "mB", ""),
    ("buffer_all", False, 1, "R", "B", ""),
    ("buffer_all", True, FULL - 1, "RR", "Bc", ""),
    ("buffer_all", True, FULL, "RR", "cc", ""),
    ("cancel_other", False, 0, "", "", ""),
    ("cancel_other", False, 0, "R", "R", ""),
    ("cancel_other", False, 0, "RRR", "ooR", ""),
    ("cancel_other", True, 0, "", "", ""),
    ("cancel_other", True, 0, "m", "m", ""),
    ("cancel_other", True, 0, "R", "B", "ask"),
    ("cancel_other", True, 0, "RmR", "omB", "ask"),
    ("cancel_other", True, 1, "R", "B", "ask"),
    ("cancel_other", False, 1, "R", "B", "ask"),
    ("terminate_other", False, 0, "", "", ""),
    ("terminate_other", False, 0, "R", "R", ""),
    ("terminate_other", False, 0, "RRR", "ooR", ""),
    ("terminate_other", True, 0, "m", "m", ""),
    ("terminate_other", True, 0, "R", "R", "revoke"),
    ("terminate_other", True, 0, "RRR", "ooR", "revoke"),
    ("terminate_other", True, 3, "R", "R", "revoke"),
    ("allow_all", False, 0, "RRR", "RRR", ""),
    ("allow_all", True, 0, "RRR", "RRR", ""),
    ("allow_all", True, 9, "RmR", "RmR", ""),
    ("allow_all", True, 0, "mCCR", "mCCR", ""),
]


@pytest.mark.parametrize(("policy", "open_run", "buffered", "given", "admitted", "stop"), TABLE)
def test_a_policy_admits(policy, open_run, buffered, given, admitted, stop):
    found = admit(OverlapPolicy(policy), verdicts(given), open_run=open_run, buffered=buffered)
    assert found == Admission(verdicts(admitted), STOPS[stop])


def test_the_table_has_every_policy_with_and_without_an_open_run_and_buffered_ones():
    seen = {(policy, open_run, buffered > 0) for policy, open_run, buffered, *_ in TABLE}
    for policy in set(OverlapPolicy) - {OverlapPolicy.ALLOW_ALL}:
        without = {case for case in seen if case[0] == policy}
        assert {(open_run, buffered) for _, open_run, buffered in without} >= {(False, False), (True, False)}
        assert any(buffered for _, _, buffered in without), policy


@pytest.mark.parametrize(
    ("policy", "open_run", "buffered"),
    list(product(sorted(set(OverlapPolicy) - {OverlapPolicy.ALLOW_ALL}), [False, True], [0, 1])),
)
@pytest.mark.parametrize(("given", "admitted"), [("CCC", "CCC"), ("CCRR", "CCCC"), ("mCCR", "mCCC")])
def test_a_chain_displaces_nothing_and_what_comes_with_it_joins_it(policy, open_run, buffered, given, admitted):
    # Its members wait for each other, and for whatever is open.
    found = admit(policy, verdicts(given), open_run=open_run, buffered=buffered)
    assert found == Admission(verdicts(admitted))


@pytest.mark.parametrize("policy", ["skip", "buffer_one", "buffer_all", "allow_all"])
def test_an_admitted_run_keeps_what_it_reports_as_missed(policy):
    run = Verdict(5, Action.RUN, missed=Missed(2, 3, 4))
    assert admit(OverlapPolicy(policy), [run], open_run=False).verdicts == [run]


def test_a_buffered_run_keeps_what_it_reports_as_missed():
    run = Verdict(5, Action.RUN, missed=Missed(2, 3, 4))
    [found] = admit(OverlapPolicy.BUFFER_ONE, [run], open_run=True).verdicts
    assert (found.action, found.missed) == (Action.BUFFER, run.missed)


def test_the_newest_takes_over_what_those_before_it_had_to_report():
    first, last = Verdict(5, Action.RUN, missed=Missed(2, 3, 4)), Verdict(6, Action.RUN)
    _, newest = admit(OverlapPolicy.TERMINATE_OTHER, [first, last], open_run=True).verdicts
    assert newest == last._replace(missed=first.missed)


@pytest.mark.parametrize(
    ("policy", "state", "how"), [("cancel_other", "buffered", Stop.ASK), ("terminate_other", "queued", Stop.REVOKE)]
)
def test_a_plan_names_the_occurrence_for_which_others_make_room(policy, state, how):
    planned = plan(made(overlap_policy=policy), T0 + MINUTE, STORE, open_run=True)
    assert planned.displaces == Displacement(7, T0 + MINUTE, how)
    assert [run.state for run in planned.runs] == [state]


def test_an_occurrence_beyond_the_last_run_allowed_displaces_nothing():
    schedule = made(overlap_policy="terminate_other", max_runs=3, changes={"runs_made": 3})
    assert plan(schedule, T0 + MINUTE, STORE, open_run=True).displaces is None


def test_an_occurrence_skipped_for_a_full_buffer_is_skipped_and_not_missed():
    planned = plan(made(overlap_policy="buffer_all"), T0 + MINUTE, STORE, open_run=True, buffered=FULL)
    assert [(run.state, run.reason) for run in planned.runs] == [("skipped", "cap")]


def test_a_buffered_run_may_be_retried_although_the_next_nominal_time_has_come():
    [run] = plan(made(overlap_policy="buffer_one"), T0 + MINUTE, STORE, open_run=True).runs
    assert run.retry_until_at > T0 + 2 * MINUTE


def test_a_schedule_with_a_buffered_occurrence_is_not_completed():
    once = {"kind": "once", "at": "2026-03-02T09:30:00Z"}
    later = plan(made([once], misfire_policy="skip"), T0 + 120 * MINUTE, STORE, open_run=False, buffered=1)
    assert later.schedule.state == "active"
