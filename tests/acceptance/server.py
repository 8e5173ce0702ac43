"""Starts real servers in a folder of their own, talks to them, and leaves none behind."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import urlsplit

import psutil

from tests.databases import all_locked, placed_url, sql

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
MODULE = ("-m", "backend.scheduler")
PATIENCE = 30.0  # seconds; a deadline for a busy machine, not an expectation
PREFIX = "/api/v1"
FINAL = ("succeeded", "failed", "timed_out", "cancelled", "dead", "skipped", "missed")
OPEN = "'held', 'queued', 'running', 'retrying'"
DEFAULTS = {
    "SCHEDULER_DATA_DIR": "data",
    "SCHEDULER_PORT": "0",
    "SCHEDULER_LOG_FORMAT": "json",
    "SCHEDULER_ALLOW_COMMANDS": "true",
    "SCHEDULER_ALLOW_PRIVATE_URLS": "true",
    "SCHEDULER_RETRY_INITIAL": "20ms",
}


def until(what: str, look: Callable[[], T | None], patience: float = PATIENCE, *, pause: float = 0.02) -> T:
    """Look again and again, so many seconds apart, until there is something true to see."""
    deadline = time.monotonic() + patience
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(pause)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stamp(seconds: float) -> str:
    """Write seconds since 1970 as the API does."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


class Reply(NamedTuple):
    status: int
    body: Any


