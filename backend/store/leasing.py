"""The workers' transactions: lease runs, keep the leases, write results back under them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

from backend.model.attempt import AttemptResult, Settled, Settler
from backend.model.instants import MINUTE, SECOND, micros
from backend.model.policies import Reason
from backend.model.run import FINAL_STATES, AttemptState, ClaimedRun, RunState, TriggerType
from backend.store.attempts import NewAttempt
from backend.store.audit_log import Entry, note
from backend.store.endings import Finished, facts_of, pause_fact
from backend.store.notices import notify, route_errands
from backend.store.operation import Batch, Operation, Query, Row, now, steady_now
from backend.store.planning import drop_waiting, settle_schedules
from backend.store.quotas import rooms_at_work
from backend.store.secrets import Sealed, secrets_for
from backend.store.turns import last_served, share_of
from backend.store.workers import Presence, see

STREAK_SPAN = 60 * MINUTE
"""Failures that are not permanent pause a schedule only if they span at least this long."""


UNCOUNTED = frozenset({TriggerType.BACKFILL, TriggerType.NOTIFICATION})
"""Runs that say nothing of how a schedule fares."""


class Served(NamedTuple):
    """The namespace that each lane served last; after it comes the next one's turn."""

    live: str = ""
    backfill: str = ""
    notices: str = ""


class Lessee(NamedTuple):
    """Who claims, under which token, for how long, and who had the last turn with it."""

    worker: str
    token: str
    lease: timedelta
    served: Served = Served()
    kinds: Sequence[str] | None = None
    """The kinds of target that it may perform; None: all."""


class Claim(NamedTuple):
    """Runs under lease, and when the next waiting one may be claimed."""

    now: int
    runs: Sequence[ClaimedRun]
    errands: dict[int, tuple[str, str | None]]
    """Schedule key → public id, and what to carry out as JSON; None where the definition cannot be read."""
    next_at: int | None
    served: Served = Served()
    secrets: Sealed = MappingProxyType({})
    """What the errands refer to, encrypted, by namespace and name."""
    egress: Mapping[str, str | None] = MappingProxyType({})
    """Which hosts may be called, by namespace, as it is stored."""


LIVE, BACKFILL, NOTICES = 0, 1, 2
"""Lanes: runs of the second are claimed where the first leaves room; no limit of runs at work holds up the third."""
LANES = (LIVE, BACKFILL, NOTICES)
NOTICES_GET = 4
"""One place in so many is for notifications first."""


def claim_runs(lessee: Lessee, limit: int, backfills: int | None = None) -> Operation[Claim]:
    """Lease up to `limit` runs that wait; after the live ones those of backfills, up to `backfills`.

    Of each namespace as many as of any other, in turn, so that none waits for another's; within one, oldest first.
    The commit records that an attempt has begun. If we die after it, nobody knows whether the target has run: the
    lease expires, and the run is taken over, or ends as lost if it may be sent only once.
    """
    instant = yield from now()
    kinds = (yield from waiting_kinds()) if lessee.kinds is None else lessee.kinds
    lessee = lessee._replace(kinds=kinds)
    lanes = (LIVE, NOTICES) if backfills == 0 else LANES
    next_at = yield from _next_at(lanes, kinds, instant)
    if next_at is None or next_at > instant:
        return Claim(instant, [], {}, next_at, lessee.served)
    # Of less than four places, the one is for notifications in one of four milliseconds.
    share = limit // NOTICES_GET or int(limit > 0 and instant // 1000 % NOTICES_GET == 0)
    in_turn = [(LIVE, limit), (BACKFILL, limit if backfills is None else backfills), (NOTICES, limit)]
    runs: list[ClaimedRun] = []
    served, idle = list(lessee.served), True
    had_all: set[int] = set()
    for lane, most in [(NOTICES, share), *in_turn] if share else in_turn:
        asked = 0 if lane in had_all else min(most, limit - len(runs))
        found, served[lane] = yield from _lease(lessee._replace(served=Served(*served)), instant, lane, asked)
        idle = idle and found is None
        runs += found or ()
        if len(found or ()) < asked:
            had_all.add(lane)
    keys = sorted({run.schedule_key for run in runs})
    errands = (yield Query("errands_of", {"schedule_keys": keys})) if keys else []
    errands += yield from route_errands(keys)
    next_at = yield from _next_at(lanes, kinds, instant)
    if idle and next_at is not None and next_at <= instant:
        # What waits is held by a limit: whoever ends a run there looks again, and everybody does from time to time.
        next_at = instant + SECOND
    # In this transaction, so that a secret is never older than the claim; read anew with each, and never kept.
    sealed = yield from secrets_for((row[3], row[2]) for row in errands)
    egress = {row[3]: row[4] for row in errands}
    named = {row[0]: (row[1], row[2]) for row in errands}
    return Claim(instant, runs, named, next_at, Served(*served), sealed, egress)


