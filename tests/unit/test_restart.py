"""When a process that died is started again."""

import doctest
from datetime import timedelta

import pytest

from backend.executor.several import ApiRole, SchedulerTeam
from backend.process import restart
from backend.process.restart import LONGEST_PAUSE, MOST_DEATHS, WINDOW, pause_before_restart, recent
from backend.process.team import Team
from backend.settings import Settings


def test_pauses_grow_until_it_is_a_crash_loop():
    pauses = [pause_before_restart(deaths) for deaths in range(1, MOST_DEATHS + 1)]
    assert all(pause is not None and 0 < pause <= LONGEST_PAUSE for pause in pauses)
    assert pauses == sorted(pauses, key=lambda pause: pause or 0)
    assert pause_before_restart(MOST_DEATHS + 1) is None
    assert pause_before_restart(5000) is None


def test_deaths_of_long_ago_do_not_count():
    assert recent([0.0, 10.0, WINDOW], WINDOW + 5) == [10.0, WINDOW]


def test_the_examples_are_true():
    assert doctest.testmod(restart).failed == 0
    assert doctest.testmod(restart).attempted == 2


def test_a_team_without_members_says_what_to_override():
    with pytest.raises(NotImplementedError, match=r"must override members"):
        Team("team").start(background=False)


def test_a_team_that_was_stopped_before_its_start_starts_nobody():
    team = SchedulerTeam(settings=Settings())
    team.stop()
    team.start(background=False)
    assert team.state == "exited"


def test_a_role_knows_its_grace_before_it_is_sent_to_the_background():
    role = ApiRole(Settings(shutdown_grace=timedelta(seconds=7)), None, b"")  # type: ignore[arg-type]
    assert role.grace == timedelta(seconds=7)
