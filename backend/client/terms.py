"""With whom a client speaks, how patiently, and when it asks again."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from itertools import count
from typing import TypeVar

from backend.client.errors import ClientError, NotFound
from backend.client.flow import Call, Flow, Send, Wait
from backend.client.retry import Retry
from backend.client.wire import Address, Answer, Request, checked_key, split_url
from backend.clock import Clock, SystemClock

T = TypeVar("T")
LOCAL = "http://127.0.0.1:8003"
PATIENCE = 30.0
SILENCE = 60.0
"""Seconds without a byte after which a stream counts as broken; the server sends one every 15."""
AGENT = "scheduler-client"
LEAST = 0.1
"""Seconds that the last try has, however near the deadline."""


@dataclass(frozen=True, slots=True)
class Terms:
    """With whom a client speaks, and how patiently. `timeout`: seconds without a byte from the server."""

    address: Address
    clock: Clock
    retry: Retry
    timeout: float

    def flow(self, call: Call[T]) -> Flow[T]:
        """Carry out one call, again where that may help."""
        wire, began = self.address.wire(call.request, _once(call.request)), self.clock.monotonic()
        retry, patience = self._patience(call.request)
        unsure, timeout = False, patience
        for failed in count(1):
            try:
                answer = yield Send(wire, timeout)
                assert answer is not None
                return call.read(self.address.url, answer)
            except ClientError as error:
                if isinstance(error, NotFound) and unsure and wire.method == "DELETE":
                    # The try that got no answer has deleted it.
                    return call.read(self.address.url, Answer(204, {}, b""))
                pause = retry.after(failed, error, self.clock.monotonic() - began)
                unsure = error.maybe_done = unsure or error.maybe_done
                if pause is None:
                    raise
            yield Wait(pause)
            timeout = min(patience, max(LEAST, retry.deadline - (self.clock.monotonic() - began)))
        raise AssertionError("unreachable")

    def _patience(self, request: Request) -> tuple[Retry, float]:
        patience = request.timeout or self.timeout
        if not request.repeated:
            return replace(self.retry, tries=1), patience
        return replace(self.retry, deadline=max(self.retry.deadline, patience)), patience


def terms_of(
    url: str, api_key: str | None, namespace: str | None, *, timeout: float, retry: Retry | None, agent: str
) -> Terms:
    """Check what a client is given; ValueError says what is wrong with the URL or the key."""
    split_url(url)
    key = checked_key(api_key) if api_key else None
    return Terms(Address(url.rstrip("/"), key, namespace, agent), SystemClock(), retry or Retry(), timeout)


def _once(request: Request) -> dict[str, str]:
    """Name this wish: however often it is sent, the server does it once."""
    return {"Idempotency-Key": os.urandom(16).hex()} if request.method == "POST" else {}
