"""`/api/v1/events`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from starlette.exceptions import HTTPException

from backend.api.context import Follower
from backend.api.event_stream import EventStream, Seat, written_news
from backend.api.queries import FLAG
from backend.api.requests import Caller, Reads
from backend.api.schemas import refusals
from backend.errors import FieldProblem, Refused
from backend.service.feed import KINDS, Taste, feed_from
from backend.service.wording import check_known

router = APIRouter(prefix="/events", tags=["events"])
MOST_OF_A_KEY, MOST_OF_A_NAMESPACE, MOST = 8, 32, 200
# Before OpenAPI 3.2, the schema of a stream is that of one event.
EVENT = {
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9]{1,18}$", "description": "Where to go on; microseconds since 1970."},
        "event": {"type": "string", "examples": ["run.finished"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
DOCUMENTED = refusals(401, 403, 404, 422, 429, 503) | {
    200: {"description": "Events as they happen.", "content": {"text/event-stream": {"schema": EVENT}}}
}


@router.get("", response_class=Response, responses=DOCUMENTED)
async def follow_events(
    caller: Reads,
    schedule: Annotated[str | None, Query(max_length=200, description="Only of the schedule of this id.")] = None,
    kind: Annotated[
        str | None, Query(max_length=100, description="Only of this kind, such as `run.finished`, or `run` for all.")
    ] = None,
    *,
    follow: Annotated[bool, FLAG, Query(description="false: end when all that has happened is told.")] = True,
    last_event_id: Annotated[
        str | None, Header(max_length=100, description="Go on after the event of this id; else from now on.")
    ] = None,
) -> Response:
    """Follow what happens to schedules and runs, as server-sent events."""
    check_known("kind", kind, KINDS)
    last = _last(last_event_id)
    seat = _seat(caller)
    feed = feed_from(caller.store.feed(), Taste(schedule, kind), last, caller.now)
    health = caller.context.health
    return EventStream(written_news(feed, lambda: health().status == "draining", follow=follow), seat, endless=follow)


def _last(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise Refused([FieldProblem("Last-Event-ID", "it is not the id of an event", "repeat one as it was")])
    return int(text)


def _seat(caller: Caller) -> Seat:
    streams = caller.context.streams
    follower = Follower(caller.principal.namespace, caller.principal.key_id)
    if full := _full(streams, follower):
        raise HTTPException(429, f"{full}; end another first", {"Retry-After": "10"})

    def leave() -> None:
        streams[follower] -= 1
        if streams[follower] <= 0:
            del streams[follower]

    return Seat(lambda: streams.update([follower]), leave)


def _full(streams: Counter[Follower], follower: Follower) -> str | None:
    """Say which bound is reached. Keys of no namespace have places of their own, which no tenant can take."""
    if streams[follower] >= MOST_OF_A_KEY:
        return f"a key follows events {MOST_OF_A_KEY} times at most"
    tenant = follower.namespace is not None
    if tenant and _open(streams, lambda one: one.namespace == follower.namespace) >= MOST_OF_A_NAMESPACE:
        return f"the keys of a namespace follow events {MOST_OF_A_NAMESPACE} times at most"
    if _open(streams, lambda one: (one.namespace is not None) == tenant) >= MOST:
        return f"the keys of {'all namespaces' if tenant else 'no namespace'} follow events {MOST} times at most"
    return None


def _open(streams: Counter[Follower], among: Callable[[Follower], bool]) -> int:
    return sum(number for one, number in streams.items() if among(one))
