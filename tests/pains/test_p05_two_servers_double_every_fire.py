"""P5: two instances, or a rolling deploy, double every fire."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.acceptance.server import Server, stamp, until
from tests.acceptance.sink import Answer, Sink, listening_sink

DUE = 1000


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening_sink() as sink:
        yield sink


def server_on(folder: Path) -> Server:
    return Server(folder, lease="2s", poll_interval="50ms")


def test_two_servers_on_one_database_run_each_of_1000_due_schedules_once(tmp_path: Path, sink: Sink) -> None:
    sink.on("/due", Answer(after=0.05))  # so that one alone has its hands full for most of a second
    with server_on(tmp_path) as one, server_on(tmp_path) as two:
        one.ready()
        two.ready()
        once = {"kind": "once", "at": stamp(int(time.time()) + 3)}
        many = [{"id": f"s{n}", "triggers": [once], "target": sink.target("/due")} for n in range(DUE)]
        one.post("/schedules/batch", {"schedules": many})
        until("all requests", lambda: len(sink.at("/due")) >= DUE)
        two.all_final()
        rows = one.query("select schedule_key, count(*) from runs group by schedule_key")
        assert len(rows) == DUE
        assert {count for _, count in rows} == {1}
        assert one.query("select state, count(*) from runs group by state") == [("succeeded", DUE)]
        workers = dict(one.query("select worker, count(*) from attempts group by worker"))
        assert len(workers) == 2, f"only one of them worked, so this has shown nothing: {workers}"
    assert len({request.run_id for request in sink.at("/due")}) == DUE
    assert len(sink.at("/due")) == DUE


def test_a_rolling_deploy_neither_doubles_nor_loses_a_fire(tmp_path: Path, sink: Sink) -> None:
    with server_on(tmp_path) as old:
        old.ready().create("tick", sink.target("/tick"), triggers=[{"kind": "interval", "every": "1s"}])
        until("a first fire", lambda: sink.at("/tick"))
        with server_on(tmp_path) as new:
            new.ready()
            assert old.stop() == 0
            fired = len(sink.at("/tick"))
            until("a fire by the new one alone", lambda: len(sink.at("/tick")) > fired)
            with server_on(tmp_path) as newest:
                newest.ready()
                assert new.stop() == 0
                fired = len(sink.at("/tick"))
                until("a fire by the newest alone", lambda: len(sink.at("/tick")) > fired)
                newest.post("/schedules/tick/pause")
                newest.all_final()
        statement = "select nominal_at from runs where reason is null order by nominal_at"
        nominal = [row[0] for row in old.query(statement)]
    assert len(nominal) == len(sink.at("/tick"))
    assert {later - sooner for sooner, later in pairwise(nominal)} == {1_000_000}
