"""Turns traces on for a process, where they are asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from backend.events import Events, TracesUnavailable
from backend.settings import Settings

if TYPE_CHECKING:
    from backend.observe.traces import Traces

FIX = "pip install 'agent-scheduler[otel]', or leave SCHEDULER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_ENDPOINT out"


@asynccontextmanager
async def tracing(settings: Settings, events: Events, service: str) -> AsyncIterator[None]:
    """Send traces until the block is left, if a collector is named; what that takes is imported only then."""
    if settings.otlp_endpoint is None:
        yield
        return
    traces = _traces(settings.otlp_endpoint, service)
    if traces is None:
        # The variable may be set for the whole host: no reason not to serve. Targets hear of their traces all the same.
        events.emit(TracesUnavailable(FIX))
        yield
        return
    events.subscribe(traces.observe)
    try:
        yield
    finally:
        traces.close()


def _traces(endpoint: str, service: str) -> Traces | None:
    try:
        from backend.observe.traces import traces_to
    except ModuleNotFoundError:
        return None
    from backend.executor.wiring import version_of_this_package

    return traces_to(endpoint, service=service, version=version_of_this_package())
