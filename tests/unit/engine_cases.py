"""Schedules to plan, and a ledger that adds up what planning wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backend.engine.definition import ScheduleDefinition
from backend.engine.errand import Errand
from backend.engine.plan import plan
from backend.model.change import Moment
from backend.model.instants import SECOND, parse_instant
from backend.model.plan import NewRun, Planned
from backend.model.run import FINAL_STATES, OPEN_STATES, RunState
from backend.model.schedule import Schedule
from backend.service.drafts import Draft, revise

STORE = "store-1"
T0 = parse_instant("2026-03-02T09:00:00Z")
"""A Monday morning, at which the schedules of these tests are made."""
TARGET = {"kind": "http", "url": "https://example.org/hook"}
MINUTELY = {"kind": "interval", "every": "1m"}
SECONDLY = {"kind": "interval", "every": "1s"}


def at(text: str) -> int:
    return parse_instant(f"2026-03-02T{text}Z")


def moment(now: int) -> Moment:
    return Moment(now, STORE)


def definition(triggers: Sequence[Mapping[str, Any]] = (MINUTELY,), **fields: Any) -> ScheduleDefinition:
    document = {"id": "digest", "triggers": [dict(t) for t in triggers], "target": TARGET}
    return ScheduleDefinition.model_validate(document | fields)


def errand(**fields: Any) -> Errand:
    wanted = definition(**fields)
    return Errand(wanted.target, wanted.input, wanted.timeout, wanted.retry, wanted.delivery)


def made(
    triggers: Sequence[Mapping[str, Any]] = (MINUTELY,),
    *,
    now: int = T0,
    changes: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Schedule:
    """Create a schedule as a person would, at `now`; then set columns as `changes` says."""
    change = revise(Draft(definition(triggers, **fields), "tester"), None, moment(now), open_run=False)
    return change.schedule._replace(**({"key": 7} | dict(changes or {})))


@dataclass
class Ledger:
    """What plans have written: rows by nominal time, ranges extended; the unique key is checked."""

    rows: dict[int, NewRun] = field(default_factory=dict)

    def write(self, planned: Planned) -> Schedule:
        for run in planned.runs:
            assert run.nominal_at not in self.rows, "an occurrence was recorded twice"
            self.rows[run.nominal_at] = run
        if planned.extension:
            _, nominal_at, added, last_at = planned.extension
            row = self.rows[nominal_at]
            self.rows[nominal_at] = row._replace(missed_count=row.missed_count + added, missed_last_at=last_at)
        return planned.schedule

    def turn(self, schedule: Schedule, now: int, *, open_run: bool | None = None) -> Schedule:
        """Plan once; without a word about open runs, the ledger's own decide."""
        busy = any(run.state in OPEN_STATES for run in self.rows.values()) if open_run is None else open_run
        waiting = sum(run.state == RunState.BUFFERED for run in self.rows.values())
        return self.write(plan(schedule, now, STORE, open_run=busy, buffered=waiting if open_run is None else 0))

    def until(self, schedule: Schedule, now: int, *, open_run: bool | None = None) -> Schedule:
        """Plan as often as it takes to reach `now`; answers the schedule."""
        while schedule.next_nominal_at is not None and schedule.next_nominal_at <= now:
            before = schedule.cursor_at
            schedule = self.turn(schedule, now, open_run=open_run)
            assert schedule.cursor_at > before, "planning stands still"
        return schedule

    @property
    def accepted(self) -> list[NewRun]:
        return [run for run in self.rows.values() if run.state not in FINAL_STATES]

    @property
    def dropped(self) -> dict[str, int]:
        """How many occurrences did not run, by reason."""
        counts: dict[str, int] = {}
        for run in self.rows.values():
            if run.state in FINAL_STATES:
                counts[str(run.reason)] = counts.get(str(run.reason), 0) + max(run.missed_count, 1)
        return counts

    def covered(self, due: Sequence[int]) -> list[int]:
        """Name every instant that a row stands for; a range row must count what lies in its range."""
        found: list[int] = []
        for run in self.rows.values():
            if run.state not in FINAL_STATES or not run.missed_count:
                found.append(run.nominal_at)
                continue
            assert run.missed_first_at == run.nominal_at
            assert run.missed_last_at is not None
            inside = [i for i in due if run.nominal_at <= i <= run.missed_last_at]
            assert len(inside) == run.missed_count
            found += inside
        return sorted(found)


def seconds(*numbers: float) -> list[int]:
    return [T0 + int(number * SECOND) for number in numbers]
