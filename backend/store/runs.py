"""Transactions on the runs of one namespace."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from backend.errors import Conflict, NotFound
from backend.model.ids import uuid7
from backend.model.instants import rfc3339
from backend.model.plan import NewRun
from backend.model.run import FINAL_STATES, OPEN_STATES, AttemptState, RunState
from backend.model.schedule import Schedule
from backend.store.attempts import NewAttempt
from backend.store.audit_log import Entry, note
from backend.store.operation import Batch, Operation, Query, Row, now, think
from backend.store.planning import promote, settle_schedules, with_open_run
from backend.store.quotas import take_start
from backend.store.schedules import no_such_schedule

LAST_ID = "g"
"""Sorts after every run id."""
MILLISECOND = 1000
"""As far as the time in a run's id goes, in microseconds."""
CANCELLED = "cancelled on request"
CALLEE = "callback"
"""Stands where a worker's name stands: a callee has the lease, or ended the attempt."""


class RunRow(NamedTuple):
    """A run as it is stored. Instants in microseconds."""

    key: int
    id: str
    schedule_id: str
    namespace: str
    nominal_at: int
    backfill_id: str
    trigger_type: str
    state: str
    reason: str | None
    scheduled_at: int
    queued_at: int
    available_at: int
    started_at: int | None
    finished_at: int | None
    attempt: int
    losses: int
    attempt_started_at: int | None
    worker: str | None
    missed_count: int
    missed_first_at: int | None
    missed_last_at: int | None
    input: str | None
    revision: int
    error: str | None
    schedule_key: int
    lease_until: int | None

    @property
    def awaited_until(self) -> int | None:
        """Say until when the callee of a run, if it has the lease, may be silent."""
        return self.lease_until if self.state == RunState.RUNNING and self.worker == CALLEE else None


class AttemptRow(NamedTuple):
    """An ended attempt as it is stored."""

    run_key: int
    number: int
    state: str
    started_at: int
    finished_at: int
    worker: str
    error: str | None
    status_code: int | None
    output: str
    output_truncated: int


class RunRecord(NamedTuple):
    """A run with its ended attempts."""

    run: RunRow
    attempts: Sequence[AttemptRow]


class RunFilter(NamedTuple):
    """Which runs to list; None does not count. Nominal times from `from_at` (inclusive) to `to_at` (exclusive)."""

    schedule_id: str | None = None
    state: str | None = None
    from_at: int | None = None
    to_at: int | None = None


class Place(NamedTuple):
    """Where a page begins: after this run, in the order newest first."""

    nominal_at: int
    id: str


def list_runs(namespace: str, wanted: RunFilter, *, after: Place | None, limit: int) -> Operation[list[RunRecord]]:
    """Read one page of runs, newest nominal time first, with their attempts."""
    params: dict[str, Any] = {"state": wanted.state, "from": wanted.from_at, "to": wanted.to_at, "limit": limit}
    if wanted.schedule_id is not None:
        key = yield from _schedule_key(namespace, wanted.schedule_id)
        before_at = after.nominal_at if after else 2**62
        params |= {"schedule_key": key, "before_at": before_at, "before": after.id if after else LAST_ID}
        rows = yield Query(_LISTS_OF_SCHEDULE[_sort_of(wanted.state)], params)
    else:
        floor = uuid7(wanted.from_at, bytes(10)) if wanted.from_at is not None else ""
        ceiling = uuid7(wanted.to_at + MILLISECOND, bytes(10)) if wanted.to_at is not None else LAST_ID
        before = after.id if after else ceiling
        params |= {"namespace": namespace, "before": before, "floor": floor}
        rows = yield Query(_LISTS[_sort_of(wanted.state)], params)
    return (yield from with_attempts(rows, "attempts_in_brief"))


_LISTS = {"any": "list_runs", "open": "list_open_runs", "unsuccessful": "list_unsuccessful_runs"}
_LISTS_OF_SCHEDULE = {
    "any": "list_schedule_runs",
    "open": "list_open_schedule_runs",
    "unsuccessful": "list_unsuccessful_schedule_runs",
}


def _sort_of(state: str | None) -> str:
    """Tell which index finds runs in this state; most runs succeed, so that it takes none to find those."""
    if state is None or state == RunState.SUCCEEDED:
        return "any"
    return "open" if state in OPEN_STATES or state == RunState.BUFFERED else "unsuccessful"


def _schedule_key(namespace: str, id_: str) -> Operation[int]:
    """Find the schedule of an id; of deleted ones the newest, as its runs outlive it."""
    rows = yield Query("schedules_by_id", {"namespace": namespace, "ids": [id_]})
    rows = rows or (yield Query("deleted_schedule_by_id", {"namespace": namespace, "id": id_}))
    if not rows:
        raise no_such_schedule(id_)
    return int(rows[0][0])


def get_run(namespace: str, id_: str) -> Operation[RunRecord]:
    """Read one run; NotFound if there is none."""
    rows = yield Query("run_by_id", {"namespace": namespace, "id": id_})
    if not rows:
        raise NotFound(f"there is no run {id_!r} in this namespace")
    return (yield from with_attempts(rows, "attempts_of"))[0]


