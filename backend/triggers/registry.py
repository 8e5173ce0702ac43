"""All kinds of triggers, and what is asked of several at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated

from pydantic import Field, TypeAdapter

from backend.triggers.base import Trigger
from backend.triggers.cron import CronTrigger
from backend.triggers.interval import IntervalTrigger
from backend.triggers.once import OnceTrigger
from backend.triggers.rrule import RecurrenceTrigger

AnyTrigger = Annotated[CronTrigger | IntervalTrigger | OnceTrigger | RecurrenceTrigger, Field(discriminator="kind")]

KINDS: Mapping[str, type[Trigger]] = MappingProxyType(
    {"cron": CronTrigger, "interval": IntervalTrigger, "once": OnceTrigger, "rrule": RecurrenceTrigger}
)


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[tuple[AnyTrigger, ...]]:
    return TypeAdapter(tuple[AnyTrigger, ...])


@lru_cache(maxsize=10_000)
def parse_triggers(json_text: str) -> tuple[Trigger, ...]:
    """Read a JSON list of triggers; equal texts give equal values. ValueError if one is refused, or none is there."""
    triggers = _adapter().validate_json(json_text)
    if not triggers:
        raise ValueError("there is no trigger")
    return triggers


def dump_triggers(triggers: Sequence[Trigger]) -> str:
    """Write triggers as canonical JSON: defaults written out, keys sorted, no spaces."""
    return f"[{','.join(map(_dumped, triggers))}]"


@lru_cache(maxsize=1024)
def _dumped(trigger: Trigger) -> str:
    return json.dumps(trigger.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def next_after(triggers: Sequence[Trigger], instant: int) -> int | None:
    """Find the first instant of any of the triggers strictly after `instant`, both in microseconds."""
    found = [nominal for trigger in triggers if (nominal := _next_of(trigger, instant)) is not None]
    return min(found, default=None)


@lru_cache(maxsize=65_536)
def _next_of(trigger: Trigger, instant: int) -> int | None:
    # Many schedules share an expression and are asked about the same instants.
    return trigger.next_after(instant)
