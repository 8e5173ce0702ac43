"""A small real server for the tests of the command line: it says what it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

PREFIX = "/api/v1"
Answer = tuple[int, Any]


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Server:
    url: str = ""
    answers: dict[tuple[str, str], Callable[[Asked], Answer]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def on(self, method: str, path: str, status: int, document: Any) -> None:
        self.answers[method, path] = lambda _: (status, document)

    def when(self, method: str, path: str, reply: Callable[[Asked], Answer]) -> None:
        self.answers[method, path] = reply

    def reply(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        answer = self.answers.get((asked.method, asked.path))
        return answer(asked) if answer else (404, problem(404, "Not Found", "no such thing"))


def problem(status: int, title: str, detail: str, *errors: tuple[str, str, str]) -> dict[str, Any]:
    fields = [{"field": name, "rule": rule, "fix": fix} for name, rule, fix in errors]
    return {"type": "about:blank", "title": title, "status": status, "detail": detail, "errors": fields}


@contextmanager
def serving(port: int = 0, server: Server | None = None) -> Iterator[Server]:
    told = server or Server()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = unquote(parts.path).removeprefix(PREFIX)
            query = dict(parse_qsl(parts.query))
            is_json = self.headers.get("Content-Type") == "application/json"
            body = (json.loads(raw) if is_json else raw.decode()) if raw else None
            status, document = told.reply(Asked(self.command, path, query, dict(self.headers), body))
            content = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "http://elsewhere.test/")
            self.send_header("Content-Length", "0" if status == 204 else str(len(content)))
            self.end_headers()
            if status != 204:
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

        def log_message(self, *_: object) -> None:
            pass

    class Listening(ThreadingHTTPServer):
        allow_reuse_address = True

    listening = Listening(("127.0.0.1", port), Handler)
    told.url = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield told
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def schedule(id_: str = "digest", **changes: Any) -> dict[str, Any]:
    return {
        "id": id_,
        "name": id_,
        "namespace": "default",
        "triggers": [{"kind": "cron", "expression": "0 9 * * mon-fri", "timezone": "Europe/London"}],
        "target": {"kind": "http", "method": "POST", "url": "https://example.org/hook"},
        "tags": {"team": "growth"},
        "misfire_policy": "fire_once",
        "overlap_policy": "skip",
        "retry": {"max_attempts": 3},
        "timeout": "3m",
        "state": "active",
        "note": "",
        "created_by": "key:admin",
        "revision": 1,
        "next_nominal_time": "2098-11-24T09:00:00Z",
        "next_scheduled_time": "2098-11-24T09:00:00Z",
        "last_run": None,
    } | changes


def run_of(number: int, state: str = "succeeded", **changes: Any) -> dict[str, Any]:
    ended = state in {"succeeded", "failed", "skipped"}
    return {
        "id": f"0192f0c1-0000-7000-8000-{number:012d}",
        "schedule_id": "digest",
        "nominal_time": f"2026-11-22T09:{number % 60:02d}:00Z",
        "scheduled_time": f"2026-11-22T09:{number % 60:02d}:00Z",
        "trigger_type": "schedule",
        "state": state,
        "reason": None,
        "started_at": f"2026-11-22T09:{number % 60:02d}:00.012Z",
        "finished_at": f"2026-11-22T09:{number % 60:02d}:01.512Z" if ended else None,
        "attempt": 1,
        "missed": {"count": 0, "first": None, "last": None},
        "error": None,
        "output": "",
        "output_truncated": False,
        "attempts": [],
    } | changes
