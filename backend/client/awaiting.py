"""The client whose methods are awaited, over aiohttp."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from ssl import SSLContext
from typing import Self, TypeVar

import aiohttp
from yarl import URL

from backend.client.errors import ClientError, Unreachable
from backend.client.flow import Ended, Flow, Listing, Pages, Send, Wait, advance
from backend.client.operation import Awaiting, Following
from backend.client.operations import Operations
from backend.client.retry import Retry
from backend.client.terms import AGENT, LOCAL, PATIENCE, SILENCE, terms_of
from backend.client.wire import LARGEST_ANSWER, Answer, Wire

T = TypeVar("T")


class AsyncClient(Operations, Awaiting):
    """A scheduler, as one key and namespace see it. It belongs to the event loop that it is first used in.

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
        self._ssl = ssl or True
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; the client may be used again."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def carry_out(self, flow: Flow[T]) -> T:
        step = advance(flow, None)
        while not isinstance(step, Ended):
            step = advance(flow, await self._done(step))
        return step.result

    async def walk(self, listing: Listing[T]) -> AsyncIterator[T]:
        pages = Pages(listing.request, listing.limit)
        for call in pages:
            for item in pages.took(await self.carry_out(self.terms.flow(call))):
                yield listing.read(item)

    async def _done(self, step: Send | Wait) -> Answer | Unreachable | None:
        if isinstance(step, Send):
            return await self._exchange(*step)
        await asyncio.sleep(step.seconds)
        return None

    async def follow(self, following: Following[T]) -> AsyncIterator[T]:
        while True:
            try:
                async for item in self._streamed(following):
                    yield item
            except ClientError as error:
                await asyncio.sleep(following.pause(error))

    async def _streamed(self, following: Following[T]) -> AsyncIterator[T]:
        try:
            async with self._asked(following.wire(), SILENCE) as response:
                if response.status != 200:
                    raise following.refused(await _answer(response))
                async for piece in response.content.iter_any():
                    for item in following.feed(piece):
                        yield item
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._no_answer(error, maybe_done=False) from error
        raise Unreachable(self.terms.address.url, "the stream has ended")

    async def _exchange(self, wire: Wire, patience: float) -> Answer | Unreachable:
        try:
            async with self._asked(wire, patience) as response:
                return await _answer(response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return self._no_answer(error, maybe_done=False)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return self._no_answer(error, maybe_done=True)

    def _asked(self, wire: Wire, patience: float) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        session = self._session = self._session or aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        parts = self.terms.address.parts
        return session.request(
            wire.method,
            URL(f"{parts.scheme}://{parts.netloc}{wire.target}", encoded=True),
            data=wire.content,
            headers=wire.headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(sock_connect=patience, sock_read=patience),
            ssl=self._ssl,
        )

    def _no_answer(self, error: Exception, *, maybe_done: bool) -> Unreachable:
        unreachable = Unreachable(self.terms.address.url, _why(error), maybe_done=maybe_done)
        unreachable.__cause__ = error
        return unreachable


async def _answer(response: aiohttp.ClientResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status, headers, await _content(response))


async def _content(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for piece in response.content.iter_any():
        content += piece
        if len(content) > LARGEST_ANSWER:
            break
    return bytes(content)


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "timed out" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
