"""Reads documents as the server's own models, which are imported when the first of their kind is read.

A value that this version does not know, such as a kind of trigger of a newer server, stays as JSON has it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from backend.client.wire import Answer, Json, document_of, text_of

if TYPE_CHECKING:
    from pydantic import BaseModel, TypeAdapter

    from backend.service.api_keys import KeyView, NewKeyView
    from backend.service.audit import AuditView
    from backend.service.audit_log import ChangeView
    from backend.service.backfill import BackfillView
    from backend.service.calendars import CalendarAnswer, CalendarView
    from backend.service.callbacks import HeartbeatView
    from backend.service.egress import EgressView
    from backend.service.explain_views import ExplanationView
    from backend.service.namespaces import NamespaceView
    from backend.service.notifications import RouteView
    from backend.service.secrets import SecretView
    from backend.service.simulate_views import Simulation
    from backend.service.stats import StatsView
    from backend.service.times import Preview
    from backend.service.views import BatchView, OccurrenceView, Page, RunView, ScheduleView
    from backend.service.workers import WorkerView

T = TypeVar("T")
M = TypeVar("M", bound="BaseModel")


def reading(read: Callable[[Any], T]) -> Callable[[str, Answer], T]:
    """Read an answer's document."""
    return lambda url, answer: read(document_of(url, answer))


def page_of(read: Callable[[Any], T]) -> Callable[[str, Answer], Page[T]]:
    """Read one page of a list."""

    def read_page(url: str, answer: Answer) -> Page[T]:
        from backend.service.views import Page

        document = document_of(url, answer)
        items = [read(item) for item in document["items"]]
        return Page[Any].model_construct(items=items, next_cursor=document.get("next_cursor"))

    return read_page


def items_of(read: Callable[[Any], T]) -> Callable[[str, Answer], list[T]]:
    """Read a list that is never cut."""
    return lambda url, answer: [read(item) for item in document_of(url, answer)["items"]]


def nothing(url: str, answer: Answer) -> None:
    """Read that it is done."""
    document_of(url, answer)


def raw(document: Json) -> Json:
    """Leave a document as it is."""
    return document


text = text_of


def schedule(document: Json) -> ScheduleView:
    """Read a schedule."""
    from backend.service.views import ScheduleView

    return model_of(ScheduleView, document)


def run(document: Json) -> RunView:
    """Read a run."""
    from backend.service.views import RunView

    return model_of(RunView, document)


def route(document: Json) -> RouteView:
    """Read who is told of what."""
    from backend.service.notifications import RouteView

    return model_of(RouteView, document)


def change(document: Json) -> ChangeView:
    """Read who changed what."""
    from backend.service.audit_log import ChangeView

    return model_of(ChangeView, document)


def heartbeat(document: Json) -> HeartbeatView:
    """Read whether a callee is to stop."""
    from backend.service.callbacks import HeartbeatView

    return model_of(HeartbeatView, document)


def stats(document: Json) -> StatsView:
    """Read how a namespace is doing."""
    from backend.service.stats import StatsView

    return model_of(StatsView, document)


def occurrence(document: Json) -> OccurrenceView:
    """Read a time to come."""
    from backend.service.views import OccurrenceView

    return model_of(OccurrenceView, document)


def batch(document: Json) -> BatchView:
    """Read what happened to each schedule of a batch."""
    from backend.service.views import BatchView

    return model_of(BatchView, document)


def backfill(document: Json) -> BackfillView:
    """Read what a backfill runs."""
    from backend.service.backfill import BackfillView

    return model_of(BackfillView, document)


def explanation(document: Json) -> ExplanationView:
    """Read why a schedule fires or not."""
    from backend.service.explain_views import ExplanationView

    return model_of(ExplanationView, document)


def preview(document: Json) -> Preview:
    """Read when a draft would fire."""
    from backend.service.times import Preview

    return model_of(Preview, document)


def simulation(document: Json) -> Simulation:
    """Read the load of a range."""
    from backend.service.simulate_views import Simulation

    return model_of(Simulation, document)


def audit(document: Json) -> AuditView:
    """Read expected against recorded occurrences."""
    from backend.service.audit import AuditView

    return model_of(AuditView, document)


def calendar(document: Json) -> CalendarView:
    """Read a calendar."""
    from backend.service.calendars import CalendarView

    return model_of(CalendarView, document)


def calendar_answer(document: Json) -> CalendarAnswer:
    """Read a calendar that was made or replaced."""
    from backend.service.calendars import CalendarAnswer

    return model_of(CalendarAnswer, document)


def worker(document: Json) -> WorkerView:
    """Read a worker."""
    from backend.service.workers import WorkerView

    return model_of(WorkerView, document)


def namespace(document: Json) -> NamespaceView:
    """Read a namespace."""
    from backend.service.namespaces import NamespaceView

    return model_of(NamespaceView, document)


def key(document: Json) -> KeyView:
    """Read a key, without its text."""
    from backend.service.api_keys import KeyView

    return model_of(KeyView, document)


def new_key(document: Json) -> NewKeyView:
    """Read a key with its text."""
    from backend.service.api_keys import NewKeyView

    return model_of(NewKeyView, document)


def secret(document: Json) -> SecretView:
    """Read what is told of a secret."""
    from backend.service.secrets import SecretView

    return model_of(SecretView, document)


def egress(document: Json) -> EgressView:
    """Read which hosts may be called."""
    from backend.service.egress import EgressView

    return model_of(EgressView, document)


def model_of(model: type[M], document: Json) -> M:
    """Read a document as a model; where it does not fit, as much of it as fits."""
    from pydantic import ValidationError

    try:
        return model.model_validate(document)
    except ValidationError:
        return model.model_construct(**_as_far_as_known(model, document))


def _as_far_as_known(model: type[BaseModel], document: Json) -> Json:
    from pydantic import ValidationError

    known: Json = {}
    for name in model.model_fields:
        field = model.model_fields[name]
        value = document.get(field.alias or name)
        try:
            known[name] = _adapter(model, name).validate_python(value)
        except ValidationError:
            known[name] = value
    return known


@cache
def _adapter(model: type[BaseModel], name: str) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(model.model_fields[name].rebuild_annotation())
