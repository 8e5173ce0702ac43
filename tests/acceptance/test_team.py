"""Teams of real processes: who dies is started again, and nobody waits for that but who died."""

from __future__ import annotations

import gc
import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

from backend.events import ProcessDied
from backend.process.base import Process
from backend.process.team import Recruit, Team
from tests.acceptance.processes import Plain, Slow
from tests.acceptance.server import until

BEAT = 0.05


class Watched(Team):
    """Members by name; `kinds` makes the first, the second and so on, the last one for ever."""

    def __init__(self, **kinds: Sequence[Callable[[str], Process]]) -> None:
        super().__init__("team")
        self.kinds = kinds
        self.came: dict[str, list[Process]] = {name: [] for name in kinds}
        self.died: list[ProcessDied] = []
        self.beats = 0
        self.events.subscribe(lambda fact: self.died.append(fact) if isinstance(fact, ProcessDied) else None)

    def members(self) -> Sequence[Recruit]:
        return [partial(self._next, name) for name in self.kinds]

    def _next(self, name: str) -> Process:
        kinds, came = self.kinds[name], self.came[name]
        came.append(kinds[min(len(came), len(kinds) - 1)](name))
        return came[-1]

    def beat(self) -> float:
        self.beats += 1
        return BEAT

    def kill_newest(self, name: str) -> None:
        """Kill a member and wait until another one has come in its place."""
        came = self.came[name]
        pid, before = came[-1].pid, len(came)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until(f"another {name}", lambda: len(came) > before and came[-1].pid)

    def runs(self, name: str) -> None:
        until(f"a running {name}", lambda: self.came[name][-1].state == "running")


@contextmanager
def running(team: Watched) -> Iterator[Watched]:
    thread = threading.Thread(target=team.start, kwargs={"background": False})
    thread.start()
    try:
        until("a team that runs", lambda: team.state == "running")
        yield team
    finally:
        team.stop()
        thread.join()


def never_ready(name: str) -> Slow:
    process = Slow(name)
    process.start_timeout = timedelta(hours=1)
    return process


def soon_given_up(name: str) -> Slow:
    process = Slow(name)
    process.start_timeout = timedelta(seconds=0.2)
    return process


def test_while_a_member_takes_long_to_start_again_the_team_beats_and_starts_others_again() -> None:
    with running(Watched(a=[Plain], b=[Plain, never_ready])) as team:
        team.kill_newest("b")
        seen = team.beats
        until("further beats", lambda: team.beats > seen + 3)
        team.kill_newest("a")
        team.runs("a")
        assert team.came["b"][-1].state == "initializing"
        seen = team.beats
        until("further beats", lambda: team.beats > seen + 3)
    assert team.state == "exited"
    assert [(death.service, death.exit_code) for death in team.died] == [("b", -9), ("a", -9)]
    assert all(process.state == "exited" for came in team.came.values() for process in came)


def test_a_member_that_does_not_get_to_run_within_its_time_is_killed_and_started_again() -> None:
    with running(Watched(a=[Plain], b=[Plain, soon_given_up, Plain])) as team:
        team.kill_newest("b")
        until("a third one", lambda: len(team.came["b"]) == 3)
        team.runs("b")
        assert [death.exit_code for death in team.died] == [-9, -9]
        gone = weakref.ref(team.came["b"].pop(0))
        gc.collect()
        assert gone() is None, "who is dead is not kept to be stopped when the program ends"
