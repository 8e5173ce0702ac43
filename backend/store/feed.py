"""What happens in a namespace, in order, read from what is recorded anyway: nothing is written for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from backend.model.ids import NamespaceId
from backend.model.instants import rfc3339, rfc3339_or_none
from backend.model.run import TriggerType
from backend.store.operation import Operation, Query, Row, Runner, now


class Happening(NamedTuple):
    """One event: when it happened, what it is, and what names it for good."""

    at: int
    kind: str
    schedule_id: str | None
    name: str
    document: Mapping[str, Any]


class FedRun(NamedTuple):
    """A run, as far as events show it."""

    id: str
    schedule_id: str | None
    trigger_type: str
    state: str
    reason: str | None
    nominal_at: int
    queued_at: int
    started_at: int | None
    finished_at: int | None
    attempt: int
    error: str | None


class Reading(NamedTuple):
    """What has happened after `since`, complete up to `until`."""

    happenings: list[Happening]
    until: int
    more: bool
    """The limit cut it short."""


ENDS = ("ended_since", "failed_since")
SORTS: Sequence[tuple[str, Mapping[str, int]]] = (
    ("queued_since", {"lane": 0}),
    ("queued_since", {"lane": 1}),
    ("queued_since", {"lane": 2}),
    ("started_since", {}),
    *((name, {}) for name in ENDS),
)


def read_feed(namespace: str, since: int, limit: int) -> Operation[Reading]:
    """Read what has happened after an instant, oldest first; of each sort at most `limit`."""
    instant = yield from now()
    params = {"namespace": namespace, "since": since, "limit": limit}
    horizons = [instant]
    changes = yield Query("changes_since", params)
    if len(changes) == limit:
        horizons.append(changes[-1][1] - 1)
    found = list(map(_change, changes))
    for name, lane in SORTS:
        rows = yield Query(name, {**params, **lane})
        runs = [FedRun._make(row) for row in rows]
        if len(runs) == limit:
            # More of the same instant may be left.
            horizons.append(_place(runs[-1], name) - 1)
        found += [one for run in runs for one in _of_run(run) if one.at > since]
    until = min(horizons)
    # What lies behind the horizon of one sort is left to the next reading of all, so that order is kept.
    happenings = {one.name: one for one in found if one.at <= until}
    return Reading(sorted(happenings.values(), key=lambda one: one.at), until, until < instant)


def _place(run: FedRun, name: str) -> int:
    at = run.finished_at if name in ENDS else run.started_at if name == "started_since" else run.queued_at
    return at or run.queued_at


def _change(row: Row) -> Happening:
    key, at, verb, id_, by = row
    document = {"schedule_id": id_, "by": by}
    return Happening(at, f"schedule.{verb}", id_, f"change/{key}", document)


def _of_run(run: FedRun) -> Iterator[Happening]:
    """Say what a run has been through: one that is over by now was queued and started before."""
    noun = "notification" if run.trigger_type == TriggerType.NOTIFICATION else "run"
    began = run.attempt > 0
    if began or run.finished_at is None:
        yield _step(run, noun, "queued", run.queued_at)
    if began and run.started_at is not None:
        yield _step(run, noun, "started", run.started_at)
    if run.finished_at is not None:
        yield _step(run, noun, "finished", run.finished_at)


def _step(run: FedRun, noun: str, verb: str, at: int) -> Happening:
    place = "route_id" if noun == "notification" else "schedule_id"
    document = {
        "run_id": run.id,
        place: run.schedule_id,
        "trigger_type": run.trigger_type,
        "nominal_time": rfc3339(run.nominal_at),
        "attempt": run.attempt if verb != "queued" else 0,
    }
    if verb == "finished":
        started = rfc3339_or_none(run.started_at)
        document |= {"state": run.state, "reason": run.reason, "error": run.error, "started_at": started}
    schedule_id = run.schedule_id if noun == "run" else None
    return Happening(at, f"{noun}.{verb}", schedule_id, f"{run.id}/{verb}/{at}", document)


@dataclass(frozen=True, slots=True)
class FeedStore:
    """What happens in one namespace."""

    runner: Runner
    namespace: NamespaceId

    async def read(self, since: int, limit: int) -> Reading:
        """Read what has happened after an instant, oldest first."""
        return await self.runner.read(read_feed(self.namespace, since, limit))
