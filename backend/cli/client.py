"""The REST API as commands see it: documents out, documents or a Failure back.

It is `backend.client` without its models, which are slow to import, and without retries: a person sees what happened.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn
from urllib.parse import SplitResult

from backend import client as api
from backend.cli.failures import Missing, Refused, Unreachable, WrongUsage
from backend.client import wire
from backend.client.events import Event, FollowedEvents
from backend.client.flow import Call, Pages

LONG_PATIENCE = 300.0
ADDRESS_FIX = "give the server's address, such as http://127.0.0.1:8003"

Json = dict[str, Any]
Query = wire.Query


class Client:
    """One server, as one key and namespace see it."""

    def __init__(self, url: str, *, api_key: str | None = None, namespace: str | None = None) -> None:
        self.url = url.rstrip("/")
        split_url(self.url)
        try:
            self._api = api.Client(
                self.url, api_key=api_key, namespace=namespace, retry=api.NEVER, agent="scheduler-cli"
            )
        except ValueError as error:
            raise WrongUsage(str(error)) from None
        weakref.finalize(self, self._api.close)

    def get(self, *path: str, query: Query | None = None) -> Json:
        """Read what is at the path; its parts are quoted here."""
        return self._ask("GET", path, query=query)

    def post(self, *path: str, body: Json | None = None, patience: float | None = None) -> Json:
        """Ask for something to be done, and give the answer; `patience` in seconds without a byte."""
        return self._ask("POST", path, body=body or {}, patience=patience)

    def put(self, *path: str, body: Json | str) -> Json:
        """Make something be what the body says; a text is an iCalendar."""
        return self._ask("PUT", path, body=body)

    def patch(self, *path: str, body: Json) -> Json:
        """Change some of what is at the path."""
        return self._ask("PATCH", path, body=body)

    def delete(self, *path: str) -> Json:
        """Delete what is at the path."""
        return self._ask("DELETE", path)

    def pages(self, *path: str, query: Query, limit: int | None) -> Iterator[Json]:
        """Read a list page by page, up to `limit` items in all; each is `{items, next_cursor}`."""
        pages = Pages(wire.Request(method="GET", path=path, query=query), limit)
        for call in pages:
            page = self._carry_out(call)
            pages.took(page)
            yield page

    def collect(self, *path: str, query: Query, limit: int | None) -> Json:
        """Read a list, up to `limit` items, as one page."""
        items: list[Json] = []
        cursor = None
        for page in self.pages(*path, query=query, limit=limit):
            items += page["items"]
            cursor = page.get("next_cursor")
        return {"items": items, "next_cursor": cursor}

    def events(self, query: Query, last: str | None) -> Iterator[Sequence[Event]]:
        """Follow events until the server ends the stream, after the one whose id is `last`; none is a sign of life."""
        request = wire.Request(method="GET", path=("events",), query=query)
        try:
            yield from self._api.pieces(FollowedEvents(request, self._api.terms, last))
        except api.ClientError as error:
            _fail(error, self.url)

    def _ask(
        self,
        method: str,
        path: tuple[str, ...],
        *,
        query: Query | None = None,
        body: Json | str | None = None,
        patience: float | None = None,
    ) -> Json:
        media = wire.ICAL if isinstance(body, str) else wire.JSON
        request = wire.Request(method=method, path=path, query=query or {}, body=body, media=media, timeout=patience)
        return self._carry_out(Call(request, wire.document_of))

    def _carry_out(self, call: Call[Json]) -> Json:
        try:
            return self._api.carry_out(self._api.terms.flow(call))
        except api.ClientError as error:
            _fail(error, self.url)


def split_url(url: str) -> SplitResult:
    """Take a server's URL apart; WrongUsage unless it is http or https with a host."""
    try:
        return wire.split_url(url)
    except ValueError as error:
        raise WrongUsage(f"--url {error}; {ADDRESS_FIX}") from None


def _fail(error: api.ClientError, url: str) -> NoReturn:
    """Say what it means for whoever has given the command."""
    if isinstance(error, api.Unavailable):
        # Nothing is wrong with what was asked: the server is starting, its database is away, or its clock is held.
        why = str(error) if error.state else f"the scheduler at {url} cannot answer now: {error}"
        raise Unreachable(f"{why}; try again in a moment") from error
    if isinstance(error, api.NotFound):
        raise Missing(error.document) from error
    if isinstance(error, api.Problem):
        raise Refused(error.document) from error
    if isinstance(error, api.NoScheduler):
        fix = "give the server's own address by --url" if error.location else "check --url"
        raise Unreachable(f"{error}; {fix}") from error
    raise Unreachable(
        f"{error}\nstart one with `scheduler serve`, or name another by --url or SCHEDULER_URL"
    ) from error
