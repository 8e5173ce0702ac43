"""No spelling of an address, no name and no redirect leads a target to a host that it may not call.

The forms are generated: every kind of forbidden address in every way of writing it that some program reads.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from backend.errors import FieldError
from backend.model.egress import ANYWHERE, Egress, read_egress
from backend.targets import http_guard, sender
from backend.targets.base import TargetRules
from backend.targets.http import HttpTarget
from backend.targets.http_guard import forbidden_kind
from backend.targets.output import KEPT_BYTES
from backend.targets.sender import Answer, NoAnswer, Request, Sender

FORBIDDEN_V4 = [
    "0.0.0.0",
    "0.255.1.2",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.254",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
]
FORBIDDEN_V6 = [
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:0:1",
    "64:ff9b::1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "3fff::1",
    "5f00::1",
    "4000::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "ff05::2",
]
PUBLIC = ("1.1.1.1", "8.8.8.8", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8")
STRICT = TargetRules(allow_commands=False, allow_private_urls=False)
WIDE = str.maketrans("0123456789.", "０１２３４５６７８９。")


def spellings(address: str) -> Iterator[str]:
    """Write an IPv4 address in all the ways that some resolver or library reads as it."""
    value = int(IPv4Address(address))
    a, b, c, d = IPv4Address(address).packed
    yield from (
        address,
        f"{address}.",
        address.translate(WIDE),
        address.replace(".", "。"),
        address.replace(".", "%2e"),
    )
    yield from (str(value), f"0x{value:x}", f"0X{value:08X}", f"0{value:o}", f"{value}.")
    yield from (f"{a}.{(b << 16) + (c << 8) + d}", f"{a}.{b}.{(c << 8) + d}", f"0x{a:x}.{b}.{c}.{d}")
    yield from (f"0{a:o}.0{b:o}.0{c:o}.0{d:o}", f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}", f"{a:03}.{b:03}.{c:03}.{d:03}")
    yield from (f"{a}.{b}.{c}.0x{d:x}", f"{a}.{b}.0x{(c << 8) + d:x}", f"0x{a:x}.{(b << 16) + (c << 8) + d}")
    high, low = f"{(a << 8) + b:x}", f"{(c << 8) + d:x}"
    yield from (f"[::ffff:{address}]", f"[::FFFF:{high}:{low}]", f"[0:0:0:0:0:ffff:{high}:{low}]", f"[::{address}]")
    yield from (f"[64:ff9b::{address}]", f"[64:ff9b:1::{high}:{low}]", f"[2002:{high}:{low}::]")
    yield from (
        f"[2001:0:{high}:{low}::1]",
        f"[2001::1:{high}:{low}]",
        f"[::ffff:{address}%25eth0]",
        f"[::ffff:0:{address}]",
    )


def spellings_v6(address: str) -> Iterator[str]:
    """Write an IPv6 address in the ways that there are."""
    full = IPv6Address(address)
    yield from (
        f"[{address}]",
        f"[{full.exploded}]",
        f"[{full.exploded.upper()}]",
        f"[{address}%25eth0]",
        f"[{address}%251]",
    )


HOSTS = [
    *((host, address) for address in FORBIDDEN_V4 for host in spellings(address)),
    *((host, address) for address in FORBIDDEN_V6 for host in spellings_v6(address)),
]


def test_no_spelling_of_a_forbidden_address_is_accepted_in_a_url() -> None:
    accepted = [
        host for host, _ in HOSTS if _is_accepted(f"http://{host}/") or _is_accepted(f"https://{host}:8080/a?b")
    ]
    assert not accepted
    assert len(HOSTS) > 700


def _is_accepted(url: str) -> bool:
    try:
        HttpTarget(url=url).check(STRICT)
    except (FieldError, ValueError):
        return False
    return True


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org@127.0.0.1/",
        "http://127.0.0.1@example.org/",
        "http://127.0.0.1\\@example.org/",
        "http://example.org\\.127.0.0.1/",
        "http://127.0.0.1:80@example.org/",
        "http://127.0.0.1#@example.org/",
        "http://127.0.0.1?@example.org/",
        "http:127.0.0.1/",
        "http:///127.0.0.1/",
        "//127.0.0.1/",
        "http://127.0.0.1\t.example.org/",
        "http://[::1]example.org/",
        "http://[::1].example.org/",
        "http://[v1.127.0.0.1]/",
        "file://127.0.0.1/etc/passwd",
        "gopher://127.0.0.1/",
        "dict://127.0.0.1:11211/",
        "unix:///var/run/docker.sock",
    ],
)
def test_a_url_that_two_readers_could_understand_differently_is_refused(url: str) -> None:
    assert not _is_accepted(url)


def test_public_addresses_are_accepted() -> None:
    assert all(_is_accepted(f"http://{f'[{address}]' if ':' in address else address}/") for address in PUBLIC)
    assert [forbidden_kind(ip_address(address)) for address in PUBLIC] == [None] * len(PUBLIC)


class Names(AbstractResolver):
    """A resolver whose answers are written down; a list of lists is answered one after another."""

    def __init__(self, **names: list[str] | list[list[str]]) -> None:
        self.names = names
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked.append(host)
        found = self.names[host.partition(".")[0]]
        addresses = found.pop(0) if isinstance(found[0], list) else found
        return [_resolved(host, port, str(address)) for address in addresses]

    async def close(self) -> None:
        """Nothing to do."""


def _resolved(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)


@asynccontextmanager
async def sending(resolver: Names | None = None, *, allow_private: bool = False) -> AsyncIterator[Sender]:
    async with Sender.open(concurrency=50, allow_private=allow_private, resolver=resolver) as one:
        yield one


def request(url: str, egress: Egress = ANYWHERE, timeout: float = 10) -> Request:
    return Request("GET", URL(url), {}, None, timeout, egress)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[int]:
    """Serve on loopback and leave no connection open; answers the port."""
    writers: list[asyncio.StreamWriter] = []

    async def serving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await serve(reader, writer)

    server = await asyncio.start_server(serving, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)


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


class Port:
    number = 0


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
    assert answer == NoAnswer("blocked: rebound.example.org is at a loopback address", permanent=True)
    assert not reached


def public(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let loopback pass for public, so that a test can be called by a sender that guards."""
    real = http_guard.forbidden_kind
    given = {"127.0.0.1"}
    monkeypatch.setattr(http_guard, "forbidden_kind", lambda a: None if str(a) in given else real(a))
    return given.discard


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
            "blocked: turning.example.org is at a private address", permanent=True
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


