"""What becomes of a run: retried, timed out, refused, redirected, blocked, cancelled; and what the ledger tells."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.server import Server, is_alive, until
from tests.acceptance.sink import Answer, Sink, listening_sink


@pytest.fixture(scope="module")
def sink(database_of_servers: str) -> Iterator[Sink]:
    assert database_of_servers  # one for each kind of database: what was asked of it is counted
    with listening_sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server"), poll_interval="50ms") as server:
        yield server.ready()


def trigger(server: Server, id_: str, **body: Any) -> dict[str, Any]:
    """Run a schedule now, and wait for the end."""
    return server.run(server.post(f"/schedules/{id_}/trigger", body)["id"])


def test_a_run_that_fails_twice_and_then_succeeds_shows_three_attempts_with_their_errors(
    server: Server, sink: Sink
) -> None:
    sink.on("/third", Answer(500, "no luck"), Answer(503, "still none"), Answer(200, "done"))
    server.create("third", sink.target("/third"))
    run = trigger(server, "third")
    assert (run["state"], run["attempt"], run["error"], run["output"]) == ("succeeded", 3, None, "done")
    assert [(a["number"], a["state"], a["status_code"]) for a in run["attempts"]] == [
        (1, "failed", 500),
        (2, "failed", 503),
        (3, "succeeded", 200),
    ]
    assert "no luck" in run["attempts"][0]["error"]
    assert "still none" in run["attempts"][1]["error"]
    assert run["attempts"][2]["error"] is None
    assert [request.attempt for request in sink.at("/third")] == [1, 2, 3]
    assert {request.key for request in sink.at("/third")} == {run["id"]}


def test_a_run_whose_attempts_all_fail_is_failed_with_the_last_error(server: Server) -> None:
    server.create("never", {"kind": "command", "argv": ["sh", "-c", "echo oops; exit 3"]})
    run = trigger(server, "never")
    assert (run["state"], run["attempt"]) == ("failed", 3)
    assert run["error"] == "exited with 3: oops"
    assert run["output"] == "oops\n"


def test_a_command_over_its_timeout_is_stopped_with_all_it_started(server: Server) -> None:
    pids = server.folder / "timed"
    script = f"sleep 300 & echo $$ $! > {pids}; wait"
    server.create("long", {"kind": "command", "argv": ["sh", "-c", script]}, timeout="1s", retry={"max_attempts": 1})
    run = trigger(server, "long")
    assert run["state"] == "timed_out"
    assert run["attempts"][0]["state"] == "timed_out"
    assert run["error"] == "timed out after 1 s and was stopped"
    until("the end of its processes", lambda: not any(is_alive(int(pid)) for pid in pids.read_text().split()))


def test_a_request_over_its_timeout_is_given_up(server: Server, sink: Sink) -> None:
    sink.on("/hang", Answer(after=60))
    server.create("hang", sink.target("/hang"), timeout="200ms", retry={"max_attempts": 2})
    run = trigger(server, "hang")
    assert run["state"] == "timed_out"
    assert [a["state"] for a in run["attempts"]] == ["timed_out", "timed_out"]


@pytest.mark.parametrize("status", [401, 404])
def test_a_schedule_refused_five_times_in_a_row_pauses_itself_and_says_why(
    server: Server, sink: Sink, status: int
) -> None:
    id_ = f"refused-{status}"
    sink.on(f"/{id_}", Answer(status, "go away"))
    server.create(id_, sink.target(f"/{id_}"))
    for count in range(5):
        assert server.get(f"/schedules/{id_}")["state"] == "active", count
        run = trigger(server, id_)
        assert (run["state"], run["attempt"]) == ("failed", 1)
    schedule = server.get(f"/schedules/{id_}")
    assert (schedule["state"], schedule["next_nominal_time"]) == ("paused", None)
    assert str(status) in schedule["note"]
    assert "go away" in schedule["note"]
    assert schedule["note_by"]
    assert schedule["note_at"]
    assert server.post(f"/schedules/{id_}/resume")["state"] == "active"


def test_a_success_in_between_ends_the_streak(server: Server, sink: Sink) -> None:
    sink.on("/mixed", 404, 404, 404, 404, 200, 404)
    server.create("mixed", sink.target("/mixed"))
    for _ in range(6):
        trigger(server, "mixed")
    assert server.get("/schedules/mixed")["state"] == "active"


def test_a_redirect_is_not_followed_and_the_error_says_so(server: Server, sink: Sink) -> None:
    sink.on("/moved", Answer(302, headers={"Location": "/elsewhere"}))
    server.create("moved", sink.target("/moved"))
    run = trigger(server, "moved")
    assert (run["state"], run["attempt"]) == ("failed", 1)
    assert "302" in run["error"]
    assert "redirects are not followed" in run["error"]
    assert not sink.at("/elsewhere")


def test_retry_after_is_honoured(server: Server, sink: Sink) -> None:
    sink.on("/busy", Answer(429, headers={"Retry-After": "1"}), 200)
    server.create("busy", sink.target("/busy"))
    assert trigger(server, "busy")["state"] == "succeeded"
    first, second = sink.at("/busy")
    assert second.at - first.at >= 0.95


def test_a_cancelled_command_is_stopped_at_once_and_never_runs_again(server: Server) -> None:
    pids = server.folder / "cancelled"
    server.create("cancel", {"kind": "command", "argv": ["sh", "-c", f"echo $$ > {pids}; sleep 300"]})
    id_ = server.post("/schedules/cancel/trigger")["id"]
    pid = int(until("its pid", lambda: pids.read_text() if pids.exists() else None))
    run = server.post(f"/runs/{id_}/cancel")
    assert run["state"] == "cancelled"
    until("the end of its process", lambda: not is_alive(pid), 5)
    run = server.get(f"/runs/{id_}")
    assert run["state"] == "cancelled"
    assert [a["state"] for a in run["attempts"]] == ["cancelled"]
    assert server.post(f"/runs/{id_}/cancel") == run  # once more is no news


def test_what_has_ended_cannot_be_cancelled(server: Server) -> None:
    server.create("ended", {"kind": "command", "argv": ["true"]})
    run = trigger(server, "ended")
    assert server.ask("POST", f"/runs/{run['id']}/cancel").status == 409
    assert server.get(f"/runs/{run['id']}") == run


def test_a_target_learns_which_run_it_is_and_gets_the_input(server: Server, sink: Sink) -> None:
    server.create("told", sink.target("/told"), input={"a": 1, "b": 2})
    run = trigger(server, "told", input={"b": 3})
    (request,) = sink.at("/told")
    assert request.headers["x-schedule-id"] == "told"
    assert request.headers["x-run-id"] == request.headers["idempotency-key"] == run["id"]
    assert request.headers["x-attempt"] == "1"
    assert request.headers["x-nominal-time"] == run["nominal_time"]
    envelope = json.loads(request.body)
    assert envelope["input"] == {"a": 1, "b": 3}
    assert envelope["run_id"] == run["id"]


def test_a_long_output_is_cut_with_a_flag(server: Server) -> None:
    server.create("chatty", {"kind": "command", "argv": ["sh", "-c", "yes | head -c 1000000"]})
    run = trigger(server, "chatty")
    assert run["state"] == "succeeded"
    assert run["output_truncated"]
    assert len(run["output"]) <= 65536


def test_a_private_address_is_refused_when_literal_and_blocked_when_a_name_leads_there(
    tmp_path: Path, sink: Sink
) -> None:
    with Server(tmp_path, allow_private_urls="false", lease="1s") as server:
        server.ready()
        body = {"triggers": [{"kind": "interval", "every": "1d"}], "target": sink.target("/inside")}
        refused = server.ask("POST", "/schedules", body)
        assert refused.status == 422
        assert refused.body["errors"][0]["field"] == "target.url"
        server.create("named", {"kind": "http", "url": f"http://localhost:{sink.port}/inside"})
        run = trigger(server, "named")
    assert (run["state"], run["attempt"]) == ("failed", 1)
    assert run["error"].startswith("blocked:")
    assert not sink.at("/inside")
