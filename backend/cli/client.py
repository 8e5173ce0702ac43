"""Speaks HTTP with one server: JSON out, JSON or a Failure back. Redirects are not followed."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from backend.cli.failures import Missing, Refused, Unreachable, WrongUsage

PREFIX = "/api/v1"
PATIENCE = 30.0
"""Seconds without a byte from the server."""
LONG_PATIENCE = 300.0
PAGE = 500
LARGEST_ANSWER = 256 * 2**20

Json = dict[str, Any]
Query = Mapping[str, str | int | None]


class _Answer(NamedTuple):
    status: int
    location: str | None
    body: bytes


class Client:
    """One server, as one key and namespace see it."""

    def __init__(self, url: str, *, api_key: str | None = None, namespace: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._parts = split_url(self.url)
        self._namespace = namespace
        self._headers = {"Accept": "application/json", "User-Agent": "scheduler-cli"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {header_text(api_key)}"

    def get(self, *path: str, query: Query | None = None) -> Json:
        """Read what is at the path; its parts are quoted here."""
        return self._call("GET", path, query=query)

    def post(self, *path: str, body: Json | None = None, patience: float = PATIENCE) -> Json:
        """Ask for something to be done, and give the answer."""
        return self._call("POST", path, body=body or {}, patience=patience)

    def put(self, *path: str, body: Json | str) -> Json:
        """Make something be what the body says; a text is an iCalendar."""
        return self._call("PUT", path, body=body)

    def patch(self, *path: str, body: Json) -> Json:
        """Change some of what is at the path."""
        return self._call("PATCH", path, body=body)

    def delete(self, *path: str) -> Json:
        """Delete what is at the path."""
        return self._call("DELETE", path)

    def pages(self, *path: str, query: Query, limit: int | None) -> Iterator[Json]:
        """Read a list page by page, up to `limit` items in all; each is `{items, next_cursor}`."""
        cursor: str | None = None
        while limit is None or limit > 0:
            size = PAGE if limit is None else min(limit, PAGE)
            page = self.get(*path, query={**query, "limit": size, "cursor": cursor})
            yield page
            cursor = page.get("next_cursor")
            if not cursor:
                return
            limit = None if limit is None else limit - len(page["items"])

    def collect(self, *path: str, query: Query, limit: int | None) -> Json:
        """Read a list, up to `limit` items, as one page."""
        items: list[Json] = []
        cursor = None
        for page in self.pages(*path, query=query, limit=limit):
            items += page["items"]
            cursor = page.get("next_cursor")
        return {"items": items, "next_cursor": cursor}

    def events(self, query: Query, last: str | None) -> Iterator[dict[str, str]]:
        """Follow events until the server ends the stream; each has `id` and `data`, a sign of life neither."""
        connection = _connect(self._parts, PATIENCE)
        headers = self._headers | {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
        try:
            connection.request("GET", self._target(("events",), query), headers=headers)
            response = connection.getresponse()
            if response.status != http.client.OK:
                _read(self.url, _Answer(response.status, None, response.read(LARGEST_ANSWER)))
            yield from events_in(response)
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(_no_answer(self.url, error)) from error
        finally:
            connection.close()

    def _call(
        self,
        method: str,
        path: tuple[str, ...],
        *,
        query: Query | None = None,
        body: Json | str | None = None,
        patience: float = PATIENCE,
    ) -> Json:
        target = self._target(path, query or {})
        try:
            answer = self._exchange(method, target, body, patience)
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(_no_answer(self.url, error)) from error
        return _read(self.url, answer)

    def _target(self, path: tuple[str, ...], query: Query) -> str:
        wanted = {name: value for name, value in query.items() if value is not None}
        if self._namespace:
            wanted["namespace"] = self._namespace
        place = "/".join((self._parts.path + PREFIX, *(quote(part, safe="") for part in path)))
        return f"{place}?{urlencode(wanted)}" if wanted else place

    def _exchange(self, method: str, target: str, body: Json | str | None, patience: float) -> _Answer:
        connection = _connect(self._parts, patience)
        media, content = _encoded(body)
        headers = self._headers | ({"Content-Type": media} if content is not None else {})
        try:
            connection.request(method, target, body=content, headers=headers)
            response = connection.getresponse()
            return _Answer(response.status, response.getheader("Location"), response.read(LARGEST_ANSWER))
        finally:
            connection.close()


def events_in(lines: Iterable[bytes]) -> Iterator[dict[str, str]]:
    r"""Read server-sent events.

    >>> list(events_in([b"id: 7\n", b'data: {}\n', b"\n", b": still here\n", b"\n"]))
    [{'id': '7', 'data': '{}'}, {'id': '', 'data': ''}]
    """
    one = {"id": "", "data": ""}
    for raw in lines:
        line = raw.decode().rstrip("\r\n")
        if not line:
            yield one
            one = {"id": "", "data": ""}
            continue
        name, _, value = line.partition(":")
        if name in one:
            one[name] = value.removeprefix(" ")


def _encoded(body: Json | str | None) -> tuple[str, bytes | None]:
    if isinstance(body, str):
        return "text/calendar", body.encode()
    return "application/json", None if body is None else json.dumps(body, allow_nan=False).encode()


def split_url(url: str) -> SplitResult:
    """Take a server's URL apart; WrongUsage unless it is http or https with a host."""
    fix = "give the server's address, such as http://127.0.0.1:8003"
    try:
        parts = urlsplit(url)
        plain = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise WrongUsage(f"--url {url!r} is not a URL; {fix}") from None
    if not plain or not url.isascii() or not url.isprintable() or " " in url:
        raise WrongUsage(f"--url {url!r} is not an http or https URL; {fix}")
    if parts.query or parts.fragment or parts.username is not None:
        raise WrongUsage(f"--url {url!r} has more than scheme, host, port and path; {fix}")
    return parts


def header_text(key: str) -> str:
    """Check that a key can travel in a header."""
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise WrongUsage("the API key holds characters that no key has; copy it again")
    return key


def _connect(parts: SplitResult, patience: float) -> http.client.HTTPConnection:
    assert parts.hostname
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, parts.port, timeout=patience)


def _no_answer(url: str, error: Exception) -> str:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    return (
        f"no scheduler answers at {url} ({why})\n"
        "start one with `scheduler serve`, or name another by --url or SCHEDULER_URL"
    )


def _read(url: str, answer: _Answer) -> Json:
    if 300 <= answer.status < 400:
        raise Unreachable(f"{url} redirects to {answer.location}; give the server's own address by --url")
    document = _document(answer.body)
    if answer.status >= 400 and document is not None and ("title" in document or "detail" in document):
        problem = {"status": answer.status, **document}
        raise Missing(problem) if answer.status == 404 else Refused(problem)
    if answer.status >= 400 or document is None:
        raise Unreachable(f"{url} answers (HTTP {answer.status}), but not like a scheduler; check --url")
    return document


def _document(body: bytes) -> Json | None:
    """Decode an object; no body counts as an empty one, anything else as None."""
    if not body:
        return {}
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
