"""When a schedule fires, as it is stored: triggers, minus exclusions, within a window."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from pydantic import TypeAdapter

from backend.engine.cache import cached_by_length
from backend.triggers.base import Trigger
from backend.triggers.exclusions import AnyExclusion, Exclusion
from backend.triggers.registry import dump_triggers, parse_triggers


class Timing(NamedTuple):
    """All that decides nominal times. Instants in microseconds, both inclusive."""

    triggers: Sequence[Trigger]
    exclusions: Sequence[Exclusion] = ()
    start_at: int | None = None
    end_at: int | None = None


def dump_timing(timing: Timing) -> str:
    """Write a timing as canonical JSON; equal ones give equal texts. Without more than triggers, it is their list."""
    triggers = dump_triggers(timing.triggers)
    if timing == Timing(timing.triggers):
        return triggers
    exclusions = ",".join(map(_dumped, timing.exclusions))
    end_at, start_at = json.dumps(timing.end_at), json.dumps(timing.start_at)
    return f'{{"triggers":{triggers},"end_at":{end_at},"exclusions":[{exclusions}],"start_at":{start_at}}}'


@lru_cache(maxsize=256)
def _dumped(exclusion: Exclusion) -> str:
    return json.dumps(exclusion.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


@cached_by_length(10_000)
def load_timing(text: str) -> Timing:
    """Read a timing; ValueError if this program cannot."""
    if text.startswith("["):
        return Timing(parse_triggers(text))
    document = json.loads(text)
    try:
        return Timing(
            parse_triggers(json.dumps(document["triggers"])),
            _exclusions(json.dumps(document["exclusions"], separators=(",", ":"))),
            document["start_at"],
            document["end_at"],
        )
    except (TypeError, KeyError) as fault:
        raise ValueError(f"it has not the shape of a timing: {fault!r}") from fault


@cached_by_length(256)
def _exclusions(text: str) -> tuple[AnyExclusion, ...]:
    # Thousands of schedules may carry the days of one calendar.
    return _adapter().validate_json(text)


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[tuple[AnyExclusion, ...]]:
    return TypeAdapter(tuple[AnyExclusion, ...])
