"""Both clients against a real server of a few lines: what they send, read and survive."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from backend.client import NEVER, AsyncClient, Client, NotFound, Retry, Unauthorized, Unavailable, Unreachable
from backend.model.run import RunState
from backend.service.views import RunView, ScheduleView
from tests.unit.cli_server import Server, problem, run_of, schedule, serving

QUICK = Retry(initial=0.01, maximum=0.05)
HEAVY = ("fastapi", "starlette", "uvicorn", "asyncpg", "apsw", "structlog", "prometheus_client", "pydantic_settings")
LATE = ("pydantic", "aiohttp", "asyncio", "orjson", "anyio")

Ask = Callable[..., Any]


def blocking(url: str, method: str, *args: Any, retry: Retry = QUICK, **named: Any) -> Any:
    """Call one method of the client that answers; a list is read to its end."""
    with Client(url, api_key="sched_a_b", retry=retry) as client:
        result = getattr(client, method)(*args, **named)
        return list(result) if isinstance(result, Iterator) else result


def awaiting(url: str, method: str, *args: Any, retry: Retry = QUICK, **named: Any) -> Any:
    """Call one method of the client that is awaited."""

    async def ask() -> Any:
        async with AsyncClient(url, api_key="sched_a_b", retry=retry) as client:
            result = getattr(client, method)(*args, **named)
            return [item async for item in result] if hasattr(result, "__aiter__") else await result

    return asyncio.run(ask())


@pytest.fixture(params=[blocking, awaiting], ids=["blocking", "awaiting"])
def ask(request: pytest.FixtureRequest) -> Ask:
    client: Ask = request.param
    return client


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as told:
        yield told


def whole(**changes: Any) -> dict[str, Any]:
    """Give a schedule with all that a server answers."""
    added: dict[str, Any] = dict.fromkeys(("note_by", "note_at", "error", "source"))
    times = {"created_at": "2026-11-22T09:00:00Z", "updated_at": "2026-11-22T09:00:00Z"}
    return schedule(**added, **times, description="daily", warnings=[], failure_streak=0) | changes


def test_a_schedule_comes_as_the_servers_own_model(server: Server, ask: Ask):
    server.on("GET", "/schedules/digest", 200, whole())
    found = ask(server.url, "get_schedule", "digest")
    assert type(found) is ScheduleView
    assert (found.revision, found.state, found.triggers[0].kind) == (1, "active", "cron")
    assert server.asked[0].headers["Authorization"] == "Bearer sched_a_b"


def test_what_a_newer_server_knows_more_is_no_reason_to_fail(server: Server, ask: Ask):
    lunar = {"kind": "lunar", "phase": "full"}
    server.on("GET", "/schedules/digest", 200, whole(triggers=[lunar], state="resting", colour="red", target=None))
    found = ask(server.url, "get_schedule", "digest")
    assert (found.triggers, found.state, found.target, found.revision) == ([lunar], "resting", None, 1)
    assert found.timeout.total_seconds() == 180


def test_a_list_is_walked_page_by_page(server: Server, ask: Ask):
    def page(asked: Any) -> tuple[int, Any]:
        second = asked.query.get("cursor") == "next"
        return 200, {"items": [run_of(2 if second else 1)], "next_cursor": None if second else "next"}

    server.when("GET", "/runs", page)
    found = ask(server.url, "iterate_runs", schedule="digest", state="succeeded")
    assert [run.id[-1] for run in found] == ["1", "2"]
    assert {run.state for run in found} == {RunState.SUCCEEDED}
    assert server.asked[1].query == {"schedule": "digest", "state": "succeeded", "limit": "500", "cursor": "next"}
    first = ask(server.url, "list_runs", limit=1)
    assert (len(first.items), first.next_cursor) == (1, "next")


def test_a_refusal_is_an_error_with_the_whole_document(server: Server, ask: Ask):
    with pytest.raises(NotFound) as told:
        ask(server.url, "get_run", "nope")
    assert told.value.document["detail"] == "no such thing"
    server.on("DELETE", "/schedules/digest", 401, problem(401, "Unauthorized", "no key that is in force"))
    with pytest.raises(Unauthorized):
        ask(server.url, "delete_schedule", "digest")


def test_a_server_that_starts_is_waited_for(server: Server, ask: Ask):
    left = [503, 503, 503]

    def starting(_: Any) -> tuple[int, Any]:
        return (left.pop(), {"status": "starting"}) if left else (202, whole_run())

    server.when("POST", "/schedules/digest/trigger", starting)
    run = ask(server.url, "trigger_schedule", "digest", {"topic": "news"})
    assert type(run) is RunView
    assert len({asked.headers["Idempotency-Key"] for asked in server.asked}) == 1
    assert server.asked[-1].body == {"input": {"topic": "news"}}
    left += [503] * 99
    with pytest.raises(Unavailable) as told:
        ask(server.url, "trigger_schedule", "digest", retry=NEVER)
    assert told.value.state == "starting"


def whole_run(**changes: Any) -> dict[str, Any]:
    added: dict[str, Any] = {"namespace": "default", "backfill_id": "", "losses": 0, "revision": 1, "input": None}
    times = {"queued_at": "2026-11-22T09:00:00Z", "available_at": "2026-11-22T09:00:00Z"}
    return run_of(1, **added, **times) | changes


@pytest.mark.parametrize(
    ("method", "given", "named", "sent"),
    [
        ("pause_schedules", ({"tag": "team:growth"}, "moving"), {}, ("POST", "/schedules/pause")),
        ("resume_schedules", ({"tag": "team:growth"},), {"dry_run": True}, ("POST", "/schedules/resume")),
        ("heartbeat_run", ("one",), {"token": "t"}, ("POST", "/runs/one/heartbeat")),
        ("complete_run", ("one", "succeeded"), {"output": {"rows": 3}}, ("POST", "/runs/one/complete")),
        ("try_route", ("ops",), {}, ("POST", "/notifications/ops/test")),
        ("put_route", ("ops", {"events": ["failure"]}), {}, ("PUT", "/notifications/ops")),
        ("get_stats", (), {}, ("GET", "/stats")),
        ("iterate_changes", (), {"id": "digest", "from_": "2026-12-01T00:00:00Z"}, ("GET", "/audit")),
    ],
)
def test_what_is_sent(server: Server, ask: Ask, method: str, given: Any, named: Any, sent: tuple[str, str]):
    server.on(*sent, 200, whole_run(items=[], next_cursor=None))
    ask(server.url, method, *given, **named)
    [asked] = server.asked
    assert (asked.method, asked.path) == sent
    assert asked.headers.get("X-Callback-Token") == named.get("token")


def test_a_run_is_waited_for_until_it_has_ended(server: Server, ask: Ask):
    states = ["failed", "running", "queued"]
    server.when("GET", "/runs/one", lambda _: (200, whole_run(state=states.pop())))
    assert ask(server.url, "wait_for_run", "one", timeout=30).state is RunState.FAILED
    server.on("GET", "/runs/one", 200, whole_run(state="running"))
    with pytest.raises(TimeoutError, match="still running"):
        ask(server.url, "wait_for_run", "one", timeout=0.01)


def test_a_url_where_nobody_listens_is_unreachable_and_nothing_was_done(ask: Ask):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unreachable, match="no scheduler answers") as told:
        ask(f"http://127.0.0.1:{port}", "apply_batch", [], retry=NEVER)
    assert not told.value.maybe_done


class Broken(BaseHTTPRequestHandler):
    """Takes a request and hangs up, every other time; keeps other connections open."""

    protocol_version = "HTTP/1.1"
    seen: list[str]
    ports: set[int]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append(self.headers["Idempotency-Key"])
        if len(self.seen) % 2:
            self.close_connection = True
            return
        self._say(json.dumps(whole_run()).encode(), "application/json")

    def do_GET(self) -> None:
        self.ports.add(self.client_address[1])
        if "events" not in self.path:
            self._say(json.dumps(whole_run()).encode(), "application/json")
            return
        last = int(self.headers.get("Last-Event-ID") or 0)
        self._say(f'id: {last + 1}\nevent: fact\ndata: {{"n": {last + 1}}}\n\n'.encode(), "text/event-stream")

    def _say(self, content: bytes, media: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def breaking() -> Iterator[tuple[str, type[Broken]]]:
    handler = type("Handler", (Broken,), {"seen": [], "ports": set()})
    listening = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}", handler
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def test_an_answer_that_is_lost_is_asked_for_again_under_the_same_name(ask: Ask):
    with breaking() as (url, handler):
        assert type(ask(url, "cancel_run", "one")) is RunView
        assert len(handler.seen) == 2
        assert len(set(handler.seen)) == 1
        with pytest.raises(Unreachable) as told:
            ask(url, "cancel_run", "one", retry=NEVER)
        assert told.value.maybe_done


def test_one_connection_serves_many_requests():
    with breaking() as (url, handler), Client(url) as client:
        for _ in range(20):
            client.get_run("one")
        assert len(handler.ports) == 1


def test_threads_share_a_client():
    with breaking() as (url, handler), Client(url) as client:
        found: list[str] = []
        threads = [threading.Thread(target=lambda: found.append(client.get_run("one").id)) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 10
        assert len(handler.ports) <= 10


def test_a_stream_that_ends_is_opened_again_after_the_last_event():
    with breaking() as (url, _), Client(url, retry=QUICK) as client:
        events = client.follow_events(schedule="digest")
        assert [next(events).fact["n"] for _ in range(4)] == [1, 2, 3, 4]

        async def follow() -> list[str]:
            async with AsyncClient(url, retry=QUICK) as other:
                got: list[str] = []
                async for event in other.follow_events(after="7"):
                    got.append(event.id)
                    if len(got) == 3:
                        break
                return got

        assert asyncio.run(follow()) == ["8", "9", "10"]


def loaded(code: str) -> set[str]:
    text = f"import sys\n{code}\nprint(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", text], check=True, capture_output=True, text=True, timeout=60)
    return set(told.stdout.split())


def test_importing_the_client_imports_no_server_and_no_models(server: Server):
    assert not loaded("from backend.client import Client; Client()") & {*HEAVY, *LATE}
    server.on("GET", "/schedules/digest", 200, whole())
    code = f"from backend.client import AsyncClient, Client\nClient({server.url!r}).get_schedule('digest')"
    assert not loaded(code) & set(HEAVY)
