"""Drives the whole system in this process: its ASGI application on a real database.

Every answer is checked on its way back: its status is documented for the route, its body has the documented shape,
and a refusal is a problem document.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

from backend.clock import Clock, SystemClock
from backend.events import Events
from backend.executor.wiring import System, system_on
from backend.service.keys import ensure_admin_key
from backend.settings import Settings
from backend.store.open import open_store
from tests.acceptance.json_schema import mismatches
from tests.databases import url_in

PREFIX = "/api/v1"
PROBLEM = "application/problem+json"
HOURLY = {"kind": "cron", "expression": "0 * * * *"}
STALLED = timedelta(minutes=1)
CALL = {"kind": "http", "url": "https://example.org/hook"}


def draft(id_: str | None = None, **fields: Any) -> dict[str, Any]:
    """Write the shortest definition, with some fields changed."""
    named = {} if id_ is None else {"id": id_}
    return {"triggers": [HOURLY], "target": CALL} | named | fields


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def etag(self) -> str:
        return self.headers["etag"]

    @property
    def errors(self) -> dict[str, tuple[str, str]]:
        """Rule and fix by field."""
        return {error["field"]: (error["rule"], error["fix"]) for error in self.json["errors"]}


@dataclass
class Client:
    app: Any
    key: str
    system: System
    headers: dict[str, str] = field(default_factory=dict)
    seen: set[tuple[str, str, int]] = field(default_factory=set)

    async def get(self, path: str, **query: Any) -> Answer:
        return await self.call("GET", path, query=query)

    async def post(self, path: str, document: Any = None, **headers: str) -> Answer:
        return await self.call("POST", path, document=document, headers=headers)

    async def put(self, path: str, document: Any = None, **headers: str) -> Answer:
        return await self.call("PUT", path, document=document, headers=headers)

    async def patch(self, path: str, document: Any = None, **headers: str) -> Answer:
        return await self.call("PATCH", path, document=document, headers=headers)

    async def delete(self, path: str, **headers: str) -> Answer:
        return await self.call("DELETE", path, headers=headers)

    async def call(
        self,
        method: str,
        path: str,
        *,
        document: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask below the prefix, with the key. `if_match` among the headers stands for `If-Match`."""
        named = {"x-api-key": self.key} | {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        body = b"" if document is None else json.dumps(document).encode()
        return await self.raw(
            method, PREFIX + path, query=urlencode(query or {}).encode(), headers=_encoded(named), pieces=[body]
        )

    async def raw(
        self,
        method: str,
        target: str,
        *,
        query: bytes = b"",
        headers: Iterable[tuple[bytes, bytes]] = (),
        pieces: Iterable[bytes] = (b"",),
    ) -> Answer:
        """Ask with exactly these bytes; `target` is percent-encoded, the body comes in pieces."""
        answer = await ask(self.app, method, target, query=query, headers=headers, pieces=pieces)
        self._check(method, target, answer)
        return answer

    def key_and(self, **named: str) -> list[tuple[bytes, bytes]]:
        return _encoded({"x-api-key": self.key} | named)

    def _check(self, method: str, target: str, answer: Answer) -> None:
        where = f"{method} {target} → {answer.status}: {answer.body[:500]!r}"
        assert answer.status < 500, where
        if answer.status >= 400:
            check_problem(answer, where, bodiless=method == "HEAD")
        documented = self.operation(method, target)
        if documented is None:
            assert answer.status in {401, 404, 405}, where
            return
        route, operation = documented
        assert str(answer.status) in operation["responses"], f"undocumented: {where}"
        self.seen.add((method, route, answer.status))
        self._check_shape(operation["responses"][str(answer.status)], answer, where)

    def _check_shape(self, response: Mapping[str, Any], answer: Answer, where: str) -> None:
        content = response.get("content", {})
        assert bool(content) == bool(answer.body), f"documented with {list(content)}: {where}"
        if not content:
            return
        media = answer.headers["content-type"].partition(";")[0]
        assert media in content, f"documented with {list(content)}: {where}"
        if media.endswith(("/json", "+json")):
            wrong = list(mismatches(answer.json, content[media]["schema"], self.document()))
            assert not wrong, f"{wrong[:5]} in {where}"

    def document(self) -> dict[str, Any]:
        """Give the OpenAPI document: one for all systems of this process, since to write it takes half a second."""
        if not _DOCUMENT:
            _DOCUMENT.update(self.app.openapi())
        return _DOCUMENT

    def operation(self, method: str, target: str) -> tuple[str, dict[str, Any]] | None:
        """Find the documented operation that a request is for."""
        for route, operations in sorted(self.document()["paths"].items(), key=lambda item: "{" in item[0]):
            if _pattern(route).fullmatch(unquote(target)) and method.lower() in operations:
                return route, operations[method.lower()]
        return None

    async def until_run(self, id_: str, *states: str) -> dict[str, Any]:
        """Ask until a run is in one of the states."""
        async with asyncio.timeout(20):
            while True:
                run: dict[str, Any] = (await self.get(f"/runs/{id_}")).json
                if run["state"] in states:
                    return run
                await asyncio.sleep(0.02)


_DOCUMENT: dict[str, Any] = {}


@cache
def _pattern(route: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(route)), re.DOTALL)


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def check_problem(answer: Answer, where: str, *, bodiless: bool = False) -> None:
    """Insist on RFC 9457, and on field, rule and fix where fields were refused."""
    if bodiless:
        return
    assert answer.headers["content-type"] == PROBLEM, where
    problem = answer.json
    assert problem["status"] == answer.status, where
    assert all(isinstance(problem[name], str) and problem[name] for name in ("type", "title", "detail")), where
    if answer.status == 422:
        assert problem["errors"], where
    for error in problem.get("errors", ()):
        assert set(error) == {"field", "rule", "fix"}, where
        assert all(isinstance(text, str) and text for text in error.values()), where


