"""Transactions on runs that are open until their callee says what became of them.

While such a run is awaited, its lease is the callee's: the hash of the callback token is the lease's token, heartbeats
prolong it, and what completes the run names it. So every rule about leases holds, and no worker is needed meanwhile.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from typing import NamedTuple

from backend.errors import Conflict, RunIsOver, Unauthorized
from backend.model.attempt import AttemptResult, Settler
from backend.model.callback import Expectation
from backend.model.run import ClaimedRun, RunState
from backend.store.leasing import Finish, finish_attempts
from backend.store.operation import Batch, Operation, Query, Row, now, steady_now
from backend.store.runs import get_run

_RUN = len(ClaimedRun._fields)


class Awaited(NamedTuple):
    """A run that its callee may complete, and what it was to carry out. Instants in microseconds."""

    run: ClaimedRun
    state: str
    lease_token: str
    callback_hash: str | None
    until: int | None
    cancel_requested: int
    schedule_id: str = ""
    errand: str | None = None


class Heartbeat(NamedTuple):
    """Until when the callee may be silent, and whether it is to stop."""

    until: int
    cancelled: bool


class Owner(NamedTuple):
    """To which run a callback token belongs, if its hash is that of the latest attempt."""

    namespace: str
    run_id: str
    callback_hash: str | None


Word = Callable[[Awaited, int], AttemptResult]
"""(run, now) → how its attempt ended."""


def expect_callback(expected: Expectation) -> Operation[bool]:
    """Note the token that a callee will be told; False if the lease is lost.

    If we die after it, nobody has been told, and the next attempt has a token of its own.
    """
    return bool((yield Batch("expect_callbacks", [expected._asdict()])))


def owner_of(run_key: int) -> Operation[Owner | None]:
    """Find the run of a token."""
    rows = yield Query("run_of_callback", {"key": run_key})
    return Owner._make(rows[0]) if rows else None


def complete_run(namespace: str, id_: str, hash_: str | None, word: Word, settle: Settler) -> Operation[Finish]:
    """Write down what the callee says; RunIsOver unless the run is running.

    `hash_` is that of the token by which it comes in; None: by a key.
    """
    # Holds the schedule and the run: a worker that hands it over just now comes before, or after.
    awaited = yield from _awaited(namespace, id_, hash_)
    [informed] = yield from _informed([awaited])
    instant = yield from steady_now()
    return (yield from finish_attempts([word(informed, instant)], settle))


def note_heartbeat(namespace: str, id_: str, hash_: str | None) -> Operation[Heartbeat]:
    """Prolong the callee's lease; RunIsOver unless the run is running."""
    awaited = yield from _awaited(namespace, id_, hash_)
    instant = yield from steady_now()
    rows = yield Batch("prolong_callback", [{"key": awaited.run.key, "now": instant}])
    until = rows[0][0] if rows else awaited.until  # the worker has not handed it over yet
    return Heartbeat(int(until or instant), bool(awaited.cancel_requested))


def end_silent(word: Word, settle: Settler, limit: int) -> Operation[Finish]:
    """End the attempts whose callees have been silent for too long."""
    instant = yield from now()
    rows = yield Query("silent_callees", {"now": instant, "limit": limit})
    informed = yield from _informed([_read(row) for row in rows])
    if not informed:
        return Finish((), (), ())
    return (yield from finish_attempts([word(awaited, instant) for awaited in informed], settle))


def forgive_silence() -> Operation[None]:
    """Count the silence of all callees from now on: while no server was up, nobody could hear them."""
    yield Query("forgive_silence", {"now": (yield from now())})


def _read(row: Row) -> Awaited:
    return Awaited(ClaimedRun._make(row[:_RUN]), *row[_RUN:])


def _awaited(namespace: str, id_: str, hash_: str | None) -> Operation[Awaited]:
    yield from get_run(namespace, id_)
    [row] = yield Query("awaited_run", {"namespace": namespace, "id": id_})
    awaited = _read(row)
    if hash_ is not None and not hmac.compare_digest(hash_, awaited.callback_hash or ""):
        raise Unauthorized("the callback token is not that of the run's latest attempt")
    if awaited.state != RunState.RUNNING:
        raise RunIsOver(id_, awaited.state)
    if awaited.callback_hash is None:
        raise Conflict(f"run {id_} waits for no callback; it ends when its target has answered")
    return awaited


def _informed(awaited: Sequence[Awaited]) -> Operation[list[Awaited]]:
    keys = sorted({one.run.schedule_key for one in awaited})
    rows = (yield Query("errands_of", {"schedule_keys": keys})) if keys else []
    errands = {row[0]: (row[1], row[2]) for row in rows}
    return [
        one._replace(schedule_id=errands[one.run.schedule_key][0], errand=errands[one.run.schedule_key][1])
        for one in awaited
    ]
