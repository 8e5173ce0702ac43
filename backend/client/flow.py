"""What a client does, without doing it: generators that yield what to send and how long to wait.

Whoever drives a flow gives back the answer, or the error that there was none. So what is decided between two
requests is written once, for clients that wait and for clients that await.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from backend.client.errors import Unreachable
from backend.client.wire import Answer, Json, Request, Wire, document_of

T = TypeVar("T")
PAGE = 500


class Send(NamedTuple):
    """Send this; the flow wants the answer. `timeout`: seconds without a byte."""

    wire: Wire
    timeout: float


class Wait(NamedTuple):
    """Wait so many seconds."""

    seconds: float


Flow: TypeAlias = Generator[Send | Wait, Answer | None, T]


@dataclass(frozen=True, slots=True)
class Ended(Generic[T]):
    """A flow has come to its result."""

    result: T


def advance(flow: Flow[T], told: Answer | Unreachable | None) -> Send | Wait | Ended[T]:
    """Tell a flow what came of its last step, and get the next; nothing is told at first and after a wait."""
    try:
        return flow.throw(told) if isinstance(told, Unreachable) else flow.send(told)
    except StopIteration as end:
        return Ended(end.value)


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, and how its answer is read; the first argument of `read` is the server's URL."""

    request: Request
    read: Callable[[str, Answer], T]


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A list that comes in pages, and how one item is read; at most `limit` of them, None for all."""

    request: Request
    read: Callable[[Any], T]
    limit: int | None


class Pages:
    """The requests that read a list page by page; tell it each page that came."""

    def __init__(self, request: Request, limit: int | None) -> None:
        self._request = request
        self._left = limit
        self._cursor: str | None = None
        self._last = limit is not None and limit <= 0

    def __iter__(self) -> Iterator[Call[Json]]:
        while not self._last:
            size = PAGE if self._left is None else min(self._left, PAGE)
            query = {**self._request.query, "limit": size, "cursor": self._cursor}
            yield Call(replace(self._request, query=query), document_of)

    def took(self, page: Json) -> list[Any]:
        """Note where the next page begins; answers the items of this one."""
        items: list[Any] = page["items"][: self._left]
        self._cursor = page.get("next_cursor")
        self._left = None if self._left is None else self._left - len(items)
        self._last = not self._cursor or self._left == 0
        return items
