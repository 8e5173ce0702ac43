"""What the OpenAPI document says beyond what the framework finds by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from backend.api.answers import PROBLEM, ProblemBody
from backend.engine.definition import ScheduleDefinition
from backend.service.api_keys import KeyBody, RotateBody
from backend.service.backfill import BackfillRequest
from backend.service.calendars import CalendarBody
from backend.service.callbacks import CompleteBody
from backend.service.egress import EgressBody
from backend.service.maintenance import PauseManyBody, ResumeManyBody
from backend.service.namespaces import NamespaceBody, NamespacePatch
from backend.service.notifications import RouteBody
from backend.service.secrets import SecretBody
from backend.service.simulate import SimulateRequest


class PauseBody(BaseModel):
    """Why a schedule is paused."""

    model_config = ConfigDict(extra="forbid")
    note: str = Field(default="", max_length=1000)


class ResumeBody(BaseModel):
    """Whether the misfire policy decides about what fell into the pause."""

    model_config = ConfigDict(extra="forbid")
    catch_up: bool = False


class TriggerBody(BaseModel):
    """What goes over the schedule's own input."""

    model_config = ConfigDict(extra="forbid")
    input: dict[str, Any] = Field(default_factory=dict)


class BatchBody(BaseModel):
    """Definitions, created or replaced by id, all or nothing."""

    model_config = ConfigDict(extra="forbid")
    schedules: list[ScheduleDefinition] = Field(max_length=10_000)
    source: str | None = Field(default=None, max_length=200, description="What made them, such as a file's name.")
    prune: bool = Field(default=False, description="Delete what the source made before and no longer has.")
    dry_run: bool = Field(default=False, description="Decide everything, write nothing.")


class MergePatch(BaseModel):
    """Any fields of a definition (RFC 7396): null removes one, objects are merged, lists are replaced."""

    model_config = ConfigDict(extra="allow")


SCHEDULE_EXAMPLE: Mapping[str, Any] = {
    "id": "daily-digest",
    "triggers": [{"kind": "cron", "expression": "0 9 * * mon-fri", "timezone": "Europe/London"}],
    "target": {"kind": "http", "url": "https://example.org/hook", "body": {"topic": "news"}},
    "tags": {"team": "growth"},
}
PATCH_EXAMPLE: Mapping[str, Any] = {"tags": {"team": "sales"}, "timeout": "5m", "owner": None}
BATCH_EXAMPLE: Mapping[str, Any] = {"schedules": [SCHEDULE_EXAMPLE], "source": "schedules.yaml", "prune": True}
SIMULATE_EXAMPLE: Mapping[str, Any] = {
    "from": "2026-12-01T00:00:00Z",
    "to": "2026-12-02T00:00:00Z",
    "durations": {"daily-digest": "5m", "*": "30s"},
    "outage": {"from": "2026-12-01T08:30:00Z", "to": "2026-12-01T10:00:00Z"},
}
CALENDAR_EXAMPLE: Mapping[str, Any] = {"days": ["2026-12-25", "2026-12-28"]}
SECRET_EXAMPLE: Mapping[str, Any] = {"value": "Bearer 4f1c…"}
EGRESS_EXAMPLE: Mapping[str, Any] = {"allowed_hosts": ["api.example.org", "*.example.com", "10.1.0.0/16"]}
NAMESPACE_EXAMPLE: Mapping[str, Any] = {
    "id": "growth",
    "timezone": "Europe/London",
    "limits": {"schedules": 1000, "minimum_interval": "1m"},
}
NAMESPACE_PATCH_EXAMPLE: Mapping[str, Any] = {"limits": {"schedules": 2000, "minimum_interval": None}}
KEY_EXAMPLE: Mapping[str, Any] = {"namespace": "growth", "name": "newsletter", "scopes": ["read", "write"]}
COMPLETE_EXAMPLE: Mapping[str, Any] = {"state": "succeeded", "output": {"rows": 1200}}
PAUSE_MANY_EXAMPLE: Mapping[str, Any] = {"filter": {"tag": "team:growth"}, "note": "database upgrade"}
RESUME_MANY_EXAMPLE: Mapping[str, Any] = {"filter": {"tag": "team:growth"}, "note": "database upgrade"}
ROUTE_EXAMPLE: Mapping[str, Any] = {
    "id": "growth-failures",
    "events": ["failure", "recovery", "auto_pause"],
    "tag": "team:growth",
    "after_failures": 2,
    "target": {"kind": "http", "url": "https://example.org/alerts"},
}
BACKFILL_EXAMPLE: Mapping[str, Any] = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-08T00:00:00Z", "dry_run": True}
PREVIEW_EXAMPLE: Mapping[str, Any] = {"triggers": SCHEDULE_EXAMPLE["triggers"], "count": 3}
_REFUSED: Mapping[str, Any] = {
    "type": "about:blank",
    "title": "Unprocessable Entity",
    "status": 422,
    "detail": "triggers[0].expression: minute 61 is outside 0–59; use 0–59, a list, a range or a step",
    "errors": [
        {
            "field": "triggers[0].expression",
            "rule": "minute 61 is outside 0–59",
            "fix": "use 0–59, a list, a range or a step",
        }
    ],
}


