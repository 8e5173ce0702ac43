"""The http target against real servers on loopback, raw ones where the wire itself misbehaves."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import helpers
from yarl import URL

from backend.model.ids import RunId
from backend.model.run import Dispatch
from backend.targets import sender as sender_module
from backend.targets.base import Failed, Outcome, Succeeded, TargetRules, Tools
from backend.targets.http import HttpTarget
from backend.targets.sender import Request, bounds

pytestmark = pytest.mark.anyio

RULES = TargetRules(allow_commands=False, allow_private_urls=True)
STRICT = TargetRules(allow_commands=False, allow_private_urls=False)
DEADLINE = 20


def dispatch(**changes: Any) -> Dispatch:
    values: dict[str, Any] = {
        "run_id": RunId("0190a000-0000-7000-8000-000000000001"),
        "schedule_id": "daily-digest",
        "namespace": "default",
        "trigger_type": "schedule",
        "nominal_at": 1_764_579_600_000_000,
        "scheduled_at": 1_764_579_601_500_000,
        "attempt": 1,
        "timeout": 15.0,
        "input": {"topic": "news"},
        "missed_count": 2,
        "missed_first_at": 1_764_570_000_000_000,
        "missed_last_at": 1_764_573_600_000_000,
    }
    return Dispatch(**(values | changes))


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass
class Connection:
    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()

    def reset(self) -> None:
        self.writer.transport.abort()


@dataclass
class Server:
    """A raw HTTP server: takes requests down and lets `answer` write what it likes."""

    answer: Callable[[Seen, Connection], Awaitable[None]]
    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = Connection(self.connections, reader, writer)
        try:
            while True:
                seen = await self._request(connection)
                self.seen.append(seen)
                await self.answer(seen, connection)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.closed.set()
            writer.close()

    async def _request(self, connection: Connection) -> Seen:
        head = (await connection.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in head[1:] if line)}
        body = await connection.reader.readexactly(int(headers.get("content-length", 0)))
        return Seen(method, path, headers, body, connection.number)


def respond(status: int = 200, body: bytes = b"", **headers: str) -> Callable[[Seen, Connection], Awaitable[None]]:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]

    async def answer(seen: Seen, connection: Connection) -> None:
        await connection.send("\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if seen.method == "HEAD" else body))

    return answer


@asynccontextmanager
async def serving(answer: Callable[[Seen, Connection], Awaitable[None]]) -> AsyncIterator[Server]:
    server = Server(answer)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/hook"
    try:
        yield server
    finally:
        listener.close()


async def call(url: str, rules: TargetRules = RULES, *, run: Dispatch | None = None, **fields: Any) -> Outcome:
    async with asyncio.timeout(DEADLINE), Tools.open(rules) as tools:
        return await HttpTarget(url=url, **fields).perform(run or dispatch(), tools)


async def failure(url: str, rules: TargetRules = RULES, **fields: Any) -> Failed:
    outcome = await call(url, rules, **fields)
    assert isinstance(outcome, Failed), outcome
    return outcome


async def test_a_post_tells_the_target_which_run_it_is_and_describes_it() -> None:
    async with serving(respond(200, b"thanks")) as server:
        outcome = await call(server.url, run=dispatch(attempt=2))
    assert outcome == Succeeded("thanks", truncated=False, status_code=200)
    (seen,) = server.seen
    assert seen.method == "POST"
    assert seen.headers["idempotency-key"] == seen.headers["x-run-id"] == "0190a000-0000-7000-8000-000000000001"
    assert (seen.headers["x-schedule-id"], seen.headers["x-attempt"]) == ("daily-digest", "2")
    assert seen.headers["x-nominal-time"] == "2025-12-01T09:00:00Z"
    assert seen.headers["user-agent"].startswith("agent-scheduler")
    assert seen.headers["content-type"] == "application/json"
    assert json.loads(seen.body) == {
        "run_id": "0190a000-0000-7000-8000-000000000001",
        "schedule_id": "daily-digest",
        "namespace": "default",
        "trigger_type": "schedule",
        "nominal_time": "2025-12-01T09:00:00Z",
        "scheduled_time": "2025-12-01T09:00:01.500000Z",
        "attempt": 2,
        "missed": {"count": 2, "first": "2025-12-01T06:20:00Z", "last": "2025-12-01T07:20:00Z"},
        "input": {"topic": "news"},
    }


@pytest.mark.parametrize(
    ("body", "headers", "sent"),
    [
        ({"a": [1, None, "é\ud800"]}, {}, b'{"a":[1,null,"\\u00e9\\ud800"]}'),
        ("text", {}, b'"text"'),
        ("text", {"content-type": "application/cloudevents+json; charset=utf-8"}, b'"text"'),
        ("a=1&b=é", {"content-type": "application/x-www-form-urlencoded"}, "a=1&b=é".encode()),
        (False, {}, b"false"),
    ],
)
async def test_a_body_is_sent_as_given(body: Any, headers: dict[str, str], sent: bytes) -> None:
    async with serving(respond()) as server:
        await call(server.url, method="PUT", body=body, headers=headers)
    assert server.seen[0].body == sent
    assert server.seen[0].headers["content-type"] == headers.get("content-type", "application/json")


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_a_method_without_body_sends_none(method: str) -> None:
    async with serving(respond(200, b"" if method == "HEAD" else b"ok")) as server:
        assert isinstance(await call(server.url, method=method), Succeeded)
    assert (server.seen[0].method, server.seen[0].body) == (method, b"")
    assert "content-type" not in server.seen[0].headers


async def test_headers_of_the_user_are_sent_and_win_over_our_defaults() -> None:
    async with serving(respond()) as server:
        await call(server.url, headers={"Authorization": "Bearer x", "user-agent": "mine", "Accept-Encoding": "gzip"})
    headers = server.seen[0].headers
    assert (headers["authorization"], headers["user-agent"], headers["accept-encoding"]) == ("Bearer x", "mine", "gzip")


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_every_2xx_succeeds(status: int) -> None:
    async with serving(respond(status)) as server:
        assert await call(server.url) == Succeeded("", truncated=False, status_code=status)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 599])
async def test_a_server_in_trouble_is_asked_again(status: int) -> None:
    async with serving(respond(status, b"\n  over\x1bload  \nsecond line", Retry_After="7")) as server:
        failed = await failure(server.url)
    assert (failed.permanent, failed.status_code, failed.retry_after) == (False, status, 7.0)
    assert failed.error.startswith(f"POST answered {status}")
    assert failed.error.endswith(": over load")
    assert "second line" in failed.output


@pytest.mark.parametrize("status", [300, 304, 400, 401, 403, 404, 409, 410, 422])
async def test_a_refusal_is_permanent(status: int) -> None:
    async with serving(respond(status, b"" if status == 304 else b"no", Retry_After="7")) as server:
        failed = await failure(server.url)
    assert (failed.permanent, failed.status_code, failed.retry_after) == (True, status, None)


async def test_success_statuses_replace_the_2xx() -> None:
    async with serving(respond(409)) as server:
        assert isinstance(await call(server.url, success_statuses=[200, 409]), Succeeded)
    async with serving(respond(201)) as server:
        failed = await failure(server.url, success_statuses=[200])
    assert failed.permanent
    assert failed.error == "POST answered 201 Created"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    async with serving(respond(status, Location="/elsewhere")) as server:
        failed = await failure(server.url)
    assert failed.permanent
    assert failed.error.endswith("redirects are not followed (/elsewhere)")
    assert [seen.path for seen in server.seen] == ["/hook"]


@pytest.mark.parametrize(
    ("value", "date", "expected"),
    [
        ("0", "", 0.0),
        ("120", "", 120.0),
        ("999999999999999999999999", "", 86400.0),
        ("Mon, 01 Dec 2025 09:02:00 GMT", "Mon, 01 Dec 2025 09:00:00 GMT", 120.0),
        ("Mon, 01 Dec 2025 08:00:00 GMT", "Mon, 01 Dec 2025 09:00:00 GMT", 0.0),
        ("Mon, 08 Dec 2025 09:00:00 GMT", "Mon, 01 Dec 2025 09:00:00 GMT", 86400.0),
        ("Mon, 01 Dec 2025 09:02:00 GMT", "", None),
        ("-5", "", None),
        ("soon", "Mon, 01 Dec 2025 09:00:00 GMT", None),
        ("Mon, 01 Dec 99999 09:00:00 GMT", "Mon, 01 Dec 2025 09:00:00 GMT", None),
    ],
)
async def test_retry_after_is_read_without_a_clock(value: str, date: str, expected: float | None) -> None:
    headers = {"Retry_After": value} | ({"Date": date} if date else {})
    async with serving(respond(503, b"", **headers)) as server:
        failed = await failure(server.url)
    assert failed.retry_after == expected


@pytest.mark.parametrize(("size", "truncated"), [(65535, False), (65536, False), (65537, True), (2_000_000, True)])
async def test_an_answer_is_kept_up_to_64_kib(size: int, truncated: bool) -> None:
    async with serving(respond(200, b"x" * size)) as server:
        assert await call(server.url) == Succeeded("x" * min(size, 65536), truncated, 200)


async def test_an_endless_answer_is_cut_and_its_connection_closed() -> None:
    async def forever(seen: Seen, connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        while True:
            await connection.send(b"y" * 65536)

    async with serving(forever) as server, asyncio.timeout(DEADLINE), Tools.open(RULES) as tools:
        outcome = await HttpTarget(url=server.url).perform(dispatch(), tools)
        assert outcome == Succeeded("y" * 65536, truncated=True, status_code=200)
        await server.closed.wait()


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        (b"a\x00b\xff\xfec", "text/plain", "ab\ufffd\ufffdc"),
        ("é".encode("latin-1"), "text/plain; charset=ISO-8859-1", "é"),
        ("é".encode(), "text/plain; charset=unicode_escape", "é"),
        (b"\xff" * 65536, "text/plain", "\ufffd" * (65536 // 3)),
    ],
)
async def test_an_answer_becomes_text_that_can_be_stored(body: bytes, content_type: str, text: str) -> None:
    async with serving(respond(200, body, Content_Type=content_type)) as server:
        outcome = await call(server.url)
    assert isinstance(outcome, Succeeded)
    assert outcome.output == text
    assert len(outcome.output.encode()) <= 65536


async def test_a_small_answer_is_not_unpacked_into_a_large_one() -> None:
    bomb = gzip.compress(b"0" * 5_000_000)
    async with serving(respond(200, bomb, Content_Encoding="gzip")) as server:
        outcome = await call(server.url)
    assert outcome == Succeeded(f"[{len(bomb)} bytes, gzip]", truncated=False, status_code=200)
    assert server.seen[0].headers["accept-encoding"] == "identity"


async def test_a_put_is_never_sent_twice() -> None:
    async def answer_then_reset(seen: Seen, connection: Connection) -> None:
        if len(server.seen) == 1:
            await respond()(seen, connection)
        else:
            connection.reset()

    async with serving(answer_then_reset) as server, asyncio.timeout(DEADLINE), Tools.open(RULES) as tools:
        target = HttpTarget(url=server.url, method="PUT")
        assert isinstance(await target.perform(dispatch(), tools), Succeeded)
        failed = await target.perform(dispatch(), tools)
    assert [seen.connection for seen in server.seen] == [1, 1], "the second request must meet the kept-alive connection"
    assert isinstance(failed, Failed)
    assert not failed.permanent
    assert "whether it acted is unknown" in failed.error


async def test_cookies_of_one_answer_do_not_travel_to_the_next_request() -> None:
    async with serving(respond(200, Set_Cookie="tenant=a; Path=/")) as server, Tools.open(RULES) as tools:
        # A jar of aiohttp keeps no cookies of literal addresses, so the test needs a name.
        target = HttpTarget(url=server.url.replace("127.0.0.1", "localhost"))
        await target.perform(dispatch(), tools)
        assert isinstance(await target.perform(dispatch(), tools), Succeeded)
    assert ["cookie" in seen.headers for seen in server.seen] == [False, False]


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with serving(respond()) as server:
        assert isinstance(await call(server.url), Succeeded)


async def test_as_many_requests_run_at_a_time_as_the_worker_has_places() -> None:
    places, all_here = 120, asyncio.Event()

    async def together(seen: Seen, connection: Connection) -> None:
        if len(server.seen) == places:
            all_here.set()
        await all_here.wait()
        await respond()(seen, connection)

    async with serving(together) as server, asyncio.timeout(DEADLINE), Tools.open(RULES, concurrency=places) as tools:
        target = HttpTarget(url=server.url)
        outcomes = await asyncio.gather(*(target.perform(dispatch(), tools) for _ in range(places)))
    assert all(isinstance(outcome, Succeeded) for outcome in outcomes)


async def test_an_idle_connection_is_given_up_before_a_server_would() -> None:
    async with serving(respond()) as server, Tools.open(RULES) as tools:
        await HttpTarget(url=server.url).perform(dispatch(), tools)
        await asyncio.wait_for(server.closed.wait(), 10)  # aiohttp's own default is 15 s


def test_time_limits_are_not_rounded_up_to_whole_seconds() -> None:
    limit = bounds(Request("GET", URL("http://a.example/"), {}, None, 20.25))
    assert limit.total is not None
    assert helpers.calculate_timeout_when(1000.5, limit.total, limit.ceil_threshold) == 1000.5 + limit.total


async def test_nobody_listening_is_transient() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        failed = await failure(f"http://127.0.0.1:{unused.getsockname()[1]}/")
    assert not failed.permanent
    assert "cannot connect to 127.0.0.1" in failed.error


async def test_an_unknown_name_is_transient() -> None:
    failed = await failure("http://no-such-host.invalid/")
    assert (failed.permanent, failed.error) == (False, "cannot resolve no-such-host.invalid")


async def test_a_refused_tls_handshake_is_transient() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 no TLS here\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as listener:
        failed = await failure(f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}/")
    assert not failed.permanent
    assert "cannot connect" in failed.error


@pytest.mark.parametrize(
    ("wire", "error"),
    [
        (b"", "before it answered"),
        (b"HTTP/1.1 200 OK\r\nContent-Len", "before it answered"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "in the middle of the answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "in the middle of the answer"),
    ],
)
async def test_a_broken_answer_is_transient(wire: bytes, error: str) -> None:
    async def broken(seen: Seen, connection: Connection) -> None:
        await connection.send(wire)
        connection.writer.close()

    async with serving(broken) as server:
        failed = await failure(server.url)
    assert not failed.permanent
    assert error in failed.error


async def silence(seen: Seen, connection: Connection) -> None:
    await connection.reader.read()


async def test_a_silent_server_is_left_when_nobody_cancels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "BEYOND_TIMEOUT_SECONDS", 0.05)
    async with serving(silence) as server:
        failed = await failure(server.url, run=dispatch(timeout=0.1))
    assert not failed.permanent
    assert failed.error.endswith("within 0.1 s")


async def test_a_cancelled_attempt_closes_its_connection() -> None:
    arrived = asyncio.Event()

    async def hang(seen: Seen, connection: Connection) -> None:
        arrived.set()
        await silence(seen, connection)

    async with serving(hang) as server, asyncio.timeout(DEADLINE), Tools.open(RULES) as tools:
        attempt = asyncio.create_task(HttpTarget(url=server.url).perform(dispatch(), tools))
        await arrived.wait()
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        await server.closed.wait()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
async def test_a_private_address_found_at_connect_is_a_permanent_failure(host: str) -> None:
    async with serving(respond()) as server:
        failed = await failure(server.url.replace("127.0.0.1", host), STRICT)
    assert failed.permanent
    assert failed.error.startswith("blocked: ")
    assert "loopback" in failed.error
    assert server.connections == 0
