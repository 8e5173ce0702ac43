"""What becomes of facts in traces, and where they arrive: at a collector, over real HTTP."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from backend import events
from backend.model.trace_ids import parse_traceparent, span_of, trace_of, traceparent
from backend.observe.traces import Traces, traces_to

SECOND = 1_000_000
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Kept(SpanProcessor):
    """Keeps finished spans."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


def attempt(number: int, outcome: str, run_state: str) -> events.AttemptFinished:
    return events.AttemptFinished(
        namespace="default",
        schedule_id="digest",
        run_id="run-1",
        attempt=number,
        target="http",
        outcome=outcome,
        run_state=run_state,
        error=None if outcome == "succeeded" else "503 Service Unavailable",
        nominal_at=9 * SECOND,
        scheduled_at=10 * SECOND,
        started_at=(10 + number) * SECOND,
        finished_at=(10 + number) * SECOND + 500,
    )


def request(**changes: Any) -> events.RequestAnswered:
    facts: dict[str, Any] = {
        "method": "POST",
        "route": "/api/v1/schedules/{id}/trigger",
        "status": 202,
        "milliseconds": 2.5,
        "by": "key:1",
        "request_id": "req-1",
        "at": 20 * SECOND,
        "traceparent": "",
        "run_id": "run-1",
    }
    return events.RequestAnswered(**(facts | changes))


def spans_of(*facts: events.Fact) -> list[Any]:
    kept = Kept()
    traces = Traces(kept, service="scheduler", version="1.2.3")
    for fact in facts:
        traces.observe(fact)
    return kept.spans


def test_a_run_and_its_attempts_are_one_trace_whose_ids_follow_from_the_run() -> None:
    first, second, run = spans_of(attempt(1, "failed", "retrying"), attempt(2, "succeeded", "succeeded"))
    assert {span.context.trace_id for span in (first, second, run)} == {trace_of("run-1")}
    assert (run.name, run.parent, run.context.span_id) == ("run", None, span_of("run-1"))
    assert {first.parent.span_id, second.parent.span_id} == {run.context.span_id}
    assert (first.status.status_code, run.status.status_code) == (StatusCode.ERROR, StatusCode.OK)
    assert (run.start_time, run.end_time) == (10 * SECOND * 1000, (12 * SECOND + 500) * 1000)
    assert run.attributes["scheduler.attempts"] == 2


def test_the_target_is_told_of_the_very_span_that_is_recorded() -> None:
    first, _ = spans_of(attempt(1, "succeeded", "succeeded"))
    told = parse_traceparent(traceparent("run-1", 1))
    assert told == (first.context.trace_id, first.context.span_id, True)


def test_a_request_hangs_below_its_caller_and_is_linked_to_the_run_that_it_started() -> None:
    [span] = spans_of(request(traceparent=CALLER))
    caller = parse_traceparent(CALLER)
    assert caller is not None
    assert (span.context.trace_id, span.parent.span_id) == caller[:2]
    assert (span.kind, span.end_time - span.start_time) == (SpanKind.SERVER, 2_500_000)
    assert [link.context.trace_id for link in span.links] == [trace_of("run-1")]


def test_a_request_of_nobodys_trace_begins_one() -> None:
    first, second = spans_of(request(), request(run_id="", traceparent="rubbish", status=500))
    assert first.context.trace_id != second.context.trace_id
    assert first.parent is second.parent is None
    assert (second.links, second.status.status_code) == ((), StatusCode.ERROR)


def test_what_a_caller_does_not_record_and_what_is_no_request_to_the_api_is_left_out() -> None:
    facts = (request(traceparent=CALLER[:-1] + "0"), request(route="/metrics"), events.RunsClaimed("worker-1", 1))
    assert spans_of(*facts) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        CALLER.upper(),
        CALLER + "-more",
        "ff" + CALLER[2:],
        CALLER.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        CALLER.replace("b7ad6b7169203331", "0" * 16),
    ],
)
def test_a_traceparent_that_breaks_the_rules_is_none(text: str) -> None:
    assert parse_traceparent(text) is None


def test_a_traceparent_of_a_later_version_is_read_as_far_as_it_is_known() -> None:
    assert parse_traceparent("01" + CALLER[2:] + "-more") == parse_traceparent(CALLER)


class Collector(ThreadingHTTPServer):
    """An OTLP collector that keeps what it is sent."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.received: list[ExportTraceServiceRequest] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def spans(self) -> dict[str, Any]:
        """Give spans by name."""
        return {
            span.name: span
            for request in list(self.received)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Collector)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.paths.append(self.path)
        self.server.received.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def collecting() -> Iterator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            collector.shutdown()
            thread.join()


@pytest.mark.parametrize("path", ["", "/", "/v1/traces"])
def test_spans_arrive_at_a_collector_before_the_end(path: str) -> None:
    with collecting() as collector:
        traces = traces_to(collector.endpoint + path, service="worker", version="1.2.3")
        traces.observe(attempt(1, "succeeded", "succeeded"))
        traces.close()
    assert collector.paths == ["/v1/traces"]
    spans = collector.spans()
    assert set(spans) == {"run", "attempt http"}
    assert spans["run"].trace_id == trace_of("run-1").to_bytes(16, "big")
    (resource,) = (each.resource for each in collector.received[0].resource_spans)
    described = {each.key: each.value.string_value for each in resource.attributes}
    assert (described["service.name"], described["scheduler.process"]) == ("agent-scheduler", "worker")


def test_a_collector_that_is_not_there_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    before = set(threading.enumerate())
    traces = traces_to("http://127.0.0.1:1", service="worker", version="1.2.3")
    traces.observe(attempt(1, "succeeded", "succeeded"))
    traces.close()
    traces.observe(attempt(2, "succeeded", "succeeded"))
    # What tries again draws random numbers; a test that comes after this one must not find them drawn.
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
