"""What travels: requests as they are meant and as bytes, answers as bytes and as documents. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from backend.client.errors import NoScheduler, Unavailable, problem_of

PREFIX = "/api/v1"
JSON = "application/json"
ICAL = "text/calendar"
LARGEST_ANSWER = 256 * 2**20
NOT_READY = ("starting", "draining")
"""What a server says of itself instead of an answer, as while it waits for its database."""
LONGEST_WAIT = 3600.0

Json: TypeAlias = dict[str, Any]
Query: TypeAlias = Mapping[str, str | int | bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it is meant. A body is an object, or a text of the media type `media`."""

    method: str
    path: tuple[str, ...]
    query: Query = field(default_factory=dict)
    body: Json | str | None = None
    media: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    prefix: str = PREFIX
    timeout: float | None = None
    """Seconds without a byte from the server; None: as the client has it."""
    repeated: bool = True
    """Whether it is tried again when that may help."""


class Wire(NamedTuple):
    """A request as it travels."""

    method: str
    target: str
    headers: dict[str, str]
    content: bytes | None


class Answer(NamedTuple):
    """An answer as it travels; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Address:
    """One server, as one key and namespace see it."""

    url: str
    api_key: str | None = None
    namespace: str | None = None
    agent: str = ""

    @property
    def parts(self) -> SplitResult:
        """Take the URL apart."""
        return split_url(self.url)

    def wire(self, request: Request, headers: Mapping[str, str]) -> Wire:
        """Write a request down."""
        content = _encoded(request.body)
        written = {"Accept": JSON, "User-Agent": self.agent, **headers, **request.headers}
        if self.api_key:
            written["Authorization"] = f"Bearer {self.api_key}"
        if content is not None:
            written["Content-Type"] = request.media
        return Wire(request.method, self._target(request), written, content)

    def _target(self, request: Request) -> str:
        wanted = {name: _written(value) for name, value in request.query.items() if value is not None}
        if self.namespace and request.prefix:
            wanted["namespace"] = self.namespace
        path = self.parts.path.rstrip("/")
        place = "/".join((path + request.prefix, *(quote(part, safe="") for part in request.path)))
        return f"{place}?{urlencode(wanted)}" if wanted else place


def split_url(url: str) -> SplitResult:
    """Take a server's URL apart; ValueError unless it is http or https with a host and nothing but a path."""
    try:
        parts = urlsplit(url)
        plain = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ValueError(f"{url!r} is not a URL") from None
    if not plain or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"{url!r} is not an http or https URL")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"{url!r} has more than scheme, host, port and path")
    return parts


def checked_key(key: str) -> str:
    """Check that a key can travel in a header, or raise ValueError."""
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError("the API key holds characters that no key has; copy it again")
    return key


def document_of(url: str, answer: Answer) -> Json:
    """Read an answer that should be an object; one that is none, or that says no, is raised as an error."""
    if 300 <= answer.status < 400:
        raise NoScheduler(url, answer.status, answer.headers.get("location"))
    document = _document(answer.content)
    if answer.status >= 400:
        raise _error(url, answer, document)
    if document is None:
        raise NoScheduler(url, answer.status)
    return document


def text_of(url: str, answer: Answer) -> str:
    """Read an answer that should be a text."""
    if answer.status != 200:
        document_of(url, answer)
        raise NoScheduler(url, answer.status)
    return answer.content.decode(errors="replace")


def _error(url: str, answer: Answer, document: Json | None) -> Exception:
    wait = _seconds(answer.headers.get("retry-after"))
    if document is not None and ("title" in document or "detail" in document):
        return problem_of({**document, "status": answer.status}, wait)
    state = document.get("status") if document else None
    if answer.status == 503 and state in NOT_READY:
        said = {"title": "Service Unavailable", "status": 503, "detail": f"the scheduler at {url} is {state}"}
        return Unavailable(said, wait, state=str(state))
    return NoScheduler(url, answer.status)


def _seconds(text: str | None) -> float | None:
    # The other form, a date, is written by proxies alone; the back-off does for it.
    return min(float(text), LONGEST_WAIT) if text and text.isdecimal() and text.isascii() else None


def _document(content: bytes) -> Json | None:
    """Decode an object; no body counts as an empty one, anything else as None."""
    if not content:
        return {}
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _encoded(body: Json | str | None) -> bytes | None:
    if isinstance(body, str):
        return body.encode()
    return None if body is None else json.dumps(body, allow_nan=False).encode()


def _written(value: str | int | bool | None) -> str:  # noqa: FBT001 - as JSON has it
    return str(value).lower() if isinstance(value, bool) else str(value)
