"""One trace from a request or an occurrence to its target, by a real server; and none where none is wanted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from backend.model.trace_ids import parse_traceparent, trace_of, traceparent
from tests.acceptance.server import Server, until
from tests.acceptance.sink import Answer, listening_sink
from tests.unit.test_traces import collecting

PRINT = {"kind": "command", "argv": ["/bin/sh", "-c", "echo ${TRACEPARENT-none}"]}


def test_targets_are_told_of_the_trace_that_the_collector_gets(tmp_path: Path) -> None:
    with collecting() as collector, listening_sink() as sink:
        sink.on("/hook", Answer(503), Answer(200))
        with Server(tmp_path, otlp_endpoint=collector.endpoint) as server:
            server.ready().create("hook", sink.target("/hook"))
            run = server.run(server.post("/schedules/hook/trigger")["id"])
            server.create("print", PRINT)
            printed = server.run(server.post("/schedules/print/trigger")["id"])
            assert server.stop() == 0
        spans = collector.spans()
    assert [request.headers["traceparent"] for request in sink.at("/hook")] == [
        traceparent(run["id"], 1),
        traceparent(run["id"], 2),
    ]
    assert printed["output"].strip() == traceparent(printed["id"], 1)
    told = parse_traceparent(sink.at("/hook")[1].headers["traceparent"])
    assert told is not None
    assert spans["attempt http"].trace_id == told.trace_id.to_bytes(16, "big")
    assert spans["attempt http"].span_id == told.span_id.to_bytes(8, "big")
    links = spans["POST /api/v1/schedules/{id}/trigger"].links
    assert [link.trace_id for link in links] == [trace_of(printed["id"]).to_bytes(16, "big")]


def test_without_a_collector_nothing_is_told_and_nothing_is_imported(tmp_path: Path) -> None:
    with listening_sink() as sink, Server(tmp_path) as server:
        server.ready().create("hook", sink.target())
        server.run(server.post("/schedules/hook/trigger")["id"])
        assert "traceparent" not in sink.at("/")[0].headers
    code = "import sys, backend.executor.wiring, backend.api.app; print([m for m in sys.modules if 'try.sdk' in m])"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert told.stdout.strip() == "[]"


def test_where_the_extra_is_missing_the_server_says_so_and_targets_are_told_all_the_same(tmp_path: Path) -> None:
    # What the extra brings cannot be uninstalled for one test; an empty part of it stands before the real one.
    hidden = tmp_path / "hidden" / "opentelemetry" / "exporter"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").touch()
    root = str(Path(__file__).parents[2])
    with (
        listening_sink() as sink,
        Server(tmp_path, otlp_endpoint="http://127.0.0.1:1", code=f"{tmp_path / 'hidden'}:{root}") as server,
    ):
        line = until("a warning", lambda: next(iter(server.said("traces_unavailable")), None))
        assert "agent-scheduler[otel]" in line["fix"]
        server.ready().create("hook", sink.target())
        run = server.run(server.post("/schedules/hook/trigger")["id"])
        assert sink.at("/")[0].headers["traceparent"] == traceparent(run["id"], 1)
