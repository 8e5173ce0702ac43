"""Off for an hour with a minutely schedule: on return each policy does what it promises, and the ledger says so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.acceptance.server import Server, until
from tests.acceptance.sink import Sink, listening_sink

HOUR = 3600
MINUTE = timedelta(minutes=1)
POLICIES = ("fire_once", "skip", "fire_all")
CLOCKED = ("-m", "tests.acceptance.clocked")


class Return(NamedTuple):
    """What came back after an hour: when its schedules began, and the last instant before the return."""

    server: Server
    sink: Sink
    first: datetime
    newest: datetime


@pytest.fixture(scope="module")
def returned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Return]:
    folder = tmp_path_factory.mktemp("server")
    with listening_sink() as sink:
        first = create_an_hour_ago(folder, sink)
        with server_at(folder) as server:
            server.ready()
            rows = until("its first rows", lambda: server.runs(schedule="late-fire_once"))
            moment = min(datetime.fromisoformat(row["queued_at"]) for row in rows)
            yield Return(server, sink, first, first + (moment - first) // MINUTE * MINUTE)


def server_at(folder: Path, *, ahead: float = 0, speed: float = 1) -> Server:
    return Server(folder, command=(*CLOCKED, str(ahead), str(speed), "30"), poll_interval="50ms")


def create_an_hour_ago(folder: Path, sink: Sink) -> datetime:
    """Let a server of an hour ago create minutely schedules, and stop; answers when they begin."""
    with server_at(folder, ahead=-HOUR) as server:
        now = datetime.fromisoformat(server.ready().create("clock", sink.target("/unused"))["created_at"])
        # The last one before the return is then half a minute late: on time by default, late for a threshold of 1 s.
        anchor = now.replace(microsecond=0) - MINUTE / 2
        trigger = {"kind": "interval", "every": "1m", "anchor": anchor.isoformat()}
        for policy in POLICIES:
            for kind, threshold in (("late", "1s"), ("on-time", "60s")):
                id_ = f"{kind}-{policy}"
                rest = {"misfire_policy": policy, "misfire_threshold": threshold}
                server.create(id_, sink.target(f"/{id_}"), triggers=[trigger], **rest)
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


def test_after_an_hour_off_fire_once_runs_the_newest_and_says_how_many_it_missed(returned: Return) -> None:
    server, sink, first, newest = returned
    ran, dropped, total = ledger(server, "late-fire_once", newest)
    assert [nominal(run) for run in ran] == [newest]
    assert (dropped, total) == ({"missed": 59}, 60)
    assert ran[0]["missed"]["count"] == 59
    assert datetime.fromisoformat(ran[0]["missed"]["first"]) == first
    assert datetime.fromisoformat(ran[0]["missed"]["last"]) == newest - MINUTE
    assert server.run(ran[0]["id"])["state"] == "succeeded"
    assert [request.run_id for request in sink.at("/late-fire_once")][:1] == [ran[0]["id"]]


def test_after_an_hour_off_skip_runs_nothing_and_the_ledger_says_what_was_missed(returned: Return) -> None:
    server, sink, first, newest = returned
    ran, dropped, _ = ledger(server, "late-skip", newest)
    assert (ran, dropped) == ([], {"missed": 60})
    row = server.runs(schedule="late-skip", state="missed")[-1]
    assert row["missed"]["count"] == 60
    assert datetime.fromisoformat(row["missed"]["first"]) == first
    assert datetime.fromisoformat(row["missed"]["last"]) == newest
    dispatched = {request.headers["x-nominal-time"] for request in sink.at("/late-skip")}
    assert all(datetime.fromisoformat(time) > newest for time in dispatched)


def test_after_an_hour_off_an_occurrence_within_the_threshold_is_on_time_under_every_policy(returned: Return) -> None:
    server, _, first, newest = returned
    once, once_dropped, _ = ledger(server, "on-time-fire_once", newest)
    skip, skip_dropped, _ = ledger(server, "on-time-skip", newest)
    every, every_dropped, _ = ledger(server, "on-time-fire_all", newest)
    assert [nominal(run) for run in once] == [nominal(run) for run in skip] == [newest]
    assert once_dropped == skip_dropped == {"missed": 59}
    assert (once[0]["missed"]["count"], skip[0]["missed"]["count"]) == (59, 0)
    assert [nominal(run) for run in every] == [first + n * MINUTE for n in range(60)]
    assert every_dropped == {}


def test_after_an_hour_off_fire_all_runs_everything_oldest_first_one_after_another_spread_over_time(
    returned: Return,
) -> None:
    server, sink, first, newest = returned
    schedule = "late-fire_all"
    until("three dispatches", lambda: len(sink.at(f"/{schedule}")) >= 3)
    ran, dropped, _ = ledger(server, schedule, newest)
    assert [nominal(run) for run in ran] == [first + n * MINUTE for n in range(60)]
    assert dropped == {}
    assert {run["state"] for run in ran} <= {"succeeded", "running", "queued", "held"}
    assert sum(run["state"] == "held" for run in ran) > 30
    assert server.stop() == 0
    times = [request.at for request in sink.at(f"/{schedule}")]
    # One a second, of which a busy machine may delay some, but not all.
    assert times[-1] - times[0] > 0.5 * (len(times) - 1), times
    # The chain goes on where it stood, in a time that runs thirty times as fast.
    with server_at(server.folder, ahead=1, speed=30) as fast:
        fast.ready()
        until("its end", lambda: all(run["state"] == "succeeded" for run in ledger(fast, schedule, newest)[0]))
    chain = [request.headers["x-nominal-time"] for request in sink.at(f"/{schedule}")][:60]
    assert [datetime.fromisoformat(time) for time in chain] == [first + n * MINUTE for n in range(60)]
