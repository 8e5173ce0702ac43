"""A door between a server and its PostgreSQL that can be shut: what connects is refused then, what was open is cut."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import parse_qs, urlsplit

from tests.databases import server


class Gateway:
    """Passes connections on from a port of loopback to the socket of the tests' PostgreSQL, while it is open."""

    def __init__(self) -> None:
        [folder] = parse_qs(urlsplit(server()).query)["host"]
        self._behind = f"{folder}/.s.PGSQL.5432"
        self._listener: socket.socket | None = None
        self._passing: set[socket.socket] = set()
        with socket.create_server(("127.0.0.1", 0)) as chosen:
            self.port = int(chosen.getsockname()[1])

    def url(self, direct: str) -> str:
        """Name the same database through this door."""
        parts = urlsplit(direct)
        return f"postgresql://{parts.username or 'postgres'}@127.0.0.1:{self.port}{parts.path}"

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def shut(self) -> None:
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for one in tuple(self._passing):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                here, _ = listener.accept()
                there = socket.socket(socket.AF_UNIX)
                there.connect(self._behind)
                self._passing |= {here, there}
                for source, sink in ((here, there), (there, here)):
                    threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(65536):
                sink.sendall(content)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
        self._passing.discard(source)
        source.close()


@contextmanager
def gateway() -> Iterator[Gateway]:
    """Lend a door, which is shut."""
    door = Gateway()
    try:
        yield door
    finally:
        door.shut()
