"""Metrics of the process that answers requests: the requests, and what it knows of the engine's health."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from backend import events

REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Pulse(NamedTuple):
    """How the engine is: whether it lives, serves, and how many seconds ago its last turn ended."""

    live: bool
    ready: bool
    silence: float


class WebMetrics:
    """Counts requests by route. Its names are others than those of `Metrics`: one page holds both."""

    def __init__(self, version: str) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "scheduler_http_requests",
            "Requests to the API, by route and class of status.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "scheduler_http_request_seconds",
            "From a request to the beginning of its answer.",
            ["method", "route"],
            buckets=REQUEST_BUCKETS,
            registry=registry,
        )
        self._limits = Counter(
            "scheduler_limits_reached", "Requests refused because of a quota or rate.", ["limit"], registry=registry
        )
        self._live = Gauge("scheduler_live", "1 when /livez answers 200, else 0.", registry=registry)
        self._ready = Gauge("scheduler_ready", "1 when /readyz answers 200, else 0.", registry=registry)
        self._silence = Gauge(
            "scheduler_engine_silence_seconds", "Time since the engine's last turn ended.", registry=registry
        )
        Gauge("scheduler_build_info", "Always 1; the label names the version.", ["version"], registry=registry).labels(
            version
        ).set(1)
        self._observers: dict[type[events.Fact], Callable[[Any], None]] = {
            events.RequestAnswered: self._request_answered,
            events.LimitReached: lambda fact: self._limits.labels(fact.limit).inc(),
        }

    def observe(self, fact: events.Fact) -> None:
        """Count a fact; facts that no metric is about are ignored."""
        observer = self._observers.get(type(fact))
        if observer is not None:
            observer(fact)

    def set_pulse(self, pulse: Pulse) -> None:
        """Take over how the engine is."""
        self._live.set(pulse.live)
        self._ready.set(pulse.ready)
        self._silence.set(pulse.silence)

    def render(self) -> bytes:
        """Write all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _request_answered(self, fact: events.RequestAnswered) -> None:
        route = fact.route or "none"
        self._requests.labels(fact.method, route, f"{fact.status // 100}xx").inc()
        self._seconds.labels(fact.method, route).observe(fact.milliseconds / 1000)
