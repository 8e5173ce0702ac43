"""The life of a process, in this process."""

import doctest
import itertools
import pickle
import threading

import pytest

from backend import app
from backend.app import run_processes
from backend.errors import ConfigurationError
from backend.events import Fact, ProcessDraining, ProcessStateChanged
from backend.process.base import Process
from backend.process.guard import guarded
from backend.process.state import MOVES, IllegalMove, ProcessState, move

LEGAL = {
    ("idle", "initializing"),
    ("idle", "exited"),
    ("initializing", "running"),
    ("initializing", "exited"),
    ("running", "exited"),
}


class Witnessed(Process):
    """Remembers its facts, and ends when asked."""

    def __init__(self) -> None:
        super().__init__("witnessed")
        self.facts: list[Fact] = []

    def prepare(self) -> None:
        self.events.subscribe(self.facts.append)

    def run(self) -> None:
        self.ready()
        self.stop_requested.wait()

    def states(self) -> list[str]:
        return [fact.state for fact in self.facts if isinstance(fact, ProcessStateChanged)]


class Failing(Witnessed):
    def run(self) -> None:
        raise ValueError("boom")


class Hasty(Witnessed):
    def run(self) -> None:
        self.ready()


class TwiceReady(Witnessed):
    def run(self) -> None:
        self.ready()
        self.ready()


@pytest.mark.parametrize(("current", "to"), list(itertools.product(ProcessState, ProcessState)))
def test_only_the_moves_of_the_table_are_legal(current, to):
    if (current, to) in LEGAL:
        assert move(current, to) is to
    else:
        with pytest.raises(IllegalMove, match=f"{current} cannot become {to}"):
            move(current, to)


def test_every_state_has_its_row_in_the_table():
    assert set(MOVES) == set(ProcessState)


def test_a_process_is_idle_until_it_is_started():
    assert Witnessed().state == "idle"


def test_a_process_that_ends_by_itself_has_passed_through_all_states():
    process = Hasty()
    process.start(background=False)
    assert process.state == "exited"
    assert process.states() == ["initializing", "running", "exited"]
    assert not any(isinstance(fact, ProcessDraining) for fact in process.facts)


def test_milliseconds_never_go_back_from_one_state_to_the_next():
    process = Hasty()
    process.start(background=False)
    times = [fact.milliseconds for fact in process.facts if isinstance(fact, ProcessStateChanged)]
    assert times == sorted(times)
    assert times[0] >= 0


def test_stop_from_another_thread_drains_once_however_often_it_is_called():
    process = Witnessed()
    thread = threading.Thread(target=process.start, args=(False,))
    thread.start()
    process.stop()
    process.stop()
    thread.join(10)
    process.stop()
    assert not thread.is_alive()
    assert process.state == "exited"
    assert sum(isinstance(fact, ProcessDraining) for fact in process.facts) <= 1


def test_draining_is_told_once_and_is_a_flag_inside_running():
    seen = []
    running = threading.Event()

    class Telling(Witnessed):
        def run(self) -> None:
            self.ready()
            running.set()
            self.stop_requested.wait()
            seen.append((self.state, self.draining))

    process = Telling()
    thread = threading.Thread(target=process.start, args=(False,))
    thread.start()
    assert running.wait(10)
    assert not process.draining
    process.stop()
    process.stop()
    thread.join(10)
    assert seen == [("running", True)]
    assert not process.draining
    assert [fact.service for fact in process.facts if isinstance(fact, ProcessDraining)] == ["witnessed"]


def test_an_exception_comes_out_after_the_state_became_exited():
    process = Failing()
    with pytest.raises(ValueError, match="boom"):
        process.start(background=False)
    assert process.state == "exited"
    assert process.states() == ["initializing", "exited"]


def test_a_process_stopped_before_its_start_never_runs():
    process = Failing()
    process.stop()
    process.start(background=False)
    process.start(background=True)
    assert process.state == "exited"
    assert process.facts == []


def test_a_process_is_not_started_twice():
    process = Hasty()
    process.start(background=False)
    with pytest.raises(IllegalMove):
        process.start(background=False)
    with pytest.raises(IllegalMove):
        process.start(background=True)


def test_being_ready_twice_is_refused():
    with pytest.raises(IllegalMove, match="running cannot become running"):
        TwiceReady().start(background=False)


def test_a_process_travels_without_its_subscribers_and_arrives_idle():
    process = Hasty()
    process.events.subscribe(lambda fact: None)
    process.start(background=False)
    process.facts.clear()
    arrived = pickle.loads(pickle.dumps(process))
    assert (arrived.service_name, arrived.grace, arrived.state) == ("witnessed", process.grace, "idle")


def test_run_processes_needs_at_least_one():
    with pytest.raises(ValueError, match="no process"):
        run_processes()


def test_an_object_without_the_contract_is_refused_before_anything_starts():
    class Lame:
        service_name = "lame"
        start = None

    process = Hasty()
    with pytest.raises(TypeError, match=r"Lame is no process: it lacks stop, state, start\(\)"):
        run_processes(process, Lame())  # type: ignore[arg-type]  # that is the point
    assert process.state == "idle"


def test_a_class_in_place_of_an_object_is_told_apart():
    with pytest.raises(TypeError, match=r"Hasty is a class; give an object, such as Hasty\(\)"):
        run_processes(Hasty)  # type: ignore[arg-type]  # that is the point


def test_run_processes_works_outside_the_main_thread():
    process = Hasty()
    thread = threading.Thread(target=run_processes, args=(process,))
    thread.start()
    thread.join(10)
    assert process.states() == ["initializing", "running", "exited"]


def test_the_guard_gives_a_refused_configuration_its_one_sentence_and_two(capsys):
    with pytest.raises(SystemExit) as ended, guarded():
        raise ConfigurationError("SCHEDULER_PORT: no port")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "SCHEDULER_PORT: no port\n"


def test_the_guard_logs_a_crash_with_its_traceback_and_gives_one(caplog):
    with pytest.raises(SystemExit) as ended, guarded(), guarded():
        raise KeyError("lost")
    assert ended.value.code == 1
    assert [record.name for record in caplog.records] == ["backend.app"]
    assert "Traceback" in caplog.text
    assert "KeyError: 'lost'" in caplog.text


def test_the_example_of_run_processes_is_true():
    assert doctest.testmod(app) == (0, 2)
