"""Open runs make room for a newer occurrence of their schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backend.model.plan import Displacement, Planned, Stop
from backend.model.run import AttemptState
from backend.store.operation import Batch, Operation, Query, Row

ERROR = "cancelled for a later occurrence (overlap_policy: {policy})"
_POLICIES = {Stop.ASK: "cancel_other", Stop.REVOKE: "terminate_other"}


def displace(planned: Sequence[Planned], instant: int) -> Operation[list[Planned]]:
    """Stop what newer occurrences displace, before those are recorded; answers the plans as they are to be written.

    A plan made from a stale copy displaces nothing that came of it: it names what it makes room for.
    """
    wanted = [one.displaces for one in planned if one.displaces is not None]
    if not wanted:
        return list(planned)
    rows = [_row(displacement, instant) for displacement in wanted]
    yield Batch("hold_open_runs", [_only(row, "schedule_key") for row in rows])
    carried: dict[int, Row] = {}
    for row in rows:
        [carried[row["schedule_key"]]] = yield Query("unreported", _only(row, "schedule_key", "nominal_at"))
    yield Batch("skip_buffered", [_only(row, "schedule_key", "nominal_at", "now") for row in rows])
    yield Batch("cancel_waiting", rows)
    asked = [d for d in wanted if d.how is Stop.ASK]
    yield Batch("ask_to_stop", [{"schedule_key": d.schedule_key, "nominal_at": d.nominal_at} for d in asked])
    for row in (_row(d, instant) for d in wanted if d.how is Stop.REVOKE):
        # If we died between the two, neither would have happened: it is one transaction.
        at_work = yield Query("attempts_at_work", _only(row, "schedule_key", "nominal_at"))
        attempts = [
            cancelled_attempt(run_key, number, started_at, worker, instant, row["error"])
            for run_key, number, started_at, worker in at_work
        ]
        yield Batch("insert_attempts", attempts)
        yield Query("revoke_running", row)
    return [one if one.displaces is None else _reporting(one, *carried[one.displaces.schedule_key]) for one in planned]


def _reporting(planned: Planned, number: int, first_at: int | None, last_at: int | None) -> Planned:
    """Let the newest occurrence report also what those were to report that will never begin."""
    if not number or planned.displaces is None:
        return planned
    newest_at = planned.displaces.nominal_at
    return planned._replace(
        runs=[
            run._replace(
                missed_count=number + run.missed_count,
                missed_first_at=first_at,
                missed_last_at=run.missed_last_at or last_at,
            )
            if run.nominal_at == newest_at
            else run
            for run in planned.runs
        ]
    )


def _row(displacement: Displacement, instant: int) -> dict[str, Any]:
    return {
        "schedule_key": displacement.schedule_key,
        "nominal_at": displacement.nominal_at,
        "now": instant,
        "error": ERROR.format(policy=_POLICIES[displacement.how]),
    }


def _only(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names}


def cancelled_attempt(  # noqa: PLR0917 - the columns of an attempt
    run_key: int, number: int, started_at: int | None, worker: str | None, instant: int, error: str
) -> dict[str, Any]:
    """Record an attempt whose lease has been revoked."""
    return {
        "run_key": run_key,
        "number": number,
        "state": AttemptState.CANCELLED,
        "started_at": started_at,
        "finished_at": instant,
        "worker": worker,
        "error": error,
        "status_code": None,
        "output": "",
        "output_truncated": 0,
    }
