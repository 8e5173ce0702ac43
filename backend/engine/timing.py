"""When a schedule fires, as it is stored: triggers, minus exclusions, within a window."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from pydantic import TypeAdapter

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
    rest = {
        "exclusions": [exclusion.model_dump(mode="json") for exclusion in timing.exclusions],
        "start_at": timing.start_at,
        "end_at": timing.end_at,
    }
    return f'{{"triggers":{triggers},{json.dumps(rest, sort_keys=True, separators=(",", ":"))[1:]}'


@lru_cache(maxsize=10_000)
def load_timing(text: str) -> Timing:
    """Read a timing; ValueError if this program cannot."""
    if text.startswith("["):
        return Timing(parse_triggers(text))
    document = json.loads(text)
    return Timing(
        parse_triggers(json.dumps(document["triggers"])),
        _adapter().validate_python(document["exclusions"]),
        document["start_at"],
        document["end_at"],
    )


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[tuple[AnyExclusion, ...]]:
    return TypeAdapter(tuple[AnyExclusion, ...])
