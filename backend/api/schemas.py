"""What the OpenAPI document says beyond what the framework finds by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from backend.api.answers import PROBLEM, ProblemBody
from backend.engine.definition import ScheduleDefinition


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


class BatchItemView(BaseModel):
    """What happened to one schedule."""

    id: str
    created: bool
    change: str


class BatchView(BaseModel):
    """What happened to each schedule of a batch."""

    items: list[BatchItemView]


def body(model: type[BaseModel], *, required: bool = True, media: str = "application/json") -> dict[str, Any]:
    """Document a body that the route reads by itself."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": required, "content": {media: {"schema": schema}}}}


BODIES: tuple[type[BaseModel], ...] = (ScheduleDefinition, PauseBody, ResumeBody, TriggerBody, BatchBody)

_WORDS = {
    400: "The body is not JSON.",
    401: "No key, or one that is not known.",
    404: "There is no such thing in this namespace.",
    409: "The current state forbids it.",
    412: "If-Match names another revision.",
    413: "The body is over its limit.",
    422: "A field breaks a rule.",
    503: "Starting, or the database does not answer.",
}


def responses(answers: Mapping[int, type[BaseModel]], *statuses: int) -> dict[int | str, dict[str, Any]]:
    """Document what a route answers, and the ways in which it refuses."""
    schema = {"$ref": f"#/components/schemas/{ProblemBody.__name__}"}
    documented: dict[int | str, dict[str, Any]] = {status: {"model": model} for status, model in answers.items()}
    return documented | {
        status: {"description": _WORDS[status], "content": {PROBLEM: {"schema": schema}}}
        for status in sorted({401, 422, 503, *statuses})
    }
