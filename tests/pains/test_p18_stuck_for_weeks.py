"""P18: a run downstream is stuck for weeks, and nobody looks."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from pathlib import Path

from tests.acceptance.server import Server, until
from tests.acceptance.sink import Answer, Seen, Sink, listening_sink


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


def say(server: Server, run_id: str, verb: str, token: str, body: object = None) -> tuple[int, dict[str, object]]:
    """Speak as the callee of a run, with nothing but its token."""
    headers = {"X-Callback-Token": token, "Content-Type": "application/json"}
    with closing(http.client.HTTPConnection(*server.where, timeout=30)) as connection:
        connection.request("POST", f"/api/v1/runs/{run_id}/{verb}", json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def called(sink: Sink, path: str, times: int = 1) -> Seen:
    until("its request", lambda: len(sink.at(path)) >= times)
    return sink.at(path)[times - 1]


def test_a_long_run_outlives_the_server_and_is_ended_by_whoever_was_called(tmp_path: Path) -> None:
    with listening_sink() as sink:
        sink.on("/long", 202)
        with Server(tmp_path, public_url="https://scheduler.example.org/") as server:
            server.ready().create("long", sink.target("/long"), completion="callback", timeout="7d")
            run_id = server.post("/schedules/long/trigger")["id"]
            request = called(sink, "/long")
            until("the callee's turn", lambda: server.get(f"/runs/{run_id}")["awaited_until"])
            assert server.get("/workers")["items"][0]["runs"] == 0, "no place is taken"
            server.kill()
        token = request.headers["x-callback-token"]
        assert request.headers["x-callback-url"] == f"https://scheduler.example.org/api/v1/runs/{run_id}"
        assert json.loads(request.body)["callback"] == {"token": token, "url": request.headers["x-callback-url"]}
        with Server(tmp_path) as server:
            server.ready()
            assert say(server, run_id, "heartbeat", token)[1]["cancelled"] is False
            assert say(server, run_id, "complete", token[:-4] + "xxxx", {"state": "failed"})[0] == 401
            status, shown = say(server, run_id, "complete", token, {"state": "succeeded", "output": {"rows": 3}})
            assert (status, shown["state"], shown["output"]) == (200, "succeeded", '{"rows":3}')
            assert say(server, run_id, "complete", token, {"state": "succeeded"})[0] == 200, "twice is as good as once"
            assert say(server, run_id, "complete", token, {"state": "failed"})[0] == 409
            assert len(sink.at("/long")) == 1
            assert server.stop() == 0


def test_a_callee_that_falls_silent_is_called_again_and_one_that_is_cancelled_hears_it(tmp_path: Path) -> None:
    with listening_sink() as sink, Server(tmp_path, poll_interval="100ms", lease="1s") as server:
        server.ready().create("mute", sink.target("/mute"), completion="callback", heartbeat_timeout="1s")
        run_id = server.post("/schedules/mute/trigger")["id"]
        first, second = called(sink, "/mute"), called(sink, "/mute", 2)
        tokens = [request.headers["x-callback-token"] for request in (first, second)]
        assert [request.key for request in (first, second)] == [run_id, run_id]
        assert say(server, run_id, "heartbeat", tokens[0])[0] == 401, "what an old attempt says counts no more"
        assert say(server, run_id, "heartbeat", tokens[1])[0] == 200
        assert server.post(f"/runs/{run_id}/cancel")["state"] == "cancelled"
        status, problem = say(server, run_id, "heartbeat", tokens[1])
        assert (status, problem["cancelled"]) == (409, True)
        assert [a["state"] for a in server.run(run_id)["attempts"]] == ["timed_out", "cancelled"]
        assert server.stop() == 0
