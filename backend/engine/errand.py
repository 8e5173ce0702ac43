"""What a worker needs of a definition: whom to invoke, with what, and within which limits."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic import ConfigDict, TypeAdapter

from backend.duration import Duration
from backend.engine.cache import cached_if_short
from backend.engine.definition import VERSION
from backend.model.policies import Completion, Delivery, RetryPolicy
from backend.targets.base import Target
from backend.targets.http import HttpTarget
from backend.targets.registry import ErrandTarget


class Errand(NamedTuple):
    """The part of a definition that is carried out. `input` must not be changed: schedules that agree share it."""

    target: Target
    input: dict[str, Any]
    timeout: timedelta
    retry: RetryPolicy
    delivery: Delivery
    completion: Completion = Completion.RESPONSE
    heartbeat_timeout: timedelta | None = None


_Read = tuple[int, ErrandTarget, dict[str, Any], Duration, RetryPolicy, Delivery, Completion | None, Duration | None]


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[_Read]:
    # Messages go into attempts, logs and notes: they must not quote what may be a secret.
    return TypeAdapter(
        _Read,
        config=ConfigDict(hide_input_in_errors=True),
    )


def load_errand(text: str | None) -> Errand:
    """Read what `errands_of` answers: a list that begins with the version; ValueError if this program cannot.

    It has neither id nor name, so schedules that do the same thing share the text, and it is read once for all.
    """
    if text is None:
        raise ValueError("it is not JSON")
    return _read(text)


@cached_if_short
def _read(text: str) -> Errand:
    version, target, given, timeout, retry, delivery, completion, silence = _adapter().validate_json(text)
    if version != VERSION:
        raise ValueError(f"it is of version {version}, this program reads {VERSION}")
    return Errand(target, given, timeout, retry, delivery, completion or Completion.RESPONSE, silence)


CLOUD_EVENT = "application/cloudevents+json; charset=utf-8"


def telling(errand: Errand, cloud_event: dict[str, Any]) -> Errand:
    """Give the errand of a notification: an http target is sent the CloudEvent itself, in structured mode."""
    if not isinstance(errand.target, HttpTarget):
        return errand
    headers = {"Content-Type": CLOUD_EVENT} | errand.target.headers
    return errand._replace(target=errand.target.model_copy(update={"body": cloud_event, "headers": headers}))