class Server:
    """One server. Settings are given by their names in lower case, such as `lease="1s"`; `code` is what it runs."""

    def __init__(
        self, folder: Path, *, command: Sequence[str] = MODULE, code: str = str(ROOT), **settings: str
    ) -> None:
        self.folder = folder
        self.settings = settings
        self._code = code
        self._command = (sys.executable, *command)
        self._log = folder / f"log-{time.monotonic_ns()}"
        self._errors = self._log.with_suffix(".err")
        self._where: tuple[str, int] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("SCHEDULER_")}
        given = {f"SCHEDULER_{name.upper()}": value for name, value in self.settings.items()}
        database = {} if "database_url" in self.settings else database_of(self.folder)
        with self._log.open("wb") as log, self._errors.open("wb") as errors:
            return subprocess.Popen(
                self._command,
                cwd=self.folder,
                env={**ours, **DEFAULTS, **database, **given, "PYTHONPATH": self._code},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=errors,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    # Its life

    def ready(self) -> Self:
        """Wait until /readyz answers 200."""
        until("readiness", lambda: self._alive() and self.health("/readyz") == 200)
        return self

    def _alive(self) -> bool:
        assert self.process.poll() is None, f"exited with {self.process.returncode}: {self.errors} {self.lines}"
        return True

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def exit_code(self, patience: float = PATIENCE) -> int:
        return self.process.wait(patience)

    def stop(self) -> int:
        """Ask it to drain and wait for the end."""
        self.send(signal.SIGTERM)
        return self.exit_code()

    def family(self) -> list[int]:
        """Name all processes that it has started and that live."""
        try:
            return [child.pid for child in psutil.Process(self.process.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """SIGKILL: it gets no chance to clean up."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)

    # What it says

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Read the complete lines of its log."""
        text = self._log.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines() if line.startswith("{")]

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    def said(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]

    def heard(self, event: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            self._alive()
            return next(iter(self.said(event)), None)

        return until(event, look)

    # Its API

    @property
    def where(self) -> tuple[str, int]:
        if self._where is None:
            url = urlsplit(self.heard("listening")["url"])
            self._where = str(url.hostname), int(url.port or 0)
        return self._where

    def at(self, port: int) -> None:
        """Talk to this port of 127.0.0.1, before the log names it."""
        self._where = "127.0.0.1", port

    @property
    def key(self) -> str:
        return (self.folder / "data" / "admin.key").read_text().strip()

    def health(self, path: str) -> int | None:
        """Ask for the status of a health route; None when nobody answers."""
        try:
            return _ask(self.where, "GET", path, {}, None).status
        except OSError:
            return None

    def metrics(self) -> str:
        reply = _ask(self.where, "GET", "/metrics", {"X-API-Key": self.key}, None)
        assert reply.status == 200, reply
        return str(reply.body)

    def ask(self, method: str, path: str, body: Any = None) -> Reply:
        return _ask(self.where, method, PREFIX + path, {"X-API-Key": self.key}, body)

    def get(self, path: str) -> Any:
        reply = self.ask("GET", path)
        assert reply.status == 200, reply
        return reply.body

    def post(self, path: str, body: Any = None) -> Any:
        reply = self.ask("POST", path, body)
        assert reply.status in {200, 201, 202}, reply
        return reply.body

    def create(self, id_: str, target: dict[str, Any], **rest: Any) -> dict[str, Any]:
        """Create a schedule; it fires once a day from now unless triggers are given."""
        body = {"id": id_, "triggers": [{"kind": "interval", "every": "1d"}], "target": target, **rest}
        return dict(self.post("/schedules", body))

    def runs(self, **filters: str) -> list[dict[str, Any]]:
        """Read all runs, newest nominal time first."""
        found: list[dict[str, Any]] = []
        query = "&".join(f"{name.rstrip('_')}={value}" for name, value in filters.items())
        page = self.get(f"/runs?limit=500&{query}")
        found += page["items"]
        while page["next_cursor"]:
            page = self.get(f"/runs?limit=500&{query}&cursor={page['next_cursor']}")
            found += page["items"]
        return found

    def run(self, id_: str, *states: str) -> dict[str, Any]:
        """Wait until a run is in one of these states, or final when none is given."""
        wanted = states or FINAL

        def look() -> dict[str, Any] | None:
            run: dict[str, Any] = self.get(f"/runs/{id_}")
            return run if run["state"] in wanted else None

        return until(f"run {id_} in {wanted}", look)

    # Its database

    def query(self, statement: str, *params: object) -> list[tuple[Any, ...]]:
        return query(self.folder, statement, *params)

    def open_runs(self) -> int:
        return int(self.query(f"select count(*) from runs where state in ({OPEN})")[0][0])

    def all_final(self, patience: float = PATIENCE) -> None:
        until("an end of all runs", lambda: self.open_runs() == 0, patience)


def query(folder: Path, statement: str, *params: object) -> list[tuple[Any, ...]]:
    """Read the database, past the server."""
    if url := placed_url(folder):
        return sql(url, statement, *params)
    with closing(sqlite3.connect(f"file:{folder}/data/scheduler.db?mode=ro", uri=True, timeout=PATIENCE)) as file:
        return file.execute(statement, params).fetchall()


def execute(folder: Path, statement: str) -> None:
    """Change the database, past the server."""
    if url := placed_url(folder):
        sql(url, statement)
        return
    with closing(sqlite3.connect(folder / "data" / "scheduler.db", timeout=10, isolation_level=None)) as file:
        file.execute(statement)


def database_of(folder: Path) -> dict[str, str]:
    """Give the setting for what is started beside a server in this folder."""
    url = placed_url(folder)
    return {"SCHEDULER_DATABASE_URL": url} if url else {}


def leased(folder: Path) -> list[tuple[Any, ...]]:
    """Name the runs that somebody holds, or that look like it."""
    return query(folder, "select id, state, lease_token from runs where state = 'running' or lease_token is not null")


def _ask(where: tuple[str, int], method: str, path: str, headers: dict[str, str], body: Any) -> Reply:
    with closing(http.client.HTTPConnection(*where, timeout=PATIENCE)) as connection:
        content = None if body is None else json.dumps(body).encode()
        connection.request(method, path, content, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        text = answer.read()
        kind = answer.headers.get("Content-Type", "")
        return Reply(answer.status, json.loads(text) if text and "json" in kind else text.decode())


@contextmanager
def write_lock(folder: Path) -> Iterator[None]:
    """Hold the database's write lock, as a backup or a forgotten shell would."""
    if url := placed_url(folder):
        with all_locked(url):
            yield
        return
    with closing(sqlite3.connect(folder / "data" / "scheduler.db", isolation_level=None)) as file:
        file.execute("begin immediate")
        yield
        file.execute("rollback")
