"""Makes one description of a request a method of both clients: one that answers, and one that is awaited."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from backend.client.flow import Call, Flow, Listing
from backend.client.terms import Terms

P = ParamSpec("P")
T = TypeVar("T")


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


class Awaiting(ABC):
    """A client whose methods are awaited."""

    @abstractmethod
    async def carry_out(self, flow: Flow[T]) -> T:
        """Do what a flow asks for until it has its result."""

    @abstractmethod
    def walk(self, listing: Listing[T]) -> AsyncIterator[T]:
        """Read a list to its end."""


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
    """A method of both clients that reads a list item by item, page after page."""

    def __init__(self, plan: Callable[Concatenate[Any, P], Listing[T]]) -> None:
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
        return _bound(self._plan, client, client.walk)


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