def body(
    model: type[BaseModel],
    *,
    example: Mapping[str, Any],
    required: bool = True,
    media: Sequence[str] = ("application/json",),
) -> dict[str, Any]:
    """Document a body that the route reads by itself."""
    content = {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}, "example": example}
    return {"requestBody": {"required": required, "content": dict.fromkeys(media, content)}}


BODIES: tuple[type[BaseModel], ...] = (
    ScheduleDefinition,
    MergePatch,
    PauseBody,
    ResumeBody,
    TriggerBody,
    BackfillRequest,
    PauseManyBody,
    ResumeManyBody,
    BatchBody,
    CalendarBody,
    SecretBody,
    EgressBody,
    SimulateRequest,
    NamespaceBody,
    NamespacePatch,
    KeyBody,
    RotateBody,
    CompleteBody,
    RouteBody,
)

_WORDS = {
    400: "The body is not JSON.",
    401: "No key that is in force.",
    403: "The key lacks the scope, or belongs to a namespace.",
    404: "There is no such thing in this namespace.",
    409: "The current state forbids it.",
    412: "If-Match names another revision.",
    413: "The body is over its limit.",
    422: "A field breaks a rule.",
    429: "A quota or rate is used up, which `limit` names; or too much at once.",
    503: "Starting, or the database does not answer.",
}
_HEADERS = {
    "ETag": "The schedule's revision, for If-Match.",
    "Location": "Where it can be read.",
    "Idempotency-Replayed": "`true` when this was answered before, to the same Idempotency-Key.",
    "WWW-Authenticate": "How to send a key.",
    "Retry-After": "Seconds to wait.",
}


def responses(
    answers: Mapping[int, type[BaseModel]], *statuses: int, headers: Sequence[str] = (), then: Sequence[str] = ()
) -> dict[int | str, dict[str, Any]]:
    """Document what a route answers, and the ways in which it refuses."""
    documented: dict[int | str, dict[str, Any]] = {
        status: {"model": model, "description": model.__doc__ or "One page.", "headers": _headers(*headers)}
        | ({"links": links(*then)} if then else {})
        for status, model in answers.items()
    }
    return documented | refusals(401, 403, 404, 422, 429, 503, *statuses)


def links(*operations: str) -> dict[str, Any]:
    """Document what can be done next with what was answered, by its id."""
    return {name: {"operationId": name, "parameters": {"id": "$response.body#/id"}} for name in operations}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Document the ways in which a route refuses."""
    return {status: _refusal(status) for status in sorted(set(statuses))}


def _refusal(status: int) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{ProblemBody.__name__}"}}
    if status == 422:
        content["example"] = _REFUSED
    names = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}.get(status, ())
    return {"description": _WORDS[status], "content": {PROBLEM: content}, "headers": _headers(*names)}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in names}