def claim_orphans(lessee: Lessee, others: Collection[str], limit: int) -> Operation[Claim]:
    """Lease runs of kinds that neither this worker nor one of `others` may perform: they shall not wait unheard."""
    kinds = yield from waiting_kinds()
    orphans = [kind for kind in kinds if kind not in others and kind not in (lessee.kinds or ())]
    return (yield from claim_runs(lessee._replace(kinds=orphans), limit if orphans else 0))


def waiting_kinds() -> Operation[list[str]]:
    """Name the kinds of target that runs wait for."""
    found: set[str] = set()
    for lane in LANES:
        found |= {row[0] for row in (yield Query("waiting_kinds", {"lane": lane}))}
    return sorted(found)


def _lease(lessee: Lessee, instant: int, lane: int, limit: int) -> Operation[tuple[list[ClaimedRun] | None, str]]:
    """Lease of one lane; None instead of runs if there is nothing to claim, [] if others are at it just now."""
    after = lessee.served[lane]
    if limit <= 0:
        return None, after
    kinds = list(lessee.kinds or ())
    turns = {"now": instant, "lane": lane, "after": after, "limit": limit, "kinds": kinds}
    waiting = yield Query("waiting_namespaces", turns)
    if not waiting:
        return None, after
    rooms = yield from rooms_at_work({row[0]: row[1] for row in waiting if row[1] is not None})
    # Not even looked at: a look would hold what somebody else claims just now.
    namespaces = [row[0] for row in waiting if rooms.get(row[0], 1) > 0]
    if not namespaces:
        return [], after
    share = share_of(limit, len(namespaces))
    params = {
        "now": instant,
        "until": instant + micros(lessee.lease),
        "token": lessee.token,
        "worker": lessee.worker,
        "lane": lane,
        "kinds": kinds,
        "limit": limit,
        "namespaces": namespaces,
        "share": share,
        "rooms": [rooms.get(name, share) for name in namespaces] if rooms else None,
    }
    runs = [ClaimedRun._make(row) for row in (yield Query("claim_runs", params))]
    return runs, last_served([run.namespace for run in runs], namespaces) or after


def _next_at(lanes: Sequence[int], kinds: Sequence[str], instant: int) -> Operation[int | None]:
    rows = yield Query("next_available", {"lanes": list(lanes), "now": instant, "kinds": list(kinds)})
    return None if rows[0][0] is None else int(rows[0][0])


class Extended(NamedTuple):
    """The keys of runs whose leases are still ours, and of those among them that are to be stopped."""

    held: set[int]
    to_stop: set[int]


def extend_leases(
    held: Sequence[tuple[int, str]], lease: timedelta, presence: Presence | None = None
) -> Operation[Extended]:
    """Prolong (run key, token) leases; answers what is still ours. Notes with it that the worker is there."""
    instant = yield from steady_now()
    until = instant + micros(lease)
    rows = yield Batch("extend_leases", [{"key": key, "token": token, "until": until} for key, token in held])
    if presence is not None:
        yield see(presence, instant)
    return Extended({row[0] for row in rows}, {row[0] for row in rows if row[1]})


class Finish(NamedTuple):
    """What a batch of results did."""

    finished: Sequence[Finished]
    paused: Sequence[tuple[str, str, str]]
    """(namespace, id, note) of schedules that paused themselves."""
    completed: Sequence[tuple[str, str]]


def finish_attempts(results: Sequence[AttemptResult], settle: Settler) -> Operation[Finish]:
    """Write results back; one whose lease has passed to somebody else changes nothing.

    If we die before the commit, the target has run, and once the lease expires it is asked again with the same key
    (or, if it may be asked only once, the run ends as lost).
    """
    # Of two runs of a schedule that end at once, one has to be the last: it queues what waits.
    expected = yield Query("hold_schedules", {"schedule_keys": sorted({result.run.schedule_key for result in results})})
    instant = yield from steady_now()
    settled = [settle(result.ended, result.limits, instant) for result in results]
    pairs = list(zip(results, settled, strict=True))
    rows = yield Batch("hand_over_runs", [_handed_over(r, instant) for r, s in pairs if s.state is RunState.RUNNING])
    rows += yield Batch("finish_runs", [_run_row(r, s, instant) for r, s in pairs if s.state is not RunState.RUNNING])
    # By attempt, not by run: one batch may bring a lost attempt's result beside that of the attempt that followed it.
    states = {(row[0], row[1]): RunState(row[2]) for row in rows}
    finished = [_finished(r, s, states, instant) for r, s in pairs]
    accepted = [f for f in finished if f.accepted and f.settled.state is not RunState.RUNNING]
    yield Batch("insert_attempts", [_attempt(f.result, instant)._asdict() for f in accepted if begun(f)])
    waiting = {f.result.run.schedule_key for f in accepted if f.settled.state not in FINAL_STATES}
    dropped = yield from drop_waiting(waiting, instant)
    finished = [_dropped(f) if f.accepted and f.result.run.key in dropped else f for f in finished]
    counted = [f for f in accepted if f.result.run.trigger_type not in UNCOUNTED]
    paused, streaks = yield from _count_streaks(counted, instant)
    facts = list(facts_of(counted, streaks, {row[0] for row in expected}, instant))
    yield from notify([*facts, *(pause_fact(row[3], row[2], instant) for row in paused)], instant)
    over = {f.result.run.schedule_key for f in accepted if f.settled.state in FINAL_STATES}
    completed = yield from settle_schedules(over, instant)
    return Finish(finished, [(row[0], row[1], row[2]) for row in paused], completed)


