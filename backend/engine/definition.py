"""The document a person writes to define a schedule, as it is checked and as it is stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from backend.duration import Duration
from backend.engine.cache import cached_if_short
from backend.errors import FieldError
from backend.model.numbers import WHOLE
from backend.model.policies import Completion, Delivery, MisfirePolicy, OverlapPolicy, RetryPolicy
from backend.targets.registry import AnyTarget
from backend.triggers.base import Instant
from backend.triggers.exclusions import AnyExclusion
from backend.triggers.registry import AnyTrigger

VERSION: Final = 1
ANSWERED_ONLY = frozenset(
    {"state", "note", "note_by", "note_at", "created_by", "created_at", "updated_at", "revision", "error", "source"}
    | {"next_nominal_time", "next_scheduled_time", "last_run", "failure_streak", "description", "warnings"}
)
"""What an answer carries and a definition may repeat without effect, so that what was read can be written back."""

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:@~-]{0,199}$"
TAG_NAME_PATTERN = r"^[^:\x00-\x1f\x7f]+$"

SHORTEST_TIMEOUT = timedelta(milliseconds=10)
LONGEST_TIMEOUT = timedelta(days=7)
SHORTEST_HEARTBEAT = timedelta(seconds=1)


def _printable(text: str) -> str:
    if not text.isprintable() and any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise FieldError("it has control characters", "leave them out")
    return text


def _bounded(length: timedelta) -> timedelta:
    if not SHORTEST_TIMEOUT <= length <= LONGEST_TIMEOUT:
        raise FieldError("a timeout is 10 ms to 7 days long", 'use a length such as "3m"')
    return length


def _a_day_at_most(length: timedelta) -> timedelta:
    if length > timedelta(days=1):
        raise FieldError("a jitter is at most 1 day", 'use a length such as "30s"')
    return length


def check_window(start_at: int | None, end_at: int | None) -> None:
    """Refuse a window that ends before it begins."""
    if start_at is not None and end_at is not None and end_at < start_at:
        raise FieldError("end_at is before start_at", "give a later end, or none", "end_at")


def check_completion(completion: Completion, heartbeat_timeout: timedelta | None) -> None:
    """Refuse to wait for heartbeats of a callee whose answer ends the run."""
    if heartbeat_timeout is not None and completion is not Completion.CALLBACK:
        fix = 'leave it out, or give "completion": "callback"'
        raise FieldError('only runs with "completion": "callback" have heartbeats', fix, "heartbeat_timeout")


Jitter = Annotated[Duration, AfterValidator(_a_day_at_most)]
MaxRuns = Annotated[int, Field(ge=1, le=10**9, strict=True), WHOLE]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
PublicId = Annotated[
    str,
    Field(
        pattern=ID_PATTERN,
        description="Up to 200 letters, digits and . _ : @ ~ - , beginning with a letter or digit.",
    ),
]
TagName = Annotated[str, Field(min_length=1, max_length=64, pattern=TAG_NAME_PATTERN)]
TagValue = Annotated[str, Field(max_length=200), AfterValidator(_printable)]


class ScheduleDefinition(BaseModel):
    """When something runs, what it is, and what happens when it does not go to plan."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: PublicId | None = Field(default=None, description="Unique in its namespace; made up when absent.")
    name: Name | None = Field(default=None, description="For people; the id when absent.")
    namespace: Name = "default"
    triggers: tuple[AnyTrigger, ...] = Field(min_length=1, max_length=20, description="Fires when any of them does.")
    exclusions: tuple[AnyExclusion, ...] = Field(default=(), max_length=100, description="When it does not fire.")
    target: AnyTarget
    input: dict[str, Any] = Field(default_factory=dict, description="Handed to the target with every run.")
    tags: dict[TagName, TagValue] = Field(default_factory=dict, max_length=50)
    owner: Name | None = None
    misfire_policy: MisfirePolicy = MisfirePolicy.FIRE_ONCE
    misfire_threshold: Duration = timedelta(seconds=60)
    catchup_window: Duration = timedelta(days=365)
    overlap_policy: OverlapPolicy = OverlapPolicy.SKIP
    jitter: Jitter = Field(
        default=timedelta(0), description="Spread: each occurrence is up to so much later, always by the same amount."
    )
    start_at: Instant | None = Field(default=None, description="No occurrence before.")
    end_at: Instant | None = Field(default=None, description="No occurrence after.")
    max_runs: MaxRuns | None = Field(default=None, description="Completed after so many runs of its own.")
    retry: RetryPolicy = Field(default_factory=RetryPolicy)
    timeout: Annotated[Duration, AfterValidator(_bounded)] = timedelta(minutes=3)
    delivery: Delivery = Delivery.AT_LEAST_ONCE
    completion: Completion = Field(
        default=Completion.RESPONSE,
        description="`callback`: once the target has answered, the run stays open until the callee completes it.",
    )
    heartbeat_timeout: Annotated[Duration, Field(ge=SHORTEST_HEARTBEAT, le=LONGEST_TIMEOUT)] | None = Field(
        default=None,
        description="With `callback`: silence after which the attempt has timed out; null: only `timeout`.",
    )
    pause_after_failures: Annotated[int, WHOLE] = Field(
        default=5, ge=0, le=10_000, strict=True, description="0: never."
    )

    @model_validator(mode="after")
    def _has_a_window(self) -> ScheduleDefinition:
        check_window(self.start_at, self.end_at)
        check_completion(self.completion, self.heartbeat_timeout)
        return self

    @model_validator(mode="before")
    @classmethod
    def _without_what_is_only_answered(cls, document: object) -> object:
        if not isinstance(document, Mapping):
            return document
        answered = not ANSWERED_ONLY.isdisjoint(document)
        kept = {k: v for k, v in document.items() if k not in ANSWERED_ONLY} if answered else dict(document)
        if kept.get("name") == kept.get("id"):
            # An answer shows the id where there is no name; written back, that is still no name.
            kept.pop("name", None)
        return kept


class StoredDefinition(BaseModel):
    """A definition in the database; the version says how to read it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    version: int
    definition: ScheduleDefinition


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[StoredDefinition]:
    return TypeAdapter(StoredDefinition)


def dump_definition(definition: ScheduleDefinition) -> str:
    """Write a definition for the database; objects keep the order of their fields, which targets may show."""
    # As a StoredDefinition is written, which would check a checked definition again.
    return f'{{"version":{VERSION},"definition":{definition.model_dump_json()}}}'


def says_the_same(text: str, other: str) -> bool:
    """Compare two stored definitions, whatever the order of their fields; `1`, `1.0` and `true` are three things."""
    return text == other or _in_order(text) == _in_order(other)


def _in_order(text: str) -> str:
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except ValueError:
        return text


@cached_if_short
def load_definition(text: str) -> ScheduleDefinition:
    """Read a definition from the database; ValueError if this program cannot read it."""
    stored = _adapter().validate_json(text)
    if stored.version != VERSION:
        raise ValueError(f"the definition is of version {stored.version}, this program reads {VERSION}")
    return stored.definition
