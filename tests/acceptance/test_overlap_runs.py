"""Real runs under each overlap policy: schedules of every second, whose first run takes long."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.server import Server, is_alive, until
from tests.acceptance.sink import Answer, Sink, listening_sink

SECONDLY = [{"kind": "interval", "every": "1s"}]


@pytest.fixture(scope="module")
def sink(database_of_servers: str) -> Iterator[Sink]:
    assert database_of_servers  # one for each kind of database: what was asked of it is counted
    with listening_sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    # Between the heartbeats of a lease of a minute lie twenty seconds: what happens sooner came by the bell.
    with Server(tmp_path_factory.mktemp("server"), poll_interval="50ms", lease="60s") as server:
        yield server.ready()


def start(server: Server, policy: str, target: dict[str, Any]) -> str:
    id_ = policy.replace("_", "-")
    server.create(id_, target, triggers=SECONDLY, overlap_policy=policy, misfire_threshold="60s")
    return id_


def ledger(server: Server, id_: str) -> list[dict[str, Any]]:
    """Read the runs of a schedule, oldest first."""
    return server.runs(schedule=id_)[::-1]


def spans(runs: list[dict[str, Any]]) -> list[tuple[datetime, datetime]]:
    ended = [run for run in runs if run["started_at"] and run["finished_at"]]
    return sorted((datetime.fromisoformat(r["started_at"]), datetime.fromisoformat(r["finished_at"])) for r in ended)


def side_by_side(runs: list[dict[str, Any]]) -> bool:
    return any(one[1] > two[0] for one, two in pairwise(spans(runs)))


def stopped(server: Server, id_: str) -> list[dict[str, Any]]:
    server.post(f"/schedules/{id_}/pause")
    until("an end of all its runs", lambda: all(run["finished_at"] for run in ledger(server, id_)))
    return [run for run in ledger(server, id_) if run["reason"] != "paused"]


def test_skip_runs_one_and_records_the_others(server: Server, sink: Sink) -> None:
    sink.on("/skip", Answer(after=2.5), 200)
    id_ = start(server, "skip", sink.target("/skip"))
    until("a second run", lambda: len(sink.at("/skip")) >= 2)
    runs = stopped(server, id_)
    assert runs[0]["state"] == "succeeded"
    assert (runs[1]["state"], runs[1]["reason"]) == ("skipped", "overlap")
    assert not side_by_side(runs)


def test_buffer_one_runs_the_first_that_waited_and_skips_those_after_it(server: Server, sink: Sink) -> None:
    sink.on("/one", Answer(after=3.5), 200)
    id_ = start(server, "buffer_one", sink.target("/one"))
    until("one that waits", lambda: "buffered" in [run["state"] for run in ledger(server, id_)])
    until("one that does not", lambda: "skipped" in [run["state"] for run in ledger(server, id_)])
    until("a second run", lambda: len(sink.at("/one")) >= 2)
    runs = stopped(server, id_)
    assert [run["state"] for run in runs[:3]] == ["succeeded", "succeeded", "skipped"]
    assert runs[2]["reason"] == "overlap"
    assert runs[1]["started_at"] >= runs[0]["finished_at"]
    assert not side_by_side(runs)


def test_buffer_all_runs_all_of_them_in_order_one_after_another(server: Server, sink: Sink) -> None:
    sink.on("/all", Answer(after=3.5), 200)
    id_ = start(server, "buffer_all", sink.target("/all"))
    until("some that wait", lambda: [run["state"] for run in ledger(server, id_)].count("buffered") >= 2)
    until("more runs", lambda: len(sink.at("/all")) >= 4)
    runs = stopped(server, id_)
    assert {run["state"] for run in runs} == {"succeeded"}
    times = [request.headers["x-nominal-time"] for request in sink.at("/all")]
    assert times == sorted(times) == [run["nominal_time"] for run in runs]
    assert not side_by_side(runs)


def test_cancel_other_stops_the_open_run_and_then_runs_the_newer_one(server: Server, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"echo $$ >> {pids}; exec sleep 300"
    id_ = start(server, "cancel_other", {"kind": "command", "argv": ["sh", "-c", script]})
    until("three that began", lambda: pids.exists() and len(pids.read_text().split()) >= 3, 20)
    server.post(f"/schedules/{id_}/pause")
    began = [run for run in ledger(server, id_) if run["started_at"]]
    assert [run["state"] for run in began[:-1]] == ["cancelled"] * (len(began) - 1)
    assert began[-1]["state"] == "running"
    attempt = began[0]["attempts"][0]
    assert (attempt["state"], len(began[0]["attempts"])) == ("cancelled", 1)
    assert "cancel_other" in attempt["error"]
    assert not side_by_side(began[:-1])
    *old, newest = [int(pid) for pid in pids.read_text().split()]
    assert not any(is_alive(pid) for pid in old)
    assert is_alive(newest)
    server.post(f"/runs/{began[-1]['id']}/cancel")


def test_terminate_other_runs_the_newer_one_at_once_and_stops_the_open_one(server: Server, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"echo $$ >> {pids}; exec sleep 300"
    id_ = start(server, "terminate_other", {"kind": "command", "argv": ["sh", "-c", script]})
    until("three that began", lambda: pids.exists() and len(pids.read_text().split()) >= 3, 20)
    server.post(f"/schedules/{id_}/pause")
    runs = [run for run in ledger(server, id_) if run["started_at"]]
    assert [run["state"] for run in runs[:-1]] == ["cancelled"] * (len(runs) - 1)
    assert "terminate_other" in runs[0]["attempts"][0]["error"]
    until("the end of the old ones", lambda: sum(is_alive(int(pid)) for pid in pids.read_text().split()) == 1, 10)
    server.post(f"/runs/{runs[-1]['id']}/cancel")


def test_allow_all_runs_them_beside_each_other(server: Server, sink: Sink) -> None:
    sink.on("/beside", Answer(after=3.5), 200)
    id_ = start(server, "allow_all", sink.target("/beside"))
    until("runs beside the first", lambda: len(sink.at("/beside")) >= 3)
    runs = stopped(server, id_)
    assert {run["state"] for run in runs} == {"succeeded"}
    assert side_by_side(runs)


def test_three_skips_in_a_row_are_told_in_the_log_and_counted(server: Server, sink: Sink) -> None:
    sink.on("/streak", Answer(after=60))
    server.create("streak", sink.target("/streak"), triggers=SECONDLY)
    told = until(
        "the line", lambda: [line for line in server.said("overlap_streak") if line["schedule_id"] == "streak"]
    )
    assert told[0]["skips"] == 3
    server.post("/schedules/streak/pause")
    [open_run] = [run for run in ledger(server, "streak") if run["state"] == "running"]
    server.post(f"/runs/{open_run['id']}/cancel")
