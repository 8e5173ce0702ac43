"""Secrets are used by targets of every kind that tell them on, and are then found nowhere: tables, log, answers."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from backend.store.keyring import make_key
from tests.acceptance.server import Server

JOBS = """
import base64, json, os, sys, time
from urllib.parse import quote

def echo(**args):
    args.pop("input", None)
    token = args["token"]
    print(token, repr(args), json.dumps(args), quote(token, safe=""), base64.b64encode(b"u:" + token.encode()))
    return args

def fail(token, **rest):
    raise ValueError(f"the token {token} is not accepted: " + "x" * 300 + token)

def flood(token, **rest):
    while True:
        os.write(1, (token * 3000).encode())
        time.sleep(0.01)

def mistyped(number: int, **rest):
    return number + int(number)
"""
ECHO = "import os, sys; print(dict(os.environ)); print(sys.stdin.read()); sys.exit(f\"bad {os.environ['TOKEN']}\")"
ONCE = {"max_attempts": 1}
PLANTED = {
    "token": "tok-Ür/+ 4f1c9e77aa51",
    "auth": "Bearer zz81-QQ/plain==",
    "hook": "whsec_" + b64encode(b"thirty-two bytes of a secret key").decode(),
    "lines": "first line 0a1b2c3d\nsecond\tline 4e5f6a7b",
}
NEEDLES = [
    part.encode()
    for value in (*PLANTED.values(), "4f1c9e77aa51", "zz81-QQ/plain", "0a1b2c3d", "4e5f6a7b")
    for part in (value, json.dumps(value)[1:-1], repr(value)[1:-1], quote(value, safe=""), value.encode().hex())
] + [b64encode(value.encode())[:-4] for value in PLANTED.values()]


class Echo(BaseHTTPRequestHandler):
    """Tells everything that it was told, in the answer's status line, headers and body."""

    seen: list[tuple[str, str]] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.seen.append((str(self.headers["Authorization"]), body))
        token = str(self.headers["X-Token"]).encode("latin-1").decode("utf-8", "replace")
        told = f"{token}\n{dict(self.headers)}\n{body}\n{quote(token, safe='')}".encode()
        self.send_response_only(int(self.path.strip("/")), "told")
        self.send_header("Location", f"https://example.org/{quote(token, safe='')}")
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def echoing() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    Echo.seen.clear()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def secret(name: str) -> dict[str, str]:
    return {"secret": name}


def http(url: str, status: int) -> dict[str, Any]:
    headers = {"X-Token": secret("token"), "Authorization": secret("auth")}
    body = {"deep": [secret("lines"), {"key": secret("hook")}]}
    signing = [secret("hook"), secret("hook")]
    return {"kind": "http", "url": f"{url}/{status}", "headers": headers, "body": body, "signing_secret": signing}


def python(function: str, **args: Any) -> dict[str, Any]:
    return {"kind": "python", "callable": f"jobs:{function}", "args": args}


def command(program: str) -> dict[str, Any]:
    return {"kind": "command", "argv": ["/usr/bin/env", "python3", "-c", program], "env": {"TOKEN": secret("token")}}


def everything_stored(server: Server) -> bytes:
    """Read every column of every table, and on SQLite every byte of the files."""
    kind = "sqlite" if (server.folder / "data" / "scheduler.db").exists() else "postgres"
    names = [row[0] for row in server.query(TABLES[kind])]
    assert {"secrets", "attempts"} <= set(names)
    found = [repr(server.query(f'select * from "{name}"')).encode() for name in names]
    text = b"\n".join([*found, *(json.dumps(str(one)).encode() for one in found)])
    return text + b"".join(path.read_bytes() for path in (server.folder / "data").glob("scheduler.db*"))


TABLES = {
    "sqlite": "select name from sqlite_master where type = 'table'",
    "postgres": "select table_name from information_schema.tables where table_schema = 'scheduler'",
}


@pytest.mark.each_database
def test_planted_secrets_are_found_nowhere_although_every_target_tells_them(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(JOBS)
    keys = f"{make_key('2026')},{make_key('2025')}"
    settings = {"python_targets": "jobs", "secret_keys": keys, "log_level": "debug"}
    with echoing() as url, Server(tmp_path, **settings) as server:
        server.ready()
        answers: list[Any] = [
            server.ask("PUT", f"/secrets/{name}", {"value": value}) for name, value in PLANTED.items()
        ]
        assert [answer.status for answer in answers] == [201] * len(PLANTED)
        targets = {f"http-{status}": http(url, status) for status in (200, 302, 404, 500)}
        targets |= {
            "http-not-sent": http(url, 200) | {"headers": {"X-Lines": secret("lines")}},
            "command": command(ECHO),
            "command-crash": command("import os; print(os.environ['TOKEN'], flush=True); os.abort()"),
            "python": python("echo", token=secret("token"), other=[secret("lines"), secret("auth")]),
            "python-fails": python("fail", token=secret("token")),
            "python-wrong-type": python("mistyped", number=secret("auth")),
            "python-misfit": python("mistyped", token=secret("token"), none=secret("lines")),
            "python-flood": python("flood", token=secret("token")),
        }
        runs = {}
        for id_, target in targets.items():
            server.create(id_, target, retry=ONCE, timeout="1s" if id_ == "python-flood" else "20s")
            runs[id_] = server.post(f"/schedules/{id_}/trigger")["id"]
        ended = {id_: server.run(run) for id_, run in runs.items()}
        states = {id_: run["state"] for id_, run in ended.items()}
        assert states.pop("http-200") == states.pop("python") == "succeeded", ended
        assert states.pop("python-flood") == "timed_out"
        assert set(states.values()) == {"failed"}, states
        assert ("Bearer zz81-QQ/plain==", json.loads(Echo.seen[0][1])["deep"][0]) == (Echo.seen[0][0], PLANTED["lines"])
        assert "[secret token]" in ended["http-200"]["output"]
        assert "[secret lines]" in ended["python"]["output"]
        assert "[secret token]" in ended["python-fails"]["error"]
        assert "cannot go into the header" in ended["http-not-sent"]["error"]
        answers += [ended, [server.ask("GET", f"/schedules/{id_}") for id_ in targets]]
        answers += [server.ask("DELETE", "/secrets/token"), server.ask("PUT", "/secrets/token", {"value": 5})]
        too_long = {"value": PLANTED["token"] * 4000}
        answers += [server.ask("PUT", "/secrets/token", body) for body in (too_long, [PLANTED["token"]], {"x": 1})]
        answers += [server.ask("GET", path) for path in ("/secrets", "/runs?limit=500", "/schedules", "/workers")]
        in_use = answers[-9]
        assert (in_use.status, "use the secret 'token': http-200, http-302" in in_use.body["detail"]) == (409, True)
        stored = everything_stored(server)
        said = json.dumps(answers, default=str).encode() + repr(answers).encode()
        log = (json.dumps(server.lines) + repr(server.lines) + server.errors).encode()
        assert server.stop() == 0
        log += (json.dumps(server.lines) + server.errors).encode()
        for needle in NEEDLES:
            assert needle not in stored, needle
            assert needle not in said, needle
            assert needle not in log, needle
