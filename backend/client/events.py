"""Facts as they happen: server-sent events, followed across broken connections by the id of the last one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from backend.client.errors import ClientError, Unreachable
from backend.client.operation import Speaking, stream
from backend.client.terms import Terms
from backend.client.wire import Answer, Request, Wire, document_of

STREAM = "text/event-stream"
LARGEST_EVENT = 2**24


class Event(NamedTuple):
    """A fact. It may come again after a broken connection, with the same id."""

    id: str
    kind: str
    fact: Any


@dataclass
class EventReader:
    """Puts the pieces of a stream together, as the HTML standard has it."""

    last_id: str = ""
    """Of the last event that is whole."""
    _id: str = ""
    _rest: bytes = b""
    _kind: str = ""
    _data: list[str] = field(default_factory=list)

    def feed(self, piece: bytes) -> list[Event]:
        """Take what has come; answers the events that are whole now."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > LARGEST_EVENT:
            raise ValueError(f"an event is longer than {LARGEST_EVENT} bytes")
        return [event for line in lines if (event := self._line(line.rstrip(b"\r").decode(errors="replace")))]

    def _line(self, line: str) -> Event | None:
        if not line:
            return self._whole()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._kind = value
        elif name == "id":
            self._id = value
        return None

    def _whole(self) -> Event | None:
        kind, data = self._kind or "message", self._data
        self.last_id = self._id or self.last_id
        self._kind, self._data = "", []
        return Event(self.last_id, kind, json.loads("\n".join(data))) if data else None


class FollowedEvents:
    """One stream, over as many connections as it takes."""

    def __init__(self, request: Request, terms: Terms, after: str | None) -> None:
        self._request = replace(request, headers={"Accept": STREAM})
        self._terms = terms
        self._last_id = after or ""
        self._reader = EventReader(self._last_id)
        self._failed = 0
        self._since = terms.clock.monotonic()

    def wire(self) -> Wire:
        """Write the next request: for all that came after the last event."""
        self._last_id = self._reader.last_id
        self._reader = EventReader(self._last_id)
        return self._terms.address.wire(self._request, {"Last-Event-ID": self._last_id} if self._last_id else {})

    def refused(self, answer: Answer) -> ClientError:
        """Give the error that an answer stands for which is no stream."""
        try:
            document_of(self._terms.address.url, answer)
        except ClientError as error:
            return error
        return Unreachable(self._terms.address.url, "it answers, but not with events")

    def feed(self, piece: bytes) -> list[Event]:
        """Take what has come; whoever sends is there again."""
        self._failed, self._since = 0, self._terms.clock.monotonic()
        return self._reader.feed(piece)

    def pause(self, error: ClientError) -> float:
        """Say how long to wait before the next connection; raises the error when waiting is hopeless."""
        self._failed += 1
        pause = self._terms.retry.after(self._failed, error, self._terms.clock.monotonic() - self._since)
        if pause is None:
            raise error
        return pause


class Events(Speaking):
    """What happens to schedules and runs, as it happens."""

    @stream
    def follow_events(
        self, *, schedule: str | None = None, kind: str | None = None, after: str | None = None
    ) -> FollowedEvents:
        """Read facts without end, from now on or after the event with that id; broken connections are made again."""
        request = Request(method="GET", path=("events",), query={"schedule": schedule, "kind": kind})
        return FollowedEvents(request, self.terms, after)
