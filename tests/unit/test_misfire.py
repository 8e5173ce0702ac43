"""Which late occurrences run: the policies, pure."""

from __future__ import annotations

import pytest

from backend.engine.misfire import NONE_MISSED, Action, Lateness, Missed, Verdict, carried_with, choose
from backend.model.policies import MisfirePolicy, Reason

NOW = 10_000
THRESHOLD = 60
LATENESS = Lateness(NOW, THRESHOLD, 5_000)
LATE = [NOW - 300, NOW - 200, NOW - 100]
ON_TIME = [NOW - 60, NOW]
EXPIRED = [NOW - 5_001]


def told(verdicts: list[Verdict]) -> str:
    """R run, C chain, m missed, w window, c cap; a number after R: the missed ones that it reports."""
    letters = {Reason.MISSED: "m", Reason.CATCHUP_WINDOW: "w", Reason.CAP: "c"}
    words = []
    for verdict in verdicts:
        if verdict.reason is not None:
            words.append(letters[verdict.reason])
        else:
            kind = "R" if verdict.action is Action.RUN else "C"
            words.append(kind + (str(verdict.missed.number) if verdict.missed.number else ""))
    return " ".join(words)


@pytest.mark.parametrize(
    ("policy", "instants", "expected"),
    [
        ("fire_once", [], ""),
        ("fire_once", ON_TIME, "R R"),
        ("fire_once", LATE, "m m R2"),
        ("fire_once", LATE[:1], "R"),
        ("fire_once", LATE + ON_TIME, "m m m R3 R"),
        ("fire_once", EXPIRED + LATE, "w m m R2"),
        ("fire_once", EXPIRED, "w"),
        ("skip", LATE, "m m m"),
        ("skip", LATE + ON_TIME, "m m m R R"),
        ("skip", EXPIRED + LATE, "w m m m"),
        ("fire_all", LATE, "C C C"),
        ("fire_all", LATE + ON_TIME, "C C C R R"),
        ("fire_all", EXPIRED + LATE, "w C C C"),
    ],
)
def test_a_policy_decides_late_occurrences_and_lets_those_on_time_run(policy, instants, expected):
    verdicts = choose(MisfirePolicy(policy), instants, LATENESS)
    assert told(verdicts) == expected
    assert [v.nominal_at for v in verdicts] == instants


@pytest.mark.parametrize("policy", list(MisfirePolicy))
@pytest.mark.parametrize(("lateness", "late"), [(59, False), (60, False), (61, True)])
def test_sixty_seconds_late_is_on_time_and_one_more_is_not(policy, lateness, late):
    verdict = choose(policy, [NOW - lateness, NOW], LATENESS)[0]
    assert (verdict.action is Action.RUN) is not late


@pytest.mark.parametrize("policy", list(MisfirePolicy))
def test_a_window_shorter_than_the_threshold_does_not_take_what_is_on_time(policy):
    assert told(choose(policy, [NOW - 50], Lateness(NOW, 60, 10))) == "R"


@pytest.mark.parametrize(("age", "expected"), [(5_000, "R"), (5_001, "w")])
def test_the_catchup_window_includes_its_last_instant(age, expected):
    assert told(choose(MisfirePolicy.FIRE_ONCE, [NOW - age], LATENESS)) == expected


def test_fire_once_says_how_many_were_missed_and_from_when_to_when():
    *_, run = choose(MisfirePolicy.FIRE_ONCE, LATE, LATENESS)
    assert run.missed == Missed(2, LATE[0], LATE[1])


def test_what_earlier_walks_missed_is_reported_by_the_first_run_only():
    verdicts = choose(MisfirePolicy.FIRE_ONCE, LATE + ON_TIME, LATENESS, carried=Missed(40, 1, 39))
    assert [v.missed for v in verdicts if v.action is Action.RUN] == [Missed(43, 1, LATE[-1]), NONE_MISSED]


@pytest.mark.parametrize("policy", [MisfirePolicy.SKIP, MisfirePolicy.FIRE_ALL])
def test_other_policies_report_no_missed_occurrences(policy):
    verdicts = choose(policy, LATE + ON_TIME, LATENESS, carried=Missed(40, 1, 39))
    assert all(v.missed == NONE_MISSED for v in verdicts)


def test_while_newer_ones_are_left_to_the_next_walk_none_is_the_newest():
    assert told(choose(MisfirePolicy.FIRE_ONCE, LATE, LATENESS, beyond=ON_TIME)) == "m m m"


def test_fire_all_keeps_the_newest_thousand():
    late = list(range(3_000, 3_000 + 1_003))
    verdicts = choose(MisfirePolicy.FIRE_ALL, late, Lateness(10_000, 60, 100_000))
    assert told(verdicts[:5]) == "c c c C C"
    assert sum(v.action is Action.CHAIN for v in verdicts) == 1_000


@pytest.mark.parametrize(
    ("beyond", "kept"),
    [(range(8_000, 9_000), 0), (range(9_000, 9_400), 600), (range(9_940, 9_990), 1_000)],
    ids=["a thousand later late ones", "400 later late ones", "only later ones on time"],
)
def test_fire_all_counts_the_late_ones_of_the_next_walk_against_its_cap(beyond, kept):
    late = list(range(2_000, 4_000))
    verdicts = choose(MisfirePolicy.FIRE_ALL, late, Lateness(10_000, 60, 100_000), beyond=beyond)
    assert sum(v.action is Action.CHAIN for v in verdicts) == kept
    assert sum(v.reason is Reason.CAP for v in verdicts) == 2_000 - kept
    assert [v.action for v in verdicts].count(Action.RUN) == 0


def test_carrying_adds_only_missed_ones():
    verdicts = [Verdict(1, Action.DROP, Reason.CATCHUP_WINDOW), Verdict(2, Action.DROP, Reason.MISSED)]
    assert carried_with(NONE_MISSED, verdicts) == Missed(1, 2, 2)
    assert carried_with(Missed(3, 0, 1), verdicts[:1]) == Missed(3, 0, 1)
