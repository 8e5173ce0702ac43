"""Transactions on the routes of notifications: who of a namespace is told what, and how."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from backend.errors import Conflict, NotFound
from backend.model.ids import NamespaceId
from backend.model.notices import TEST, Match, notice_of
from backend.store.audit_log import Entry, differing, note
from backend.store.namespaces import hold_namespace
from backend.store.notices import run_of
from backend.store.operation import Batch, Operation, Query, Runner, now
from backend.store.repeats import Noting, Show, shown, write
from backend.store.runs import LAST_ID, Place, RunRecord, with_attempts
from backend.store.secrets import known_secrets

MOST_ROUTES = 100
"""Routes of one namespace: each is looked at whenever something happens there."""
LATEST = 2**62
_ITSELF: Show[Any] = shown(lambda result: result)


class RouteRow(NamedTuple):
    """A route as it is stored. `definition` and `errand` are JSON, lengths and instants microseconds."""

    key: int
    namespace: str
    id: str
    origin: str
    events: str
    tag: str | None
    owner: str | None
    after_failures: int
    late_by: int | None
    every: int
    definition: str
    errand: str
    created_at: int
    created_by: str
    updated_at: int


Decide = Callable[[RouteRow | None, int, Collection[str]], RouteRow]
"""(the current route, now, which secrets there are) → the route as it is to be; raises SchedulerError to refuse."""


class PutRoute(NamedTuple):
    """A route as it is now, and whether it is new."""

    route: RouteRow
    created: bool


def put_route(namespace: str, id_: str, decide: Decide) -> Operation[PutRoute]:
    """Make or replace a route; the same definition changes nothing."""
    yield from hold_namespace(namespace)
    instant = yield from now()
    rows = yield Query("route_by_id", {"namespace": namespace, "id": id_})
    current = RouteRow._make(rows[0]) if rows else None
    route = decide(current, instant, (yield from known_secrets(namespace, None)))
    if current is None:
        yield from _check_number(namespace)
        yield Query("insert_route", _without(route, "key"))
        entry = Entry(namespace, "notification", id_, "created", None, json.loads(route.definition))
        yield from note([entry], instant)
        return PutRoute(route, created=True)
    if current.definition != route.definition:
        yield Query("update_route", _without(route, "namespace", "id", "origin", "created_at", "created_by"))
        yield Query("retarget_runs", {"schedule_keys": [-current.key]})
        before, after = differing(json.loads(current.definition), json.loads(route.definition))
        yield from note([Entry(namespace, "notification", id_, "updated", before, after)], instant)
    return PutRoute(route, created=False)


def _check_number(namespace: str) -> Operation[None]:
    if (yield Query("count_routes", {"namespace": namespace}))[0][0] >= MOST_ROUTES:
        raise Conflict(f"the namespace has {MOST_ROUTES} notification routes already; delete one")


def _without(route: RouteRow, *names: str) -> dict[str, Any]:
    return {name: value for name, value in route._asdict().items() if name not in names}


def get_route(namespace: str, id_: str) -> Operation[RouteRow]:
    """Read one route; NotFound if there is none."""
    rows = yield Query("route_by_id", {"namespace": namespace, "id": id_})
    if not rows:
        raise NotFound(f"there is no notification route {id_!r} in this namespace")
    return RouteRow._make(rows[0])


def list_routes(namespace: str, *, after: str, limit: int) -> Operation[list[RouteRow]]:
    """Read one page of routes with ids above `after`."""
    rows = yield Query("list_routes", {"namespace": namespace, "after": after, "limit": limit})
    return [RouteRow._make(row) for row in rows]


def delete_route(namespace: str, id_: str) -> Operation[None]:
    """Forget a route; what of its notifications has not been sent is not sent any more."""
    yield from hold_namespace(namespace)
    route = yield from get_route(namespace, id_)
    instant = yield from now()
    yield Query("drop_notifications", {"schedule_key": -route.key, "now": instant})
    yield Query("delete_route", {"key": route.key})
    gone = Entry(namespace, "notification", id_, "deleted", json.loads(route.definition))
    yield from note([gone], instant)


def send_test(namespace: str, id_: str, unique: str) -> Operation[RunRecord]:
    """Record a notification that tells nothing but that it came."""
    route = yield from get_route(namespace, id_)
    instant = yield from now()
    match = Match(
        route.key, id_, route.origin, "", 1, None, every=0, schedule_key=0, namespace=namespace, schedule_id="",
        name="", owner=None,
    )  # fmt: skip
    data = {"text": f"a test of the notification route {id_}"}
    run = run_of(notice_of(match, TEST, (instant, unique), data), instant)
    yield Batch("insert_runs", [run._asdict()])
    yield from note([Entry(namespace, "notification", id_, "tested", None, {"run_id": run.id})], instant)
    found = yield from list_notifications(namespace, id_, after=Place(run.nominal_at, LAST_ID), limit=1)
    return found[0]


def list_notifications(namespace: str, id_: str, *, after: Place | None, limit: int) -> Operation[list[RunRecord]]:
    """Read one page of what was sent through a route, newest first."""
    route = yield from get_route(namespace, id_)
    place = after or Place(LATEST, LAST_ID)
    params = {
        "schedule_key": -route.key,
        "state": None,
        "from": None,
        "to": None,
        "before_at": place.nominal_at,
        "before": place.id,
        "limit": limit,
    }
    rows = yield Query("list_route_runs", params)
    return (yield from with_attempts(rows, "attempts_in_brief"))


@dataclass(frozen=True, slots=True)
class RouteStore:
    """The routes of one namespace."""

    runner: Runner
    namespace: NamespaceId
    noting: Noting | None = None

    async def put(self, id_: str, decide: Decide, show: Show[PutRoute] = _ITSELF) -> PutRoute:
        """Make or replace a route."""
        return await write(self.runner, self.noting, put_route(self.namespace, id_, decide), show)

    async def get(self, id_: str) -> RouteRow:
        """Read one route, or raise NotFound."""
        return await self.runner.read(get_route(self.namespace, id_))

    async def page(self, *, after: str, limit: int) -> Sequence[RouteRow]:
        """Read one page of routes with ids above `after`."""
        return await self.runner.read(list_routes(self.namespace, after=after, limit=limit))

    async def delete(self, id_: str) -> None:
        """Forget a route."""
        await self.runner.write(delete_route(self.namespace, id_))

    async def test(self, id_: str, unique: str, show: Show[RunRecord] = _ITSELF) -> RunRecord:
        """Send a test; `unique` tells it from others."""
        return await write(self.runner, self.noting, send_test(self.namespace, id_, unique), show)

    async def runs(self, id_: str, *, after: Place | None, limit: int) -> list[RunRecord]:
        """Read one page of what was sent, newest first."""
        return await self.runner.read(list_notifications(self.namespace, id_, after=after, limit=limit))
