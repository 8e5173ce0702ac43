"""No name, no change of a name, no redirect and no kept connection leads to an address that may not be called."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.abc import ResolveResult

from backend.model.egress import ANYWHERE, read_egress
from backend.targets import http_guard
from backend.targets.sender import Answer, NoAnswer
from tests.unit.ssrf_world import (
    FORBIDDEN_V4,
    FORBIDDEN_V6,
    Names,
    Port,
    kept_alive,
    listening,
    public,
    request,
    sending,
)


@pytest.fixture
async def reached() -> AsyncIterator[list[str]]:
    """Listen on loopback and note who came: nobody should."""
    came: list[str] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append((await reader.readline()).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        writer.close()

    async with listening(note) as Port.number:
        yield came


@pytest.mark.anyio
async def test_no_name_leads_to_a_forbidden_address(reached: list[str]) -> None:
    addresses = [*FORBIDDEN_V4, *FORBIDDEN_V6, *(f"::ffff:{address}" for address in FORBIDDEN_V4)]
    names = Names(**{f"n{n}": [address] for n, address in enumerate(addresses)})
    async with sending(names) as one:
        for n, address in enumerate(addresses):
            answer = await one.send(request(f"http://n{n}.example.org:{Port.number}/"))
            assert isinstance(answer, NoAnswer), address
            assert answer.permanent, address
            assert answer.error.startswith(f"blocked: n{n}.example.org is at a"), (address, answer)
    assert len(names.asked) == len(addresses)
    assert not reached


@pytest.mark.anyio
@pytest.mark.parametrize("mixed", [["192.0.2.99", "127.0.0.1"], ["127.0.0.1", "1.1.1.1"], ["2606:4700::1", "fc00::1"]])
async def test_a_name_with_public_and_forbidden_addresses_is_refused_before_any_is_called(
    mixed: list[str], reached: list[str]
) -> None:
    async with sending(Names(mixed=mixed)) as one:
        answer = await one.send(request(f"http://mixed.example.org:{Port.number}/"))
    assert isinstance(answer, NoAnswer)
    assert answer.error.startswith("blocked: mixed.example.org is at a")
    assert answer.permanent
    assert not reached


@pytest.mark.anyio
async def test_of_many_requests_for_one_name_at_once_each_is_told_that_it_is_blocked(reached: list[str]) -> None:
    async with sending(Names(inside=["10.0.0.1"])) as one:
        answers = await asyncio.gather(*(one.send(request("http://inside.example.org/")) for _ in range(20)))
    assert {(type(answer), getattr(answer, "error", None)) for answer in answers} == {
        (NoAnswer, "blocked: inside.example.org is at a private address")
    }


@pytest.mark.anyio
async def test_a_name_that_changes_between_the_look_and_the_call_is_refused_at_the_socket(
    reached: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rebinding: the resolver's check passes, and then another address is connected to."""

    async def unguarded(self: http_guard.GuardedResolver, *args: Any, **named: Any) -> list[ResolveResult]:
        return await self._inner.resolve(*args, **named)

    monkeypatch.setattr(http_guard.GuardedResolver, "resolve", unguarded)
    async with sending(Names(rebound=["127.0.0.1"])) as one:
        answer = await one.send(request(f"http://rebound.example.org:{Port.number}/"))
    assert answer == NoAnswer("blocked: rebound.example.org is at a loopback address", permanent=True, blocked=True)
    assert not reached


@pytest.mark.anyio
async def test_a_name_that_was_public_once_is_judged_anew_when_it_turns_private(
    reached: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    public(monkeypatch)
    async with sending(Names(turning=[["127.0.0.1"], ["10.0.0.1"]])) as one:
        one._session.connector._use_dns_cache = False  # type: ignore[union-attr] # ten seconds are over
        url = f"http://turning.example.org:{Port.number}/"
        assert isinstance(await one.send(request(url)), Answer)
        assert await one.send(request(url)) == NoAnswer(
            "blocked: turning.example.org is at a private address", permanent=True, blocked=True
        )
    assert len(reached) == 1


@pytest.mark.anyio
async def test_a_redirect_to_a_forbidden_address_is_not_followed(
    reached: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    public(monkeypatch)

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        there = f"Location: http://127.0.0.1:{Port.number}/\r\n".encode()
        writer.write(b"HTTP/1.1 302 Found\r\n" + there + b"Content-Length: 0\r\nConnection: close\r\n\r\n")

    async with listening(redirect) as port, sending() as one:
        for _ in range(2):
            answer = await one.send(request(f"http://127.0.0.1:{port}/"))
            assert isinstance(answer, Answer)
            assert answer.status == 302
    assert not reached


@pytest.mark.anyio
async def test_a_connection_that_one_namespace_may_have_is_not_lent_to_another() -> None:
    inside = read_egress(["127.0.0.0/8"])
    async with kept_alive() as (port, seen), sending(Names(inside=["127.0.0.1"])) as one:
        for url in (f"http://inside.example.org:{port}/", f"http://127.0.0.1:{port}/"):
            assert isinstance(await one.send(request(url, inside)), Answer)
            for egress in (ANYWHERE, read_egress(["inside.example.org"]), read_egress(["10.0.0.0/8"])):
                refused = await one.send(request(url, egress))
                assert isinstance(refused, NoAnswer)
                assert refused.error.startswith("blocked: ")
                assert refused.permanent
            assert isinstance(await one.send(request(url, inside)), Answer)
    assert seen == [1, 2, 3, 4]


@pytest.mark.anyio
async def test_a_connection_that_is_kept_alive_does_not_skip_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    forbid = public(monkeypatch)
    async with kept_alive() as (port, seen), sending() as one:
        url = f"http://127.0.0.1:{port}/"
        assert isinstance(await one.send(request(url)), Answer)
        assert isinstance(await one.send(request(url)), Answer)
        assert seen == [1, 1], "the connection is shared, or this test proves nothing"
        forbid("127.0.0.1")
        assert isinstance(await one.send(request(url)), NoAnswer)
    assert len(seen) == 2
