"""`Idempotency-Key`: a request that is sent again is not done again, and is answered the same."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

import orjson
from fastapi import Depends, Header, Request, Response

from backend.api.requests import Caller, key_of
from backend.errors import FieldProblem, Refused, SchedulerError
from backend.store.repeats import Noted, Noting, Repeated, Ticket

V = TypeVar("V")
REPLAYED = "Idempotency-Replayed"


@dataclass(frozen=True, slots=True)
class Once:
    """Does what a request asks for, once for all requests with the same key."""

    request: Request
    key: str | None

    async def __call__(
        self,
        caller: Caller,
        act: Callable[[Caller], Awaitable[V]],
        word: Callable[[V], Response],
        *,
        secret: bool = False,
        many: bool = False,
    ) -> Response:
        """Act and word the answer, unless that has been done; a secret answer is noted for its caller's eyes alone.

        What takes many transactions is noted when they all are over: who is cut off goes on by asking again.
        """
        if self.key is None:
            return word(await act(caller))
        seal = _Seal(self._ticket_id(caller), (key_of(self.request) or "") if secret else None)
        store = caller.context.store.repeats()
        fingerprint = self._fingerprint()
        now, noted = await store.look(seal.ticket, fingerprint)
        if noted is not None:
            return seal.replayed(noted)
        noting = Noting(Ticket(seal.ticket, fingerprint, now), lambda view: seal.noted(word(view)))
        try:
            view = await act(caller if many else caller.noting(noting))
        except Repeated as repeated:
            return seal.replayed(repeated.noted)
        except SchedulerError:
            # What is committed is done, whatever hinders us from looking at it again. What is not is not.
            if noting.noted is not None and noting.kept:
                return seal.answer(noting.noted)
            raise
        if many:
            try:
                await store.note(noting, view)
            except Repeated as repeated:
                return seal.replayed(repeated.noted)
            except SchedulerError:
                pass  # it is done, and asked again it finds that nothing is left to do
        return seal.answer(noting.noted) if noting.noted is not None and noting.kept else word(view)

    def _ticket_id(self, caller: Caller) -> str:
        url = self.request.url
        place = (caller.principal.key_id, str(caller.chosen or ""), self.request.method, url.path, str(self.key))
        return hashlib.sha256("\0".join(place).encode(errors="surrogateescape")).hexdigest()

    def _fingerprint(self) -> str:
        body: str = getattr(self.request.state, "body_hash", "")
        return hashlib.sha256(f"{body}?{self.request.url.query}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Seal:
    """Turns answers into what is stored, and back.

    What holds a secret is stored under the caller's own key, whose text is nowhere in the database.
    """

    ticket: str
    secret: str | None

    def noted(self, response: Response) -> Noted:
        headers = {name: value for name, value in response.headers.items() if name != "content-length"}
        return Noted(response.status_code, orjson.dumps(headers).decode(), self._closed(bytes(response.body)))

    def answer(self, noted: Noted) -> Response:
        return Response(self._opened(noted.body), noted.status, orjson.loads(noted.headers))

    def replayed(self, noted: Noted) -> Response:
        response = self.answer(noted)
        response.headers[REPLAYED] = "true"
        return response

    def _closed(self, body: bytes) -> str:
        if self.secret is None:
            return body.decode()
        nonce = secrets.token_hex(16)
        return f"{nonce}.{base64.b64encode(self._masked(body, nonce)).decode()}"

    def _opened(self, body: str) -> bytes:
        if self.secret is None:
            return body.encode()
        nonce, _, masked = body.partition(".")
        return self._masked(base64.b64decode(masked), nonce)

    def _masked(self, body: bytes, nonce: str) -> bytes:
        # A pad that is used for this answer alone.
        seed = f"answer\0{self.secret}\0{nonce}".encode(errors="surrogateescape")
        pad = hashlib.shake_256(seed).digest(len(body))
        return bytes(a ^ b for a, b in zip(body, pad, strict=True))


async def once(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=255,
            description="Any text, new for each thing to be done. For 24 hours, the same request with the same text is "
            "answered the same and not done again; another one is refused (422).",
        ),
    ] = None,
) -> Once:
    """Read the key under which a request may come again."""
    if len(request.headers.getlist("idempotency-key")) > 1:
        raise Refused([FieldProblem("Idempotency-Key", "the header stands twice", "send one key")])
    return Once(request, idempotency_key)


Repeatable = Annotated[Once, Depends(once)]