async def ask(
    app: Any,
    method: str,
    target: str,
    *,
    query: bytes = b"",
    headers: Iterable[tuple[bytes, bytes]] = (),
    pieces: Iterable[bytes] = (b"",),
) -> Answer:
    """Send one request to an ASGI application, as uvicorn would."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(target),
        "raw_path": target.encode("ascii"),
        "root_path": "",
        "query_string": query,
        "headers": [(b"host", b"localhost"), *headers],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8003),
        "state": {},
    }
    waiting = list(pieces)
    started: dict[str, Any] = {}
    received: list[bytes] = []

    async def receive() -> dict[str, Any]:
        if not waiting:
            return {"type": "http.disconnect"}
        piece = waiting.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(waiting)}

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            started.update(message)
        else:
            received.append(message.get("body", b""))

    await app(scope, receive, send)
    answered = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in started["headers"]}
    return Answer(started["status"], answered, b"".join(received))


@asynccontextmanager
async def api_on(
    folder: Path, *, turning: bool = False, database_clock: Clock | None = None, **settings: Any
) -> AsyncIterator[Client]:
    """Open the system on a database of its own; with `turning`, engine and worker run."""
    given: dict[str, Any] = {
        "allow_commands": True,
        "allow_private_urls": True,
        "retry_initial": "20ms",
        "retry_maximum": "50ms",
    }
    chosen = Settings(data_dir=folder, **(given | settings))
    store = await open_store(url_in(folder), clock=database_clock)
    try:
        key = (await ensure_admin_key(store.admin(), folder)).read_text().strip()
        async with system_on(store, chosen, clock=SystemClock(), events=Events(), stalled_after=STALLED) as system:
            client = Client(system.api(), key, system)
            if not turning:
                yield client
                return
            running = asyncio.create_task(system.run_loops())
            try:
                await system.turning()
                yield client
            finally:
                await system.drain(running)
    finally:
        store.close()


def segment(text: str) -> str:
    """Percent-encode one step of a path."""
    return quote(text, safe="")