def with_attempts(rows: Sequence[Row], query: str) -> Operation[list[RunRecord]]:
    """Add their ended attempts to runs."""
    runs = [RunRow._make(row) for row in rows]
    attempts: dict[int, list[AttemptRow]] = {}
    for row in (yield Query(query, {"run_keys": [run.key for run in runs if run.attempt]})):
        attempts.setdefault(row[0], []).append(AttemptRow._make(row))
    return [RunRecord(run, attempts.get(run.key, ())) for run in runs]


def start_manual_run(namespace: str, schedule_id: str, make: Callable[[Schedule, int], NewRun]) -> Operation[RunRecord]:
    """Record the run that `make` builds from the schedule and the instant."""
    rows = yield Query("schedules_by_id", {"namespace": namespace, "ids": [schedule_id]})
    if not rows:
        raise no_such_schedule(schedule_id)
    instant = yield from now()
    yield from take_start(namespace, instant)
    run = make(with_open_run(rows[0])[0], instant)
    yield Batch("insert_runs", [run._asdict()])
    given = json.loads(run.input) if run.input else {}
    asked = {"schedule_id": schedule_id, "input": given}
    yield from note([Entry(namespace, "run", run.id, "triggered", None, asked)], instant)
    return (yield from get_run(namespace, run.id))


def retry_run(namespace: str, id_: str, make: Callable[[Schedule, RunRow, int], NewRun]) -> Operation[RunRecord]:
    """Record a new run with the nominal time of one that has ended; Conflict while that is open."""
    record = yield from get_run(namespace, id_)
    instant = yield from now()
    if record.run.state not in FINAL_STATES:
        raise Conflict(f"run {id_} is {record.run.state}; only a run that has ended can be retried")
    rows = yield Query("schedules_by_id", {"namespace": namespace, "ids": [record.run.schedule_id]})
    if not rows or rows[0][0] != record.run.schedule_key:
        raise Conflict(f"the schedule of run {id_} has been deleted")
    yield from take_start(namespace, instant)
    run = make(with_open_run(rows[0])[0], record.run, instant)
    yield Batch("insert_runs", [run._asdict()])
    asked = {"schedule_id": record.run.schedule_id, "retry_of": id_}
    yield from note([Entry(namespace, "run", run.id, "retried", None, asked)], instant)
    return (yield from get_run(namespace, run.id))


def start_backfill(
    namespace: str, schedule_id: str, make: Callable[[Schedule, int], Sequence[NewRun]]
) -> Operation[int]:
    """Record the runs that `make` builds from the schedule and the instant, and let the first of them begin."""
    rows = yield Query("schedules_by_id", {"namespace": namespace, "ids": [schedule_id]})
    if not rows:
        raise no_such_schedule(schedule_id)
    instant = yield from now()
    yield from think()
    runs = make(with_open_run(rows[0])[0], instant)
    made = yield Batch("insert_runs", [run._asdict() for run in runs])
    yield from note([_backfilled(namespace, schedule_id, runs)], instant)
    yield from promote([rows[0][0]], instant)
    return len(made)


def _backfilled(namespace: str, schedule_id: str, runs: Sequence[NewRun]) -> Entry:
    times = [run.nominal_at for run in runs]
    first, last = (rfc3339(min(times)), rfc3339(max(times))) if times else (None, None)
    asked = {"backfill_id": runs[0].backfill_id if runs else None, "runs": len(runs), "first": first, "last": last}
    return Entry(namespace, "schedule", schedule_id, "backfilled", None, asked)


def count_recorded(namespace: str, schedule_id: str, instants: Sequence[int]) -> Operation[int]:
    """Count how many of these occurrences became runs by themselves."""
    key = yield from _schedule_key(namespace, schedule_id)
    rows = yield Query("count_recorded", {"schedule_key": key, "instants": list(instants)})
    return int(rows[0][0])


def cancel_run(namespace: str, id_: str, by: str) -> Operation[RunRecord]:
    """End a run that has not ended. Whoever works on it loses the lease, and the right to record a result, at once."""
    record = yield from get_run(namespace, id_)
    instant = yield from now()
    error = f"{CANCELLED} by {by}"
    rows = yield Query("cancel_run", {"key": record.run.key, "now": instant, "error": error})
    if not rows:
        if record.run.state == RunState.CANCELLED:
            return record
        raise Conflict(f"run {id_} is {record.run.state} already; there is nothing to cancel")
    if record.run.state == RunState.RUNNING:
        yield Batch("insert_attempts", [_cancelled(record.run, instant, error)._asdict()])
    states = {"state": record.run.state}, {"state": RunState.CANCELLED.value}
    yield from note([Entry(namespace, "run", id_, "cancelled", *states, by)], instant)
    yield from settle_schedules([rows[0][1]], instant)
    return (yield from get_run(namespace, id_))


def _cancelled(run: RunRow, instant: int, error: str) -> NewAttempt:
    return NewAttempt(
        run.key,
        run.attempt,
        AttemptState.CANCELLED,
        started_at=run.attempt_started_at,
        finished_at=instant,
        worker=run.worker,
        error=error,
    )
