"""What a target answers is bounded in size and time, and nothing of the server's own goes along with a request."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import aiohttp
import pytest

from backend.targets import sender
from backend.targets.output import KEPT_BYTES
from backend.targets.sender import Answer, NoAnswer
from tests.unit.ssrf_world import (
    listening,
    request,
    sending,
)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 10_000 + b"\r\n",
        b"HTTP/1.1 200 " + b"a" * 100_000 + b"\r\n\r\n",
    ],
    ids=["a long header", "many headers", "a long status line"],
)
async def test_an_answer_with_too_much_in_front_is_cut_off(head: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)

    async with listening(serve) as port, sending(allow_private=True) as one:
        answer = await one.send(request(f"http://127.0.0.1:{port}/"))
    assert isinstance(answer, NoAnswer)
    assert "not valid HTTP" in answer.error


@pytest.mark.anyio
async def test_a_body_without_end_is_cut_and_one_that_drips_ends_at_the_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sender, "BEYOND_TIMEOUT_SECONDS", 0.0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        drips = b"/drip" in await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with suppress(ConnectionError, RuntimeError):  # uvloop's, once the other side has gone
            while True:
                writer.write(b"1\r\na\r\n" if drips else b"10000\r\n" + b"a" * 65536 + b"\r\n")
                await writer.drain()
                await asyncio.sleep(0.02 if drips else 0)

    async with asyncio.timeout(20), listening(serve) as port, sending(allow_private=True) as one:
        endless = await one.send(request(f"http://127.0.0.1:{port}/endless"))
        assert isinstance(endless, Answer)
        assert (endless.output.size, endless.output.truncated) == (KEPT_BYTES, True)
        dripping = await one.send(request(f"http://127.0.0.1:{port}/drip", timeout=0.3))
    assert not isinstance(dripping, Answer) or not dripping.complete


@pytest.mark.anyio
async def test_no_cookie_no_proxy_and_no_password_file_of_the_server_goes_into_a_request(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password hush")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: session=1; Path=/\r\nConnection: close\r\n\r\n"
        )
        writer.close()

    async with listening(serve) as port, sending(allow_private=True) as one:
        for _ in range(2):
            await one.send(request(f"http://127.0.0.1:{port}/"))
        assert isinstance(one._session.cookie_jar, aiohttp.DummyCookieJar)
        assert isinstance(one._apart.cookie_jar, aiohttp.DummyCookieJar)
    assert len(heads) == 2
    assert not any(word in head.lower() for head in heads for word in (b"cookie", b"authorization"))
