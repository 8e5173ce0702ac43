"""What may stand in an http target, and why the rest may not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from yarl import URL

from backend.errors import FieldError
from backend.model.egress import Egress
from backend.model.secret import SecretRef
from backend.targets.http_guard import forbidden_kind, literal_address
from backend.targets.signing import SIGNATURE_HEADERS

URL_CHARACTERS = 2048
MOST_HEADERS = 100
HEADER_BYTES = 8 * 1024
IDENTITY_HEADERS = frozenset(
    {"idempotency-key", "x-schedule-id", "x-run-id", "x-attempt", "x-nominal-time"}
    | {"x-callback-token", "x-callback-url"}
)
HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
FRAMING_HEADERS = HOP_BY_HOP | {"content-length", "expect", "host"}

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC = re.compile(r"\d+|0x[0-9a-f]*")
_ASK = "name one of them, or ask an administrator to add it (PUT /api/v1/egress)"
_EXAMPLE = 'give an absolute URL such as "https://example.org/hook"'


@lru_cache(maxsize=1024)
def checked_url(text: str) -> str:
    """Accept an absolute http or https URL; FieldError for anything that a client could read in two ways."""
    if len(text) > URL_CHARACTERS:
        raise FieldError(f"the URL has {len(text)} characters, over {URL_CHARACTERS}", "put long values in the body")
    # urllib drops newlines inside a URL without a word; refused before anything parses it.
    if _CONTROL.search(text) or " " in text or not _encodable(text):
        raise FieldError("the URL holds a space or a control character", "percent-encode it, a space as %20")
    url = _parsed(text)
    if url.scheme not in {"http", "https"}:
        raise FieldError(f"the scheme {url.scheme[:20]!r} is not http or https", _EXAMPLE)
    if url.raw_user is not None or url.raw_password is not None:
        raise FieldError("the URL holds a user name or password", "send an Authorization header instead")
    _check_host(url.raw_host or "")
    if url.explicit_port == 0:
        raise FieldError("port 0 is outside 1–65535", "give the port that the target listens on")
    return text


def _parsed(text: str) -> URL:
    try:
        return URL(text)
    except ValueError as error:
        raise FieldError(f"the URL cannot be read ({error})", _EXAMPLE) from error


def _check_host(host: str) -> None:
    if not host:
        raise FieldError("the URL has no host", _EXAMPLE)
    if literal_address(host) is not None:
        return
    labels = host.lower().removesuffix(".").split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise FieldError(f"the host {host[:80]!r} is not a name or an address", _EXAMPLE)
    # "127.1" and "0x7f000001" are addresses to some resolvers and names to others.
    if _NUMERIC.fullmatch(labels[-1]):
        raise FieldError(f"the host {host!r} is not a complete IP address", "write all four decimal parts")


def check_host(url: str, egress: Egress, *, allow_private: bool) -> None:
    """Raise FieldError for a host that may not be called, as far as its text says so: a name may turn out to be."""
    host = URL(url).raw_host or ""
    address = literal_address(host)
    if address is not None and egress.holds(address):
        return
    # What a name stands for is seen when it is called: it may be in one of the networks.
    if egress.restricted and not egress.names_host(host) and (address is not None or not egress.networks):
        raise FieldError(f"{host[:80]} is not among the hosts that this namespace may call", _ASK, "url")
    kind = None if address is None or allow_private else forbidden_kind(address)
    if kind is not None:
        fix = "use a public address, or set SCHEDULER_ALLOW_PRIVATE_URLS=true on the server"
        raise FieldError(f"{address} is a {kind} address", fix, "url")


def check_signed(headers: Mapping[str, object]) -> None:
    """Raise FieldError for a header that the signature brings."""
    for name in headers:
        if name.lower() in SIGNATURE_HEADERS:
            raise FieldError(f"the header {name!r} comes with signing_secret", "leave it out", f"headers.{name}")


def sendable(given: Mapping[str, str | SecretRef], headers: Mapping[str, str]) -> dict[str, str]:
    """Check the values of secrets that go into headers; the messages name the secret alone."""
    for name, value in given.items():
        if isinstance(value, SecretRef) and not _fits(name, headers[name]):
            rule = f"the secret {value.secret!r} cannot go into the header {name!r}"
            raise FieldError(rule, f"store one line of text below {HEADER_BYTES} bytes", name)
    return dict(headers)


def _fits(name: str, value: str) -> bool:
    return _is_one_line(value) and len(name) + len(value.encode()) <= HEADER_BYTES


def _is_one_line(value: str) -> bool:
    return not _CONTROL.search(value.replace("\t", "")) and _encodable(value)


def checked_headers(headers: Mapping[str, str | SecretRef]) -> dict[str, str | SecretRef]:
    """Accept headers of up to 8 KiB that leave identity and framing to us."""
    seen: set[str] = set()
    for name, value in headers.items():
        _check_header(name, value)
        if name.lower() in seen:
            raise FieldError(f"the header {name!r} is given twice", "names differ by more than case", name)
        seen.add(name.lower())
    return dict(headers)


def _check_header(name: str, value: str | SecretRef) -> None:
    if not _TOKEN.fullmatch(name):
        raise FieldError(f"{name[:80]!r} is not the name of a header", "use letters, digits and hyphens")
    if name.lower() in IDENTITY_HEADERS:
        raise FieldError(f"the header {name!r} tells the target which run this is", "choose another name", name)
    if name.lower() in FRAMING_HEADERS:
        raise FieldError(f"the header {name!r} is set by the connection", "leave it out", name)
    if isinstance(value, SecretRef):
        return
    if not _is_one_line(value):
        raise FieldError(f"the header {name!r} holds a control character", "give one line of text", name)
    if len(name) + len(value.encode()) > HEADER_BYTES:
        raise FieldError(f"the header {name!r} is over {HEADER_BYTES} bytes", "put long values in the body", name)


def check_body(method: str, body: object) -> None:
    """Raise FieldError for a body that the method does not carry."""
    if body is not None and method in {"GET", "HEAD"}:
        raise FieldError(f"a {method} request has no body", "use POST, PUT or PATCH, or leave the body out", "body")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
