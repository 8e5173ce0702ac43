"""P17: a shutdown waits for long jobs without a deadline, then SIGKILL comes and what ran is lost."""

from __future__ import annotations

import time
from pathlib import Path

from tests.acceptance.server import Server, leased, until
from tests.acceptance.sink import Answer, listening_sink


def test_a_long_job_is_given_to_another_replica_when_its_server_has_to_leave(tmp_path: Path) -> None:
    with listening_sink() as sink, Server(tmp_path, shutdown_grace="1s", lease="1h") as leaving:
        sink.on("/long", Answer(after=60), Answer())
        leaving.ready().create("long", sink.target("/long"))
        run = leaving.post("/schedules/long/trigger")
        until("its request", lambda: sink.at("/long"))
        with Server(tmp_path, lease="1h") as staying:
            staying.ready()
            asked = time.monotonic()
            assert leaving.stop() == 0
            assert time.monotonic() - asked < 15  # the grace is 1 s; the job would go on for a minute
            # Were it not given back, the other one would wait for the end of an hour's lease.
            finished = staying.run(run["id"])
            assert staying.stop() == 0
    assert finished["state"] == "succeeded"
    assert [attempt["state"] for attempt in finished["attempts"]] == ["released", "succeeded"]
    assert [request.attempt for request in sink.at("/long")] == [1, 2]
    assert {request.key for request in sink.at("/long")} == {run["id"]}
    assert leased(tmp_path) == []
