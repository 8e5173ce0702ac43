"""How a namespace is doing, in figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from pydantic import Field

from backend.duration import format_duration
from backend.model.instants import SECOND, rfc3339
from backend.model.limits import NamespaceLimits
from backend.model.run import OPEN_STATES, RunState
from backend.model.schedule import ScheduleState
from backend.service.views import View
from backend.store.stats import MOST, RECENT, Stats

FAILURES = (RunState.FAILED, RunState.TIMED_OUT, RunState.DEAD)


class LatenessView(View):
    """How long after their scheduled times the runs of the last hour began, in seconds; null when none has."""

    runs: int = Field(description="Those that have begun; backfills do not count.")
    p50: float | None
    p95: float | None
    p99: float | None


class BacklogView(View):
    """What waits, and for how long, in seconds."""

    due_schedules: int = Field(description="Due, and not planned yet.")
    due_age_seconds: float
    queued_age_seconds: float = Field(description="How long the oldest run has been waiting for a worker.")


class LimitView(View):
    """A limit of the namespace, and how much of it is used."""

    name: str
    limit: int | str
    used: int | None = Field(description="Null where it is not counted in one figure.")


class StatsView(View):
    """How a namespace is doing."""

    namespace: str
    at: str
    schedules: dict[ScheduleState, int]
    open_runs: dict[RunState, int] = Field(description="Each counted up to 10,000; that many may be more.")
    last_hour: dict[RunState, int] = Field(description="Runs with a nominal time in it, by state.")
    last_hour_complete: bool = Field(description="False: there were more, and the newest 5,000 were looked at.")
    failures: int = Field(description="Of the last hour: failed, timed_out and dead.")
    lateness: LatenessView
    backlog: BacklogView
    limits: list[LimitView] = Field(description="Those that are set.")


def stats_view(namespace: str, stats: Stats) -> StatsView:
    """Show the figures of a namespace."""
    recent = stats.recent[:RECENT]
    states = Counter(state for state, _ in recent)
    return StatsView(
        namespace=namespace,
        at=rfc3339(stats.now),
        schedules={state: stats.schedules.get(state, 0) for state in ScheduleState},
        open_runs={
            state: min(stats.open_runs.get(state, 0), MOST)
            for state in RunState
            if state in OPEN_STATES or state is RunState.BUFFERED
        },
        last_hour={RunState(state): number for state, number in sorted(states.items())},
        last_hour_complete=len(stats.recent) <= RECENT,
        failures=sum(states[state] for state in FAILURES),
        lateness=_lateness([late for _, late in recent if late is not None]),
        backlog=BacklogView(
            due_schedules=stats.due,
            due_age_seconds=_age(stats.due_since, stats.now),
            queued_age_seconds=_age(stats.queued_since, stats.now),
        ),
        limits=_limits(stats.limits, _used(stats)),
    )


def _age(since: int | None, now: int) -> float:
    return 0.0 if since is None else max(now - since, 0) / SECOND


def _lateness(late: Sequence[int]) -> LatenessView:
    ordered = sorted(max(one, 0) / SECOND for one in late)
    p50, p95, p99 = (percentile(ordered, percent) for percent in (50, 95, 99))
    return LatenessView(runs=len(ordered), p50=p50, p95=p95, p99=p99)


def percentile(ordered: Sequence[float], percent: int) -> float | None:
    """Give the value that so many percent are not above; None of nothing.

    >>> percentile([1, 2, 3, 4], 50), percentile([1, 2, 3, 4], 99), percentile([], 50)
    (2, 4, None)
    """
    return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else None


def _used(stats: Stats) -> dict[str, int]:
    return {
        "schedules": sum(stats.schedules.values()),
        "starts_per_minute": stats.starts,
        "concurrent_runs": stats.open_runs.get(RunState.RUNNING, 0),
    }


def _limits(limits: NamespaceLimits, used: dict[str, int]) -> list[LimitView]:
    given = ((name, getattr(limits, name)) for name in NamespaceLimits.model_fields)
    return [
        LimitView(
            name=name,
            limit=format_duration(value) if isinstance(value, timedelta) else value,
            used=used.get(name),
        )
        for name, value in given
        if value is not None
    ]
