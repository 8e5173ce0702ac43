"""How a server comes up, and what its health routes say when it does not turn."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from tests.acceptance.server import Server, free_port, until, write_lock

TRIES = 4
STALLING = ("-m", "tests.acceptance.clocked", "0", "1", "1")


def waited(pid: int) -> float:
    """Count the seconds in which a process could have run, had nobody else kept the processors busy."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0  # this kernel does not tell


def seconds_to_livez(folder: Path) -> float:
    port = free_port()
    began = time.monotonic()
    with Server(folder, port=str(port)) as server:
        server.at(port)
        until("an answer of /livez", lambda: server.health("/livez") == 200)
        return time.monotonic() - began - waited(server.process.pid)


def test_livez_answers_within_two_seconds_of_the_start_of_the_process(tmp_path: Path) -> None:
    seconds: list[float] = []
    while not seconds or (min(seconds) > 2 and len(seconds) < TRIES):  # others may use this machine too
        seconds.append(seconds_to_livez(tmp_path / str(len(seconds))))
    assert min(seconds) <= 2, seconds


def test_the_port_opens_first_and_readyz_refuses_until_the_engine_turns(tmp_path: Path) -> None:
    port = free_port()
    with Server(tmp_path, port=str(port)) as server:
        server.at(port)
        answers: list[int | None] = []

        def ready() -> bool:
            answers.append(server.health("/readyz"))
            return answers[-1] == 200

        until("readiness", ready)
        assert server.said("ready"), "it was ready before the engine had turned"
    answered = [answer for answer in answers if answer is not None]
    assert answered[:-1], "nobody answered before it was ready"
    assert set(answered[:-1]) == {503}


@pytest.mark.sqlite_only("it ends before it opens a database")
def test_a_port_in_use_ends_with_2_and_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with Server(tmp_path, port=port) as server:
            assert server.exit_code() == 2
            (sentence,) = server.errors.splitlines()
    assert "SCHEDULER_PORT" in sentence
    assert port in sentence


@pytest.mark.sqlite_only("it ends before it opens a database")
@pytest.mark.parametrize(
    ("setting", "value"),
    [("port", "70000"), ("leese", "5s"), ("lease", "0s"), ("database_url", "mysql://x"), ("log_level", "loud")],
)
def test_a_refused_configuration_ends_with_2_and_one_sentence_that_names_it(
    tmp_path: Path, setting: str, value: str
) -> None:
    with Server(tmp_path, **{setting: value}) as server:
        assert server.exit_code() == 2
        (sentence,) = server.errors.splitlines()
    assert f"SCHEDULER_{setting.upper()}" in sentence


def test_an_engine_that_stands_still_is_noticed_by_the_health_routes_and_so_is_its_recovery(tmp_path: Path) -> None:
    with Server(tmp_path, command=STALLING, poll_interval="100ms") as server:
        server.ready().create(
            "due", {"kind": "command", "argv": ["true"]}, triggers=[{"kind": "interval", "every": "1s"}]
        )
        assert server.health("/livez") == 200
        with write_lock(tmp_path):
            until("a 503 of /livez", lambda: server.health("/livez") == 503)
            assert server.health("/readyz") == 503
        until("recovery", lambda: server.health("/readyz") == server.health("/livez") == 200)


def test_a_thousand_schedules_make_the_second_start_no_slower_to_answer(tmp_path: Path) -> None:
    daily = [{"kind": "interval", "every": "1d"}]
    target = {"kind": "command", "argv": ["true"]}
    with Server(tmp_path) as server:
        server.ready()
        many = [{"id": f"s{n}", "triggers": daily, "target": target} for n in range(1000)]
        server.post("/schedules/batch", {"schedules": many})
        assert server.stop() == 0
    seconds = min(seconds_to_livez(tmp_path) for _ in range(2))
    assert seconds <= 3