def begun(finished: Finished) -> bool:
    """Say whether the target was asked, or may have been."""
    return finished.result.ended.declined is None


def _finished(
    result: AttemptResult, settled: Settled, states: Mapping[tuple[int, int], RunState], instant: int
) -> Finished:
    # Where the run was asked to stop, the database says what became of it.
    state = states.get((result.run.key, result.run.attempt))
    return Finished(result, settled._replace(state=state or settled.state), state is not None, instant)


def _run_row(result: AttemptResult, settled: Settled, instant: int) -> dict[str, Any]:
    return {
        "now": instant,
        "key": result.run.key,
        "token": result.token,
        "state": settled.state,
        "reason": settled.reason,
        "error": result.error,
        "finished_at": settled.finished_at,
        "available_at": settled.available_at,
        "released": int(result.ended.state is AttemptState.RELEASED and result.ended.declined is None),
        "declined": int(result.ended.declined is not None),
        "unable_since_at": settled.unable_since_at,
        "ability": result.ended.declined and result.ended.declined.ability,
    }


def _handed_over(result: AttemptResult, instant: int) -> dict[str, Any]:
    """Leave the lease to the callee, who was told the token; from now on no worker is needed."""
    return {"now": instant, "key": result.run.key, "token": result.token}


def _dropped(finished: Finished) -> Finished:
    """Say that the run, which was to wait for another attempt, is over with its schedule."""
    settled = Settled(RunState.SKIPPED, Reason.DELETED, finished.at, finished.at)
    return finished._replace(settled=settled)


def _attempt(result: AttemptResult, instant: int) -> NewAttempt:
    return NewAttempt(
        result.run.key,
        result.run.attempt,
        result.ended.state,
        started_at=result.run.started_at,
        finished_at=instant,
        worker=result.worker,
        error=result.error,
        status_code=result.status_code,
        output=result.output,
        output_truncated=result.output_truncated,
    )


def _count_streaks(counted: Sequence[Finished], instant: int) -> Operation[tuple[list[Row], dict[int, int]]]:
    """Count failed runs in a row, and pause the schedules for which they are too many.

    Answers (namespace, id, note, key) of these, and how many failed in a row by schedule key.
    """
    streaks = _fold(counted)
    if ended := sorted(key for key, streak in streaks.items() if not streak.failures):
        yield Query("end_streaks", {"schedule_keys": ended})
    failures = [streak.row(key, instant) for key, streak in streaks.items() if streak.failures]
    if not failures:
        return [], {}
    lengths = yield Batch("lengthen_streaks", failures)
    rows = yield Query("pause_failing", {"failures": failures, "now": instant, "streak_span": STREAK_SPAN})
    if rows:
        yield Query("insert_pause_revisions", {"schedule_keys": [row[3] for row in rows], "now": instant})
        yield from note([_auto_paused(*row[:3]) for row in rows], instant)
    return rows, {row[0]: row[1] for row in lengths}


def _auto_paused(namespace: str, id_: str, text: str) -> Entry:
    return Entry(namespace, "schedule", id_, "paused", {"state": "active"}, {"state": "paused", "note": text})


@dataclass(slots=True)
class _Streak:
    """What one batch adds to a schedule's failures in a row; a success in it ends what was before."""

    failures: int = 0
    permanent: int = 0
    after_success: bool = False
    error: str = ""

    def fail(self, error: str, *, permanent: bool) -> None:
        self.failures += 1
        self.permanent = self.permanent + 1 if permanent else 0
        self.error = error

    def row(self, schedule_key: int, instant: int) -> dict[str, Any]:
        return {
            "schedule_key": schedule_key,
            "failures": self.failures,
            "permanent": self.permanent,
            "all_permanent": self.permanent == self.failures,
            "after_success": self.after_success,
            "error": self.error,
            "now": instant,
        }


def _tells_of_target(f: Finished) -> bool:
    failed = f.settled.state in {RunState.FAILED, RunState.TIMED_OUT}
    return failed and begun(f) and f.settled.reason is not Reason.LOST


def _fold(accepted: Sequence[Finished]) -> dict[int, _Streak]:
    """Fold the ended runs of each schedule in the order of the batch.

    A lost one says nothing about the target, and one that no worker may do something about the workers.
    """
    streaks: dict[int, _Streak] = {}
    for f in accepted:
        key = f.result.run.schedule_key
        if f.settled.state is RunState.SUCCEEDED:
            streaks[key] = _Streak(after_success=True)
        elif _tells_of_target(f):
            error = (f.result.error or "")[:300] or "no error text"
            streaks.setdefault(key, _Streak()).fail(error, permanent=f.result.ended.permanent)
    return streaks