@asynccontextmanager
async def kept_alive() -> AsyncIterator[tuple[int, list[int]]]:
    """Serve connections that stay open; each request notes the number of its connection."""
    seen: list[int] = []
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        number = connections
        while True:
            await reader.readuntil(b"\r\n\r\n")
            seen.append(number)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a=1\r\n\r\nok")

    async with listening(serve) as port:
        yield port, seen


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


ALLOWED = ["api.example.org", "*.example.com", "203.0.114.7", "10.1.0.0/16", "fd12::/32"]


@pytest.mark.parametrize(
    ("host", "accepted"),
    [
        ("api.example.org", True),
        ("API.Example.ORG.", True),
        ("a.example.com", True),
        ("a.b.example.com", True),
        ("203.0.114.7", True),
        ("10.1.2.3", True),
        ("[::ffff:10.1.2.3]", True),
        ("[fd12::1]", True),
        ("other.example.net", True),  # it may turn out to be in a network
        ("10.2.0.1", False),
        ("1.1.1.1", False),
        ("[fd13::1]", False),
        ("127.0.0.1", False),
    ],
)
def test_an_allow_list_decides_about_the_hosts_that_a_url_names(host: str, accepted: bool) -> None:
    rules = TargetRules(allow_commands=False, allow_private_urls=False, egress=read_egress(ALLOWED))
    target = HttpTarget(url=f"https://{host}/")
    if accepted:
        target.check(rules)
    else:
        with pytest.raises(FieldError, match="not among the hosts that this namespace may call") as refused:
            target.check(rules)
        assert refused.value.field == "url"


@pytest.mark.parametrize("host", ["example.com", "xexample.com", "api.example.org.evil.net", "evilapi.example.org"])
def test_a_list_of_names_alone_refuses_every_other_name(host: str) -> None:
    rules = TargetRules(allow_commands=False, allow_private_urls=True, egress=read_egress(ALLOWED[:2]))
    with pytest.raises(FieldError, match="not among the hosts"):
        HttpTarget(url=f"https://{host}/").check(rules)


@pytest.mark.anyio
async def test_an_allow_list_decides_at_the_connection_what_a_name_turned_out_to_be() -> None:
    egress = read_egress(["named.example.org", "127.0.0.1"])
    names = Names(named=["10.0.0.1"], inside=["127.0.0.1"], elsewhere=["1.1.1.1"])
    async with kept_alive() as (port, seen), sending(names) as one:
        answers = [await one.send(request(f"http://{name}.example.org:{port}/", egress)) for name in names.names]
    foreign = "not among the hosts that this namespace may call"
    assert answers[0] == NoAnswer("blocked: named.example.org is at a private address", permanent=True)
    assert isinstance(answers[1], Answer)
    assert answers[2] == NoAnswer(f"blocked: elsewhere.example.org is {foreign}", permanent=True)
    assert len(seen) == 1


@pytest.mark.parametrize(
    "entry", ["", "*", "*.", "a b", "http://example.org", "example.org:80", "10.0.0.1/8", "x/24", "*.*.org"]
)
def test_an_entry_that_is_neither_name_nor_network_is_refused(entry: str) -> None:
    with pytest.raises(FieldError, match=r"neither a name nor a network|not a network"):
        read_egress([entry])


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
