"""Connections to one server by the standard library, kept open for a moment so that the next request finds one."""

from __future__ import annotations

import http.client
import select
from collections import deque
from collections.abc import Generator
from ssl import SSLContext
from typing import NamedTuple

from backend.client.errors import Unreachable
from backend.client.wire import LARGEST_ANSWER, Address, Answer, Wire
from backend.clock import Clock

FRESH = 2.0
"""Seconds for which an idle connection is used again; servers close theirs after a few more."""
MOST_IDLE = 16
PIECE = 65536


class _Idle(NamedTuple):
    connection: http.client.HTTPConnection
    since: float


class Connections:
    """Threads take connections out and put them back; each is in one's hands only."""

    def __init__(self, address: Address, clock: Clock, ssl: SSLContext | None) -> None:
        self._address = address
        self._clock = clock
        self._ssl = ssl
        self._idle: deque[_Idle] = deque(maxlen=MOST_IDLE)

    def exchange(self, wire: Wire, timeout: float) -> Answer | Unreachable:
        """Send a request and read the answer, or say why there is none."""
        connection = self._taken(timeout)
        try:
            if connection.sock is None:
                connection.connect()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return _no_answer(self._address.url, error, maybe_done=False)
        try:
            answer = _exchanged(connection, wire)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return _no_answer(self._address.url, error, maybe_done=True)
        except BaseException:
            # Interrupted in the middle of an answer: nobody may read the rest as the next one.
            connection.close()
            raise
        self._give_back(connection)
        return answer

    def stream(self, wire: Wire, timeout: float) -> Generator[Answer | Unreachable, None, None]:
        """Send a request, and give its answer piece by piece: each has status and headers, and what has come."""
        connection = self._new(timeout)
        try:
            connection.request(wire.method, wire.target, headers=wire.headers)
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            while piece := response.read1(PIECE) if response.status == 200 else response.read(LARGEST_ANSWER):
                yield Answer(response.status, headers, piece)
            yield Unreachable(self._address.url, "the stream has ended")
        except (OSError, http.client.HTTPException) as error:
            yield _no_answer(self._address.url, error, maybe_done=False)
        finally:
            connection.close()

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().connection.close()

    def _taken(self, timeout: float) -> http.client.HTTPConnection:
        while self._idle:
            connection, since = self._idle.pop()
            if self._clock.monotonic() - since < FRESH and _is_open(connection):
                assert connection.sock is not None
                connection.sock.settimeout(timeout)
                return connection
            connection.close()
        return self._new(timeout)

    def _new(self, timeout: float) -> http.client.HTTPConnection:
        parts = self._address.parts
        assert parts.hostname
        if parts.scheme == "https":
            return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout, context=self._ssl)
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        # The server has closed it, or has more to say than we have read.
        if connection.sock is not None:
            self._idle.append(_Idle(connection, self._clock.monotonic()))


def _is_open(connection: http.client.HTTPConnection) -> bool:
    """Look whether the server has closed an idle connection: nothing else would make it readable."""
    if connection.sock is None:
        return False
    looking = select.poll()
    looking.register(connection.sock, select.POLLIN)
    return not looking.poll(0)


def _exchanged(connection: http.client.HTTPConnection, wire: Wire) -> Answer:
    connection.request(wire.method, wire.target, body=wire.content, headers=wire.headers)
    response = connection.getresponse()
    content = response.read(LARGEST_ANSWER)
    if not response.isclosed():
        connection.close()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, content)


def _no_answer(url: str, error: Exception, *, maybe_done: bool) -> Unreachable:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    unreachable = Unreachable(url, why, maybe_done=maybe_done)
    unreachable.__cause__ = error
    return unreachable
