"""The client whose methods answer, over the standard library's HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from ssl import SSLContext
from typing import Self, TypeVar

from backend.client.connections import Connections
from backend.client.errors import ClientError, Unreachable
from backend.client.flow import Ended, Flow, Listing, Pages, Send, Wait, advance
from backend.client.operation import Blocking, Following
from backend.client.operations import Operations
from backend.client.retry import Retry
from backend.client.terms import AGENT, LOCAL, PATIENCE, SILENCE, terms_of
from backend.client.wire import Answer

T = TypeVar("T")


class Client(Operations, Blocking):
    """A scheduler, as one key and namespace see it. May be used by several threads.

    `timeout`: seconds without a byte from the server. Redirects are not followed; no proxy is used.
    """

    def __init__(  # noqa: PLR0913 - each has a name and a default
        self,
        url: str = LOCAL,
        *,
        api_key: str | None = None,
        namespace: str | None = None,
        timeout: float = PATIENCE,
        retry: Retry | None = None,
        ssl: SSLContext | None = None,
        agent: str = AGENT,
    ) -> None:
        self.terms = terms_of(url, api_key, namespace, timeout=timeout, retry=retry, agent=agent)
        self._connections = Connections(self.terms.address, self.terms.clock, ssl)
        self._never = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the client may be used again."""
        self._connections.close()

    def carry_out(self, flow: Flow[T]) -> T:
        step = advance(flow, None)
        while not isinstance(step, Ended):
            step = advance(flow, self._done(step))
        return step.result

    def _done(self, step: Send | Wait) -> Answer | Unreachable | None:
        if isinstance(step, Send):
            return self._connections.exchange(*step)
        self._never.wait(step.seconds)
        return None

    def walk(self, listing: Listing[T]) -> Iterator[T]:
        pages = Pages(listing.request, listing.limit)
        for call in pages:
            yield from map(listing.read, pages.took(self.carry_out(self.terms.flow(call))))

    def follow(self, following: Following[T]) -> Iterator[T]:
        while True:
            try:
                yield from self._streamed(following)
            except ClientError as error:
                self._never.wait(following.pause(error))

    def _streamed(self, following: Following[T]) -> Iterator[T]:
        for found in self.pieces(following):
            yield from found

    def pieces(self, following: Following[T]) -> Iterator[Sequence[T]]:
        """Follow one connection until it ends; each piece that comes has items, or none as a sign of life."""
        with closing(self._connections.stream(following.wire(), SILENCE)) as pieces:
            for piece in pieces:
                if isinstance(piece, Unreachable):
                    raise piece
                if piece.status != 200:
                    raise following.refused(piece)
                yield following.feed(piece.content)
