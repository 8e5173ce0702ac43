"""The proxy does to a connection what it says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tests.fault.proxy import Fault, FaultProxy

SHORT = 0.3
"""Seconds in which an answer that is held back must not come."""


@contextmanager
def echo() -> Iterator[tuple[int, list[bytes]]]:
    """Answer everything with itself; answers the port and what was heard."""
    heard: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        try:
            with connection:
                while text := connection.recv(1000):
                    heard.append(text)
                    connection.sendall(text)
        except OSError:
            return

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1], heard
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@contextmanager
def connected() -> Iterator[tuple[FaultProxy, socket.socket, list[bytes]]]:
    with (
        echo() as (port, heard),
        FaultProxy(port) as proxy,
        closing(socket.create_connection(("127.0.0.1", proxy.port), timeout=10)) as client,
    ):
        client.sendall(b"one")
        assert client.recv(100) == b"one"
        yield proxy, client, heard


def silent(client: socket.socket) -> bool:
    client.settimeout(SHORT)
    try:
        return client.recv(100) == b"never"
    except TimeoutError:
        return True
    finally:
        client.settimeout(10)


def test_what_falls_into_a_black_hole_arrives_when_it_closes():
    with connected() as (proxy, client, heard):
        proxy.set(Fault.BLACK_HOLE)
        client.sendall(b"two")
        assert silent(client)
        assert heard == [b"one"]
        proxy.set(Fault.NONE)
        assert client.recv(100) == b"two"


def test_a_half_open_connection_is_heard_and_not_answered():
    with connected() as (proxy, client, heard):
        proxy.set(Fault.DEAF)
        client.sendall(b"two")
        assert silent(client)
        assert heard == [b"one", b"two"]


def test_a_delay_delays_and_loses_nothing():
    with connected() as (proxy, client, _):
        proxy.set(Fault.DELAYED)
        client.sendall(b"two")
        assert client.recv(100) == b"two"


def test_cut_connections_are_reset_and_new_ones_pass():
    with connected() as (proxy, client, _):
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(100)
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as again:
            again.sendall(b"two")
            assert again.recv(100) == b"two"


def test_a_refused_connection_ends_at_once():
    with connected() as (proxy, _, _):
        proxy.set(Fault.REFUSED)
        with pytest.raises(ConnectionResetError):
            connect_and_listen(proxy.port)


def connect_and_listen(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as late:
        return late.recv(100)
