"""Clients that dribble, hang, or send too much are cut off, and nobody waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from backend.executor.connections import Limits
from backend.executor.web import Front, open_port, serving_on
from tests.acceptance.api_client import api_on

pytestmark = pytest.mark.anyio
MIB = 1024 * 1024
QUICK = Limits(patience=0.3, rate=100 * MIB, linger=0.3, connections=60)
PATIENT = Limits(patience=60, connections=60)
DEADLINE = 20.0
HEAD = b"POST /api/v1/schedules HTTP/1.1\r\nhost: x\r\nx-api-key: %s\r\n"


class Peer:
    """One connection to the server, by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def rest(self) -> bytes:
        """Read until the server closes."""
        async with asyncio.timeout(DEADLINE):
            try:
                return await self.reader.read(-1)
            except ConnectionResetError:
                return b""

    async def answer(self) -> bytes:
        """Read the head of an answer."""
        async with asyncio.timeout(DEADLINE):
            return await self.reader.readuntil(b"\r\n\r\n")


class Place:
    def __init__(self, port: int, key: str) -> None:
        self.port, self.key = port, key.encode()
        self.peers: list[Peer] = []

    async def peer(self) -> Peer:
        self.peers.append(Peer(*await asyncio.open_connection("127.0.0.1", self.port)))
        return self.peers[-1]

    async def hang_up(self) -> None:
        for peer in self.peers:
            peer.writer.close()
            with suppress(OSError):
                await peer.writer.wait_closed()

    async def is_served(self) -> bool:
        peer = await self.peer()
        await peer.send(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        return (await peer.rest()).startswith(b"HTTP/1.1 200 ")


@asynccontextmanager
async def place(folder: Path, limits: Limits) -> AsyncIterator[Place]:
    """Serve the whole system on a real port."""
    front, listener = Front(lambda: True), open_port("127.0.0.1", 0)
    async with api_on(folder, turning=True) as api, serving_on(listener, front, limits):
        front.app = api.app
        served = Place(listener.getsockname()[1], api.key)
        try:
            yield served
        finally:
            await served.hang_up()


@pytest.fixture
async def quick(tmp_path: Path) -> AsyncIterator[Place]:
    async with place(tmp_path, QUICK) as served:
        yield served


@pytest.fixture
async def patient(tmp_path: Path) -> AsyncIterator[Place]:
    async with place(tmp_path, PATIENT) as served:
        yield served


async def test_who_sends_nothing_or_half_a_head_is_cut_off(quick: Place) -> None:
    silent, half = await quick.peer(), await quick.peer()
    await half.send(b"GET /livez HTTP/1.1\r\nho")
    assert await silent.rest() == b""
    assert (await half.rest()).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("start", [b"", HEAD + b"content-length: 5000\r\n\r\n"], ids=["head", "body"])
async def test_who_dribbles_is_cut_off_however_steadily(quick: Place, start: bytes) -> None:
    peer = await quick.peer()
    await peer.send(start % quick.key if start else b"GET /livez HTTP/1.1\r\n")
    closed = asyncio.create_task(peer.rest())
    while not closed.done():
        peer.writer.write(b"a: b\r\n" if not start else b" ")
        await asyncio.sleep(0.02)
    assert b"HTTP/1.1 408 " in await closed or closed.result() == b""
    assert await quick.is_served()


async def test_a_connection_that_was_served_before_has_the_same_deadline(quick: Place) -> None:
    peer = await quick.peer()
    await peer.send(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await peer.answer()).startswith(b"HTTP/1.1 200 ")
    await peer.send(b"GET /livez HT")
    assert b"HTTP/1.1 408 " in await peer.rest()


async def test_an_endless_head_is_refused(patient: Place) -> None:
    peer = await patient.peer()
    await peer.send(b"GET /livez HTTP/1.1\r\n" + b"".join(b"h%d: %0200d\r\n" % (n, n) for n in range(1000)))
    assert (await peer.rest()).startswith(b"HTTP/1.1 431 ") or not await peer.rest()


async def test_ten_megabytes_are_refused_before_they_are_sent(patient: Place) -> None:
    peer = await patient.peer()
    await peer.send(HEAD % patient.key + b"content-length: 10485760\r\n\r\n")
    assert (await peer.answer()).startswith(b"HTTP/1.1 413 ")


async def test_of_a_body_without_end_no_more_is_read_than_the_limit(patient: Place) -> None:
    peer = await patient.peer()
    await peer.send(HEAD % patient.key + b"transfer-encoding: chunked\r\n\r\n")
    sent = 0
    answered = asyncio.create_task(peer.answer())
    async with asyncio.timeout(DEADLINE):
        try:
            while sent < 100 * MIB:
                await peer.send(b"10000\r\n" + b" " * 65536 + b"\r\n")
                sent += 65536
        except (ConnectionResetError, BrokenPipeError):
            pass
    assert sent < 30 * MIB, "what the kernel's buffers hold, but not what was offered"
    assert (await answered).startswith(b"HTTP/1.1 413 ")
    assert await patient.is_served()


async def test_hundreds_who_dribble_are_in_nobodys_way(patient: Place) -> None:
    peers = [await patient.peer() for _ in range(200)]
    for peer in peers:
        if not peer.writer.is_closing():
            peer.writer.write(b"GET / HTTP/1.1\r\nho")
    assert all([await patient.is_served() for _ in range(20)])


async def test_a_slow_but_honest_upload_gets_the_time_that_its_length_takes(tmp_path: Path) -> None:
    body = b'{"note": "' + b"a" * 900 + b'"}'
    async with place(tmp_path, Limits(patience=0.2, rate=100)) as served:
        peer = await served.peer()
        await peer.send(HEAD.replace(b"schedules", b"preview") % served.key + b"content-length: %d\r\n\r\n" % len(body))
        for start in range(0, len(body), 100):
            await peer.send(body[start : start + 100])
            await asyncio.sleep(0.05)
        assert (await peer.answer()).startswith(b"HTTP/1.1 422 ")
