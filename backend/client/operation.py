"""Makes one description of a request a method of both clients: one that answers, and one that is awaited."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from backend.client.errors import ClientError
from backend.client.flow import Call, Flow, Listing
from backend.client.terms import Terms
from backend.client.wire import Answer, Wire

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Following(Protocol[T_co]):
    """A stream: what to send to open it, what its pieces mean, and how long to wait when it breaks."""

    def wire(self) -> Wire:
        """Write the request that opens the stream after all that has come."""
        ...

    def refused(self, answer: Answer) -> ClientError:
        """Give the error that an answer stands for which is no stream."""
        ...

    def feed(self, piece: bytes) -> Sequence[T_co]:
        """Take what has come; answers what is whole now."""
        ...

    def pause(self, error: ClientError) -> float:
        """Say how many seconds to wait before the next connection, or raise the error."""
        ...


class Speaking:
    """What every operation may ask of its client."""

    terms: Terms


class Blocking(ABC):
    """A client whose methods answer."""

    @abstractmethod
    def carry_out(self, flow: Flow[T]) -> T:
        """Do what a flow asks for until it has its result."""

    @abstractmethod
    def walk(self, listing: Listing[T]) -> Iterator[T]:
        """Read a list to its end."""

    @abstractmethod
    def follow(self, following: Following[T]) -> Iterator[T]:
        """Read a stream, over as many connections as it takes."""


class Awaiting(ABC):
    """A client whose methods are awaited."""

    @abstractmethod
    async def carry_out(self, flow: Flow[T]) -> T:
        """Do what a flow asks for until it has its result."""

    @abstractmethod
    def walk(self, listing: Listing[T]) -> AsyncIterator[T]:
        """Read a list to its end."""

    @abstractmethod
    def follow(self, following: Following[T]) -> AsyncIterator[T]:
        """Read a stream, over as many connections as it takes."""


class Operation(Generic[P, T]):
    """A method of both clients that comes to one result."""

    def __init__(self, plan: Callable[Concatenate[Any, P], Flow[T]]) -> None:
        self._plan = plan
        self.__doc__ = plan.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Operation[P, T]: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self
        return _bound(self._plan, client, client.carry_out)


class Walk(Generic[P, T]):
    """A method of both clients that reads many things one by one: a list, or a stream."""

    def __init__(self, plan: Callable[Concatenate[Any, P], Listing[T] | Following[T]]) -> None:
        self._plan = plan
        self.__doc__ = plan.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Walk[P, T]: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self
        return _bound(self._plan, client, lambda plan: _walked(client, plan))


def _walked(client: Blocking | Awaiting, plan: Listing[T] | Following[T]) -> Iterator[T] | AsyncIterator[T]:
    return client.walk(plan) if isinstance(plan, Listing) else client.follow(plan)


def _bound(plan: Callable[..., Any], client: object, carry_out: Callable[[Any], Any]) -> Callable[..., Any]:
    @wraps(plan)
    def method(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - typed by the descriptor
        return carry_out(plan(client, *args, **named))

    return method


def operation(plan: Callable[Concatenate[Any, P], Call[T]]) -> Operation[P, T]:
    """Make one request a method."""

    def flow(client: Any, /, *args: P.args, **named: P.kwargs) -> Flow[T]:  # noqa: ANN401 - as above
        terms: Terms = client.terms
        return terms.flow(plan(client, *args, **named))

    return Operation(wraps(plan)(flow))


def composed(plan: Callable[Concatenate[Any, P], Flow[T]]) -> Operation[P, T]:
    """Make several requests one method."""
    return Operation(plan)


def walk(plan: Callable[Concatenate[Any, P], Listing[T]]) -> Walk[P, T]:
    """Make a list a method."""
    return Walk(plan)


def stream(plan: Callable[Concatenate[Any, P], Following[T]]) -> Walk[P, T]:
    """Make a stream a method."""
    return Walk(plan)
