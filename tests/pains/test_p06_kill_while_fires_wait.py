"""P6: killed while fires wait for a worker, they are gone without a trace (30 due: 12 fired, 18 lost, measured)."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.server import Server, until
from tests.acceptance.sink import Answer, listening_sink


def test_of_thirty_due_fires_none_is_lost_when_the_server_is_killed_while_they_wait(tmp_path: Path) -> None:
    with listening_sink() as sink:
        sink.on("/due", *[Answer(after=60)] * 12, Answer())
        with Server(tmp_path, lease="1s", worker_concurrency="12") as server:
            now = server.ready().create("clock", sink.target())["created_at"]
            once = {"kind": "once", "at": now}
            many = [{"id": f"s{n}", "triggers": [once], "target": sink.target("/due")} for n in range(30)]
            server.post("/schedules/batch", {"schedules": many})
            until("twelve at work", lambda: len(sink.at("/due")) == 12)
            server.kill()
            assert dict(server.query("select state, count(*) from runs group by state")) == {
                "running": 12,
                "queued": 18,
            }
        with Server(tmp_path, lease="1s") as server:
            server.ready().all_final()
            assert server.query("select state, count(*) from runs group by state") == [("succeeded", 30)]
            lost = server.query("select state, count(*) from attempts group by state order by state")
            assert lost == [("lost", 12), ("succeeded", 30)]
        dispatched = sink.by_run().values()
    assert len(dispatched) == 30
    assert all({request.key for request in requests} == {requests[0].run_id} for requests in dispatched)
    again = [requests for requests in dispatched if len(requests) == 2]
    assert len(again) == 12
    assert all([request.attempt for request in requests] == [1, 2] for requests in again)
