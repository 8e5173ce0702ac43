"""Off for an hour with a minutely schedule: on return each policy does what it promises, and the ledger says so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.server import Server, until
from tests.acceptance.sink import Sink, listening_sink

HOUR = 3600
MINUTE = timedelta(minutes=1)
POLICIES = ("fire_once", "skip", "fire_all")
CLOCKED = ("-m", "tests.acceptance.clocked")


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening_sink() as sink:
        yield sink


def server_at(folder: Path, *, ahead: float = 0, speed: float = 1, **settings: str) -> Server:
    return Server(folder, command=(*CLOCKED, str(ahead), str(speed), "30"), poll_interval="50ms", **settings).ready()


def create_an_hour_ago(folder: Path, sink: Sink, **rest: Any) -> datetime:
    """Let a server of an hour ago create one minutely schedule per policy, and stop; answers when they begin."""
    with server_at(folder, ahead=-HOUR) as server:
        now = datetime.fromisoformat(server.create("clock", sink.target("/unused"))["created_at"])
        # The last one before the return is then half a minute late: on time by default, late for a threshold of 1 s.
        anchor = now.replace(microsecond=0) - MINUTE / 2
        for policy in POLICIES:
            trigger = {"kind": "interval", "every": "1m", "anchor": anchor.isoformat()}
            server.create(policy, sink.target(f"/{policy}"), triggers=[trigger], misfire_policy=policy, **rest)
        assert server.stop() == 0
    assert not sink.seen
    return anchor + MINUTE


def nominal(run: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(run["nominal_time"])


def ledger(server: Server, schedule: str, upto: datetime) -> tuple[list[dict[str, Any]], dict[str, int], int]:
    """Answer the runs up to an instant, oldest first, how many did not run by reason, and the sum."""
    rows = [run for run in reversed(server.runs(schedule=schedule)) if nominal(run) <= upto]
    dropped: dict[str, int] = {}
    ran = [row for row in rows if row["reason"] is None]
    for row in rows:
        if row["reason"] is not None:
            dropped[row["reason"]] = dropped.get(row["reason"], 0) + max(row["missed"]["count"], 1)
    return ran, dropped, len(ran) + sum(dropped.values())


def last_before(first: datetime, moment: datetime) -> datetime:
    return first + (moment - first) // MINUTE * MINUTE


def returned(server: Server) -> datetime:
    """Say when the first occurrences after the return were recorded."""
    rows = until("rows", lambda: server.runs(schedule="fire_once"))
    return min(datetime.fromisoformat(row["queued_at"]) for row in rows)


def test_after_an_hour_off_fire_once_runs_the_newest_and_says_how_many_it_missed(tmp_path: Path, sink: Sink) -> None:
    first = create_an_hour_ago(tmp_path, sink, misfire_threshold="1s")
    with server_at(tmp_path) as server:
        newest = last_before(first, returned(server))
        ran, dropped, total = ledger(server, "fire_once", newest)
        assert [nominal(run) for run in ran] == [newest]
        assert dropped == {"missed": 59}
        assert total == 60
        assert ran[0]["missed"]["count"] == 59
        assert datetime.fromisoformat(ran[0]["missed"]["first"]) == first
        assert datetime.fromisoformat(ran[0]["missed"]["last"]) == newest - MINUTE
        assert server.run(ran[0]["id"])["state"] == "succeeded"
    assert [request.run_id for request in sink.at("/fire_once")] == [ran[0]["id"]]


def test_after_an_hour_off_skip_runs_nothing_and_the_ledger_says_what_was_missed(tmp_path: Path, sink: Sink) -> None:
    first = create_an_hour_ago(tmp_path, sink, misfire_threshold="1s")
    with server_at(tmp_path) as server:
        newest = last_before(first, returned(server))
        ran, dropped, _ = ledger(server, "skip", newest)
        (row,) = server.runs(schedule="skip")
        assert (ran, dropped) == ([], {"missed": 60})
        assert (row["state"], row["missed"]["count"]) == ("missed", 60)
        assert datetime.fromisoformat(row["missed"]["first"]) == first
        assert datetime.fromisoformat(row["missed"]["last"]) == newest
    assert not sink.at("/skip")


def test_after_an_hour_off_an_occurrence_within_the_threshold_is_on_time_under_every_policy(
    tmp_path: Path, sink: Sink
) -> None:
    first = create_an_hour_ago(tmp_path, sink)
    with server_at(tmp_path) as server:
        newest = last_before(first, returned(server))
        once, once_dropped, _ = ledger(server, "fire_once", newest)
        skip, skip_dropped, _ = ledger(server, "skip", newest)
        every, every_dropped, _ = ledger(server, "fire_all", newest)
        assert [nominal(run) for run in once] == [nominal(run) for run in skip] == [newest]
        assert once_dropped == skip_dropped == {"missed": 59}
        assert (once[0]["missed"]["count"], skip[0]["missed"]["count"]) == (59, 0)
        assert [nominal(run) for run in every] == [first + n * MINUTE for n in range(60)]
        assert every_dropped == {}


def test_after_an_hour_off_fire_all_runs_everything_oldest_first_one_after_another_spread_over_time(
    tmp_path: Path, sink: Sink
) -> None:
    first = create_an_hour_ago(tmp_path, sink, misfire_threshold="1s")
    with server_at(tmp_path) as server:
        newest = last_before(first, returned(server))
        until("three dispatches", lambda: len(sink.at("/fire_all")) >= 3)
        ran, dropped, _ = ledger(server, "fire_all", newest)
        assert [nominal(run) for run in ran] == [first + n * MINUTE for n in range(60)]
        assert dropped == {}
        assert {run["state"] for run in ran} <= {"succeeded", "running", "queued", "held"}
        assert sum(run["state"] == "held" for run in ran) > 50
        assert server.stop() == 0
    times = [request.at for request in sink.at("/fire_all")]
    assert all(later - sooner > 0.5 for sooner, later in pairwise(times)), times
    # The chain goes on where it stood, in a time that runs thirty times as fast.
    with server_at(tmp_path, ahead=1, speed=30) as server:
        until(
            "the chain's end", lambda: all(run["state"] == "succeeded" for run in ledger(server, "fire_all", newest)[0])
        )
    chain = [request.headers["x-nominal-time"] for request in sink.at("/fire_all")][:60]
    assert [datetime.fromisoformat(time) for time in chain] == [first + n * MINUTE for n in range(60)]
