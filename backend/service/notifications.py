"""Use cases on notifications: who of a namespace is told what, and how."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from backend.duration import Duration
from backend.engine.definition import VERSION, Name, PublicId
from backend.errors import Conflict, FieldError, FieldProblem, Refused
from backend.model.instants import micros, rfc3339
from backend.model.notices import NoticeEvent
from backend.model.numbers import WHOLE
from backend.model.policies import Completion, Delivery, RetryPolicy
from backend.service.cursors import read_cursor, write_cursor
from backend.service.references import check_secrets
from backend.service.rules import rules_in
from backend.service.schedules import Surroundings
from backend.service.tags import TagFilter
from backend.service.validation import joined, parse
from backend.service.views import RunView, run_view
from backend.store.notification_routes import RouteRow
from backend.store.port import NamespaceStore
from backend.store.repeats import shown
from backend.store.runs import Place
from backend.targets.http import HttpTarget
from backend.targets.registry import NoticeTarget

PATIENCE = RetryPolicy(max_attempts=10, initial=timedelta(seconds=10), maximum=timedelta(minutes=10))
TIMEOUT = "30s"


def _sendable(target: HttpTarget | Any) -> HttpTarget | Any:  # noqa: ANN401 - one of two
    if isinstance(target, HttpTarget):
        if target.body is not None:
            raise FieldError("a notification's body is its CloudEvent", "leave body out", "body")
        if target.method not in {"POST", "PUT"}:
            raise FieldError("a notification has a body", "use POST or PUT", "method")
    return target


class RouteBody(BaseModel):
    """Who is told what: events of all schedules, or of those with a tag or an owner."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: PublicId | None = Field(default=None, description="Unique in its namespace; a PUT has it in its path.")
    events: tuple[NoticeEvent, ...] = Field(min_length=1, max_length=20, description="What is told.")
    tag: TagFilter | None = Field(default=None, description="`name:value`: only of schedules with this tag.")
    owner: Name | None = Field(default=None, description="Only of schedules with this owner.")
    after_failures: Annotated[int, WHOLE] = Field(
        default=1, ge=1, le=1000, strict=True, description="Failed runs in a row."
    )
    late_by: Annotated[Duration, Field(ge=timedelta(seconds=10), le=timedelta(days=7))] = Field(
        default=timedelta(minutes=5), description="How late a run must begin to be told of."
    )
    every: Annotated[Duration, Field(ge=timedelta(minutes=1), le=timedelta(days=7))] = Field(
        default=timedelta(hours=1),
        description="Of one schedule the same event is told once in so long; `recovery` and `auto_pause` always.",
    )
    target: Annotated[NoticeTarget, AfterValidator(_sendable)]

    @model_validator(mode="after")
    def _events_differ(self) -> RouteBody:
        if len(set(self.events)) < len(self.events):
            raise FieldError("an event is named twice", "name each once", "events")
        return self


class RouteView(RouteBody):
    """A notification route."""

    id: str
    created_at: str
    created_by: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class Notifications:
    """The notification routes of one namespace, changed in somebody's name."""

    store: NamespaceStore
    by: str
    around: Surroundings

    async def create(self, document: object) -> dict[str, Any]:
        """Make a route; Conflict when its id exists."""
        body = await self._read(document)
        id_ = body.id
        if id_ is None:
            raise Refused([FieldProblem("id", "it is absent", 'give one such as "oncall"')])

        def decide(current: RouteRow | None, now: int, known: Collection[str]) -> RouteRow:
            if current is not None:
                raise Conflict(f"the notification route {id_!r} exists; choose another id, or PUT it")
            check_secrets(body.target, known)
            return self._row(body, None, now)

        done = await self.store.notifications().put(id_, decide, shown(lambda done: _view(done.route)))
        return _view(done.route)

    async def put(self, id_: str, document: object) -> tuple[dict[str, Any], bool]:
        """Make or replace a route; answers whether it is new."""
        given = {"id": id_, **document} if isinstance(document, dict) else document
        body = await self._read(given)
        if body.id != id_:
            raise Refused([FieldProblem("id", f"it differs from {id_!r} in the path", "leave it out or repeat it")])

        def decide(current: RouteRow | None, now: int, known: Collection[str]) -> RouteRow:
            check_secrets(body.target, known)
            return self._row(body, current, now)

        done = await self.store.notifications().put(id_, decide)
        return _view(done.route), done.created

    async def _read(self, document: object) -> RouteBody:
        body = parse(RouteBody, document)
        try:
            body.target.check(await rules_in(self.store, self.around.rules))
        except FieldError as error:
            raise Refused([FieldProblem(joined("target", error.field), error.rule, error.fix)]) from None
        return body

    def _row(self, body: RouteBody, current: RouteRow | None, now: int) -> RouteRow:
        target = body.target.model_dump(mode="json")
        errand: list[Any] = [VERSION, target, {}, TIMEOUT, PATIENCE.model_dump(mode="json"), Delivery.AT_LEAST_ONCE]
        errand += [Completion.RESPONSE, None]
        return RouteRow(
            key=current.key if current else 0,
            namespace=self.store.namespace,
            id=str(body.id),
            origin=current.origin if current else secrets.token_hex(16),
            events=" ".join(body.events),
            tag=body.tag,
            owner=body.owner,
            after_failures=body.after_failures,
            late_by=micros(body.late_by) if NoticeEvent.LATE in body.events else None,
            every=micros(body.every),
            definition=body.model_dump_json(),
            errand=orjson.dumps(errand).decode(),
            created_at=current.created_at if current else now,
            created_by=current.created_by if current else self.by,
            updated_at=now,
        )

    async def get(self, id_: str) -> dict[str, Any]:
        """Show one route, or raise NotFound."""
        return _view(await self.store.notifications().get(id_))

    async def page(self, *, cursor: str | None, limit: int) -> tuple[list[dict[str, Any]], str | None]:
        """Show one page by id, and the cursor of the next."""
        place = read_cursor(cursor, str)
        found = await self.store.notifications().page(after=str(place[0]) if place else "", limit=limit + 1)
        page = found[:limit]
        return list(map(_view, page)), write_cursor(page[-1].id) if len(found) > limit else None

    async def delete(self, id_: str) -> None:
        """Delete a route; what it has not sent yet is not sent."""
        await self.store.notifications().delete(id_)

    async def test(self, id_: str) -> RunView:
        """Send a notification that tells nothing but that it came."""
        record = await self.store.notifications().test(id_, secrets.token_hex(8), shown(run_view))
        self.around.wake_workers()
        return run_view(record)

    async def runs(self, id_: str, *, cursor: str | None, limit: int) -> tuple[list[RunView], str | None]:
        """Show one page of what was sent, newest first, and the cursor of the next."""
        place = read_cursor(cursor, int, str)
        after = Place(int(place[0]), str(place[1])) if place else None
        found = await self.store.notifications().runs(id_, after=after, limit=limit + 1)
        last = found[limit - 1].run if len(found) > limit else None
        return [run_view(one) for one in found[:limit]], write_cursor(last.nominal_at, last.id) if last else None


def _view(row: RouteRow) -> dict[str, Any]:
    definition: dict[str, Any] = orjson.loads(row.definition)
    return definition | {
        "created_at": rfc3339(row.created_at),
        "created_by": row.created_by,
        "updated_at": rfc3339(row.updated_at),
    }
