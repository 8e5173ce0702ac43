"""P3: a crash at the 03:00 peak: runs were created, and never sent."""

from __future__ import annotations

import time
from pathlib import Path

from tests.acceptance.server import Server, stamp, until
from tests.acceptance.sink import Answer, listening_sink

DUE = 200


def test_what_was_planned_when_the_server_was_killed_at_the_peak_is_sent(tmp_path: Path) -> None:
    with listening_sink() as sink:
        sink.on("/due", Answer(after=0.2))
        with Server(tmp_path, lease="1s", worker_concurrency="8") as server:
            server.ready()
            once = {"kind": "once", "at": stamp(int(time.time()) + 2)}
            many = [{"id": f"s{n}", "triggers": [once], "target": sink.target("/due")} for n in range(DUE)]
            server.post("/schedules/batch", {"schedules": many})
            until("the peak", lambda: server.query("select 1 from runs limit 1"))
            server.kill()
            assert server.query("select count(*) from runs where state in ('queued', 'running')") == [(DUE,)]
        with Server(tmp_path, lease="1s") as server:
            server.ready().all_final()
            assert server.query("select state, count(*) from runs group by state") == [("succeeded", DUE)]
        dispatched = sink.by_run().values()
    assert len(dispatched) == DUE
    assert all({request.key for request in requests} == {requests[0].run_id} for requests in dispatched)
