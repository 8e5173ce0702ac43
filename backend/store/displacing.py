"""Open runs make room for a newer occurrence of their schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backend.model.plan import Displacement, Planned, Stop
from backend.model.run import AttemptState
from backend.store.operation import Batch, Operation, Query

ERROR = "cancelled for a later occurrence (overlap_policy: {policy})"
_POLICIES = {Stop.ASK: "cancel_other", Stop.REVOKE: "terminate_other"}


def displace(planned: Sequence[Planned], instant: int) -> Operation[int]:
    """Stop what newer occurrences displace, before those are recorded; answers how many displaced anything.

    A plan made from a stale copy displaces nothing that came of it: it names what it makes room for.
    """
    wanted = [one.displaces for one in planned if one.displaces is not None]
    if not wanted:
        return 0
    rows = [_row(displacement, instant) for displacement in wanted]
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
    return len(wanted)


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
