"""What an http target may say, and where it may point."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from backend.errors import FieldError
from backend.targets.base import TargetRules
from backend.targets.http import HttpTarget
from backend.targets.http_guard import Policy, forbidden_kind, open_permitted_socket, verdict
from backend.targets.registry import KINDS, parse_target

STRICT = TargetRules(allow_commands=False, allow_private_urls=False)
OPEN = TargetRules(allow_commands=False, allow_private_urls=True)


def refusal(**fields: Any) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        parse_target({"kind": "http", "url": "https://example.org/hook"} | fields)
    (error,) = caught.value.errors()
    return str(error["loc"][1]) if len(error["loc"]) > 1 else "", error["msg"]


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("", "not http or https"),
        ("example.org/hook", "not http or https"),
        ("ftp://example.org/", "not http or https"),
        ("file:///etc/passwd", "not http or https"),
        ("http://", "no host"),
        ("http:///path", "no host"),
        ("https://user@example.org/", "user name or password"),
        ("https://:secret@example.org/", "user name or password"),
        ("https://example.org:0/", "outside 1–65535"),
        ("https://example.org:65536/", "cannot be read"),
        ("https://example.org:http/", "cannot be read"),
        ("https://[::1/", "cannot be read"),
        ("https://exa mple.org/", "space or a control character"),
        ("https://example.org/a\r\nX: y", "space or a control character"),
        ("https://example.org/\x00", "space or a control character"),
        ("https://example.org/\ud800", "space or a control character"),
        ("https://ex%61mple.org/", "not a name or an address"),
        ("https://-a.example.org/", "not a name or an address"),
        (f"https://{'a' * 64}.org/", "not a name or an address"),
        ("http://127.1/", "not a complete IP address"),
        ("http://2130706433/", "not a complete IP address"),
        ("http://0x7f000001/", "not a complete IP address"),
        ("https://example.org/" + "a" * 2040, "over 2048"),
    ],
)
def test_a_url_that_cannot_be_called_is_refused_with_its_rule(url: str, rule: str) -> None:
    field, message = refusal(url=url)
    assert field == "url"
    assert rule in message


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org",
        "HTTPS://Example.ORG:8443/a%20b?q=1#part",
        "http://hook_sink:9000/",
        "http://bücher.example/",
        "http://8.8.8.8/",
        "http://[2606:4700::1111]/",
        "http://example.org./",
    ],
)
def test_an_ordinary_url_is_kept_as_written_and_passes_the_check(url: str) -> None:
    target = HttpTarget(url=url)
    target.check(STRICT)
    assert target.url == url


@pytest.mark.parametrize(
    ("headers", "rule"),
    [
        ({"Idempotency-Key": "mine"}, "tells the target which run this is"),
        ({"x-run-ID": "mine"}, "tells the target which run this is"),
        ({"X-Attempt": "9"}, "tells the target which run this is"),
        ({"Content-Length": "0"}, "set by the connection"),
        ({"Transfer-Encoding": "chunked"}, "set by the connection"),
        ({"Host": "internal"}, "set by the connection"),
        ({"X A": "b"}, "not the name of a header"),
        ({"": "b"}, "not the name of a header"),
        ({"Ünicode": "b"}, "not the name of a header"),
        ({"X-A": "b\r\nX-B: c"}, "control character"),
        ({"X-A": "b\nc"}, "control character"),
        ({"X-A": "\x00"}, "control character"),
        ({"X-A": "\ud800"}, "control character"),
        ({"X-A": "b", "x-a": "c"}, "given twice"),
        ({"X-A": "b" * 8190}, "over 8192 bytes"),
        ({f"X-{n}": "b" for n in range(101)}, "at most 100"),
    ],
)
def test_a_header_that_would_lie_or_break_the_request_is_refused(headers: dict[str, str], rule: str) -> None:
    field, message = refusal(headers=headers)
    assert field == "headers"
    assert rule in message


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "TRACE"},
        {"method": "get"},
        {"success_statuses": []},
        {"success_statuses": [99]},
        {"success_statuses": [True, 700]},
        {"body": float("nan")},
        {"timeout": 5},
        {"url": None},
        {"headers": {"X-A": 1}},
    ],
)
def test_a_document_of_another_shape_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        parse_target({"kind": "http", "url": "https://example.org/hook"} | fields)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_method_without_body_refuses_one(method: str) -> None:
    with pytest.raises(ValidationError, match="has no body"):
        HttpTarget(url="https://example.org/", method=method, body={})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.0.3", "loopback"),
        ("0.0.0.0", "this-network"),
        ("10.1.2.3", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "shared"),
        ("100.100.100.200", "shared"),
        ("169.254.169.254", "link-local"),
        ("168.63.129.16", "metadata"),
        ("192.0.0.8", "reserved"),
        ("192.0.2.1", "documentation"),
        ("198.18.0.1", "reserved"),
        ("224.0.0.1", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("[::]", "unspecified"),
        ("[::1]", "loopback"),
        ("[::ffff:10.0.0.1]", "private"),
        ("[::ffff:169.254.169.254]", "link-local"),
        ("[::127.0.0.1]", "reserved"),
        ("[64:ff9b::7f00:1]", "NAT64"),
        ("[64:ff9b:1::1]", "NAT64"),
        ("[2002:7f00:1::]", "6to4"),
        ("[2001:0:1::1]", "reserved"),
        ("[2001:db8::1]", "documentation"),
        ("[fc00::1]", "private"),
        ("[fd00:ec2::254]", "private"),
        ("[fe80::1]", "link-local"),
        ("[fe80::1%25eth0]", "link-local"),
        ("[fec0::1]", "private"),
        ("[ff02::1]", "multicast"),
        ("[4000::1]", "reserved"),
        ("127.0.0.1.", "loopback"),
        ("①②⑦.⓪.⓪.①", "loopback"),
    ],
)
def test_an_address_that_is_not_public_is_refused_unless_allowed(host: str, kind: str) -> None:
    target = HttpTarget(url=f"http://{host}:8080/")
    target.check(OPEN)
    with pytest.raises(FieldError) as caught:
        target.check(STRICT)
    assert caught.value.field == "url"
    assert f"a {kind} address" in caught.value.rule
    assert "SCHEDULER_ALLOW_PRIVATE_URLS" in caught.value.fix


@pytest.mark.parametrize("address", ["1.1.1.1", "172.32.0.1", "192.0.1.1", "2606:4700::1", "2a00::1", "::ffff:1.1.1.1"])
def test_a_public_address_is_not_refused(address: str) -> None:
    assert forbidden_kind(ip_address(address)) is None


def test_a_name_with_public_and_private_addresses_is_not_called_blocked_when_the_public_one_was_tried() -> None:
    def info(address: str) -> tuple[Any, Any, int, str, tuple[Any, ...]]:
        return socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, 80)

    with verdict(Policy()) as judged:
        with pytest.raises(OSError, match="private address, refused"):
            open_permitted_socket(info("10.0.0.1"))
        assert judged.blocked == "at a private address"
        open_permitted_socket(info("1.1.1.1")).close()
        assert judged.blocked is None


def test_every_kind_is_registered_under_its_own_name_and_documented() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/targets.md").read_text()
    for kind, model in KINDS.items():
        assert model.model_fields["kind"].default == kind
        assert f"## `{kind}`" in page
        for field in model.model_fields:
            assert f"`{field}`" in page, f"{kind}.{field} is not documented"


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValidationError, match="'http', 'command', 'python'"):
        parse_target({"kind": "smoke_signal"})


def test_a_target_survives_the_round_through_json() -> None:
    target = parse_target('{"kind":"http","url":"https://example.org/","success_statuses":[200,404],"body":{"a":[1]}}')
    assert parse_target(target.model_dump_json()) == target
    assert parse_target(target.model_dump()) == target
