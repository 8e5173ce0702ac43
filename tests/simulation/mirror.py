"""What each commit changed: runs and schedules as they were and as they are, told by SQLite row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import apsw

from backend.model.run import FINAL_STATES

WORKING = frozenset({"queued", "running", "retrying"})
WAITING = frozenset({"held", "buffered"})


class RunNow(NamedTuple):
    """A run as committed."""

    key: int
    id: str
    schedule_key: int
    nominal_at: int
    backfill_id: str
    trigger_type: str
    state: str
    reason: str | None
    lane: int
    attempt: int
    losses: int
    released: int
    lease_token: str | None
    lease_until: int | None
    delivery: str | None
    queued_at: int
    chained: int


class ScheduleNow(NamedTuple):
    """A schedule as committed."""

    key: int
    id: str
    state: str
    cursor_at: int
    next_nominal_at: int | None
    overlap_policy: str
    failure_streak: int
    runs_made: int
    max_runs: int | None
    created_at: int
    deleted_at: int | None
    triggers: str
    jitter: int
    most_attempts: int


class Commit(NamedTuple):
    """One transaction: each run and schedule that it touched, before (None: new) and after (None: deleted)."""

    runs: Sequence[tuple[RunNow | None, RunNow | None]]
    schedules: Sequence[tuple[ScheduleNow | None, ScheduleNow | None]]
    verbs: dict[int, list[str]]
    """Schedule key → what was done to it, as its revisions say; `redefined` beside `updated` with a new definition."""
    now: int
    results: Sequence[tuple[int, str]]
    """(run key, token) that a worker wrote back, accepted or not."""


_RUNS = """select key, id, schedule_key, nominal_at, backfill_id, trigger_type, state, reason, lane, attempt, losses,
released, lease_token, lease_until, delivery, queued_at, chained from runs where key = ?"""
_SCHEDULES = """select key, id, state, cursor_at, next_nominal_at, overlap_policy, failure_streak, runs_made, max_runs,
created_at, deleted_at, triggers, jitter, json_extract(definition, '$.definition.retry.max_attempts') from schedules
where key = ?"""
_REVISIONS = """select schedule_key, verb, definition is not null and changed_by not like 'calendar:%'
from schedule_revisions where key = ?"""


class Mirror:
    """Keeps what is committed beside the database, to compare each commit with what was before."""

    def __init__(self, raw: apsw.Connection) -> None:
        self._raw = raw
        self.runs: dict[int, RunNow] = {}
        self.schedules: dict[int, ScheduleNow] = {}
        self.open: dict[int, dict[int, RunNow]] = {}
        """Schedule key → its runs that have not ended, by key, in the order in which they became open."""
        self._touched: dict[str, dict[int, None]] = {"runs": {}, "schedules": {}, "schedule_revisions": {}}

    def changed(self, kind: int, database: str, table: str, rowid: int) -> None:
        """Hear of a row from SQLite; later ones last."""
        touched = self._touched.get(table)
        if touched is not None:
            touched.pop(rowid, None)
            touched[rowid] = None

    def forget(self) -> None:
        """The transaction was undone."""
        for touched in self._touched.values():
            touched.clear()

    def commit(self, now: int, results: Sequence[tuple[int, str]]) -> Commit | None:
        """Take over what the transaction has changed; None when that is nothing, nor should it have been."""
        touched = self._touched
        if not (touched["runs"] or touched["schedules"] or results):
            self.forget()
            return None
        verbs: dict[int, list[str]] = {}
        for key in touched["schedule_revisions"]:
            for schedule_key, verb, defined in self._raw.execute(_REVISIONS, (key,)):
                verbs.setdefault(int(schedule_key), []).append(str(verb))
                if verb == "updated" and defined:
                    verbs[int(schedule_key)].append("redefined")
        schedules = [self._schedule(key) for key in touched["schedules"]]
        runs = [pair for key in touched["runs"] if any(pair := self._run(key))]
        self.forget()
        return Commit(runs, schedules, verbs, now, results)

    def _schedule(self, key: int) -> tuple[ScheduleNow | None, ScheduleNow | None]:
        before = self.schedules.get(key)
        row: Any = self._raw.execute(_SCHEDULES, (key,)).fetchone()
        if row is None:
            self.schedules.pop(key, None)
            return before, None
        after = self.schedules[key] = ScheduleNow._make(row)
        return before, after

    def _run(self, key: int) -> tuple[RunNow | None, RunNow | None]:
        before = self.runs.get(key)
        row: Any = self._raw.execute(_RUNS, (key,)).fetchone()
        if row is None:
            self.runs.pop(key, None)
            return before, None
        after = self.runs[key] = RunNow._make(row)
        if after.state in FINAL_STATES:
            self.open.get(after.schedule_key, {}).pop(key, None)
        else:
            self.open.setdefault(after.schedule_key, {})[key] = after
        return before, after

    def ask(self, statement: str, *params: object) -> list[tuple[Any, ...]]:
        """Ask the database itself."""
        return list(self._raw.execute(statement, params))

    def open_of(self, schedule_key: int, lane: int = 0) -> list[RunNow]:
        """The runs of a schedule that have not ended."""
        return [run for run in self.open.get(schedule_key, {}).values() if run.lane == lane]
