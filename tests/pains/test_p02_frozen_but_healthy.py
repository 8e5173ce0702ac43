"""P2: a frozen scheduler passes its health check, since that asks for a flag and not whether the loop lives."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.server import Server, until, write_lock
from tests.acceptance.sink import listening_sink


def test_a_scheduler_that_cannot_plan_says_so_and_so_it_does_when_it_can_again(tmp_path: Path) -> None:
    with listening_sink() as sink, Server(tmp_path, poll_interval="50ms") as server:
        server.ready().create("tick", sink.target("/tick"), triggers=[{"kind": "interval", "every": "1s"}])
        until("a first fire", lambda: sink.at("/tick"))
        with write_lock(tmp_path):
            until("that it is not ready", lambda: server.health("/readyz") == 503)
        until("that it is ready", lambda: server.health("/readyz") == 200)
        fired = len(sink.at("/tick"))
        until("more fires", lambda: len(sink.at("/tick")) >= fired + 2)
        assert server.stop() == 0
