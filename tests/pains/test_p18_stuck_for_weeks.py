"""P18: a run downstream is stuck for weeks, and nobody looks."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.server import Server, until
from tests.acceptance.sink import Answer, listening_sink


def test_a_run_is_stopped_when_its_maximum_time_is_over(tmp_path: Path) -> None:
    with listening_sink() as sink, Server(tmp_path) as server:
        sink.on("/stuck", Answer(after=3600))
        server.ready().create("stuck", sink.target("/stuck"), timeout="1s", retry={"max_attempts": 2})
        found = server.run(server.post("/schedules/stuck/trigger")["id"])
        assert (found["state"], [a["state"] for a in found["attempts"]]) == ("timed_out", ["timed_out"] * 2)
        assert "timed out after 1 s" in found["error"]
        assert server.stop() == 0


def test_a_person_sees_who_is_at_a_stuck_run_and_stops_it(tmp_path: Path) -> None:
    with listening_sink() as sink, Server(tmp_path) as server:
        sink.on("/stuck", Answer(after=3600))
        server.ready().create("stuck", sink.target("/stuck"), timeout="1d")
        run = server.post("/schedules/stuck/trigger")
        until("its request", lambda: sink.at("/stuck"))
        worker = until("its worker", lambda: server.get("/workers")["items"])[0]
        assert (worker["pid"], worker["runs"], worker["state"]) == (server.process.pid, 1, "working")
        assert server.post(f"/runs/{run['id']}/cancel")["state"] == "cancelled"
        until("a free place", lambda: server.get("/workers")["items"][0]["runs"] == 0)
        assert [a["state"] for a in server.run(run["id"])["attempts"]] == ["cancelled"]
        assert server.stop() == 0
        assert server.query("select count(*) from workers") == [(0,)]
