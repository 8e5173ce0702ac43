"""Traces, made from facts when they are over. Needs the extra `otel`; import this only where traces are wanted.

run              from the scheduled time to the end, its ids following from the run's
└── attempt 1 …  one each; what the target does hangs below, by `traceparent`
request          of the API, below the caller's span if it sent one; linked to the run that it started
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from backend import events
from backend.model.run import FINAL_STATES, RunState
from backend.model.trace_ids import parse_traceparent, span_of, trace_of

NAME = "agent-scheduler"
PATH = "/v1/traces"
API = "/api/"
CLOSING_SECONDS = 2.0
"""What the last batch may take; a collector that does not answer must not hold up who leaves."""
GOOD = frozenset({"succeeded", "released", "cancelled"})


class Traces:
    """Hands a finished span for each fact that is one to a processor."""

    def __init__(self, processor: SpanProcessor, *, service: str, version: str) -> None:
        self._processor = processor
        self._resource = Resource.create(
            {"service.name": NAME, "service.version": version, "scheduler.process": service}
        )
        self._scope = InstrumentationScope(NAME, version)

    def observe(self, fact: events.Fact) -> None:
        """Make the spans of a fact; facts that are none are ignored."""
        if isinstance(fact, events.AttemptFinished):
            self._attempt(fact)
        elif isinstance(fact, events.RequestAnswered) and fact.route.startswith(API):
            self._request(fact)

    def close(self) -> None:
        """Send what waits, for at most two seconds."""
        closing = threading.Thread(target=self._processor.shutdown, name="traces-closing", daemon=True)
        closing.start()
        closing.join(CLOSING_SECONDS)

    def _attempt(self, fact: events.AttemptFinished) -> None:
        facts = {
            "scheduler.namespace": fact.namespace,
            "scheduler.schedule_id": fact.schedule_id,
            "scheduler.run_id": fact.run_id,
            "scheduler.target": fact.target,
        }
        trace, run = trace_of(fact.run_id), span_of(fact.run_id)
        self._end(
            f"attempt {fact.target}",
            _context(trace, span_of(fact.run_id, fact.attempt)),
            parent=_context(trace, run),
            times=(fact.started_at, fact.finished_at),
            attributes={**facts, "scheduler.attempt": fact.attempt, "scheduler.outcome": fact.outcome},
            kind=SpanKind.CLIENT,
            status=_status(fact.outcome, fact.error),
        )
        if RunState(fact.run_state) in FINAL_STATES:
            self._end(
                "run",
                _context(trace, run),
                times=(fact.scheduled_at, fact.finished_at),
                attributes={**facts, "scheduler.attempts": fact.attempt, "scheduler.run_state": fact.run_state},
                status=_status(fact.run_state, fact.error),
            )

    def _request(self, fact: events.RequestAnswered) -> None:
        caller = parse_traceparent(fact.traceparent)
        if caller is not None and not caller.sampled:
            return  # whoever asks has decided that this is not to be recorded
        trace = caller.trace_id if caller else secrets.randbits(128) or 1
        run = fact.run_id
        self._end(
            f"{fact.method} {fact.route}",
            _context(trace, secrets.randbits(64) or 1),
            parent=_context(caller.trace_id, caller.span_id, remote=True) if caller else None,
            times=(fact.at - round(fact.milliseconds * 1000), fact.at),
            attributes={
                "http.request.method": fact.method,
                "http.route": fact.route,
                "http.response.status_code": fact.status,
                "scheduler.by": fact.by,
                "scheduler.request_id": fact.request_id,
            },
            kind=SpanKind.SERVER,
            status=Status(StatusCode.ERROR) if fact.status >= 500 else Status(),
            links=(Link(_context(trace_of(run), span_of(run), remote=True)),) if run else (),
        )

    def _end(
        self,
        name: str,
        context: SpanContext,
        times: tuple[int, int],
        attributes: Mapping[str, str | int],
        **more: Any,  # noqa: ANN401
    ) -> None:
        """Hand a span on; `times` in microseconds, `more` as ReadableSpan takes it."""
        start, end = times
        span = ReadableSpan(
            name,
            context,
            resource=self._resource,
            attributes=attributes,
            start_time=start * 1000,
            end_time=max(start, end) * 1000,
            instrumentation_scope=self._scope,
            **more,
        )
        self._processor.on_end(span)


def traces_to(endpoint: str, *, service: str, version: str) -> Traces:
    """Send spans to a collector, in batches, from a thread of their own."""
    url = endpoint.rstrip("/")
    exporter = OTLPSpanExporter(url if url.endswith(PATH) else url + PATH)
    return Traces(BatchSpanProcessor(exporter), service=service, version=version)


def _context(trace_id: int, span_id: int, *, remote: bool = False) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=remote, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _status(outcome: str, error: str | None) -> Status:
    return Status(StatusCode.OK) if outcome in GOOD else Status(StatusCode.ERROR, error)
