"""What namespaces may use at most, decided in the transaction that would use it: no race gets past a limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from backend.errors import OverLimit
from backend.model.change import Change
from backend.model.instants import MINUTE, SECOND
from backend.model.limits import NO_LIMITS, NamespaceLimits
from backend.model.plan import Planned, Standing
from backend.model.run import FINAL_STATES
from backend.store.operation import Batch, Operation, Query

SOME_TIME = 60
"""Seconds after which it may be worth asking again for what frees itself when somebody gives something up."""


@lru_cache(maxsize=256)
def read_limits(text: str) -> NamespaceLimits:
    """Read the limits of a namespace as they are stored."""
    return NO_LIMITS if text == "{}" else NamespaceLimits.model_validate_json(text)


def limits_of(namespaces: Iterable[str]) -> Operation[dict[str, NamespaceLimits]]:
    """Read the limits of these namespaces; those without any are left out."""
    rows = yield Query("limits_of", {"namespaces": sorted(set(namespaces))})
    return {row[0]: read_limits(row[1]) for row in rows}


def check_schedules(namespace: str, limits: NamespaceLimits, changes: Sequence[Change]) -> Operation[None]:
    """Raise OverLimit if the changes, of which none is written yet, make more schedules than there may be.

    Whoever changes schedules holds the namespace: nobody else makes any meanwhile.
    """
    made = [change for change in changes if change.verb == "created"]
    if limits.schedules is not None and made:
        used = int((yield Query("count_schedules_of_namespace", {"namespace": namespace}))[0][0])
        gone = sum(change.verb == "deleted" for change in changes)
        wanted = len(made) - gone
        if used + wanted > limits.schedules:
            raise OverLimit(namespace, "schedules", limits.schedules, used, SOME_TIME, wanted=f"{wanted} more")
    if limits.schedules_per_owner is not None:
        yield from _check_owners(namespace, limits.schedules_per_owner, changes)


def _check_owners(namespace: str, limit: int, changes: Sequence[Change]) -> Operation[None]:
    gaining = Counter(str(change.schedule.owner) for change in changes if change.gains_owner)
    if not gaining:
        return
    for owner, used in (yield Query("count_schedules_of_owners", {"namespace": namespace, "owners": sorted(gaining)})):
        if used + gaining[owner] > limit:
            wanted = f"{gaining[owner]} more of the owner {owner!r}"
            raise OverLimit(namespace, "schedules_per_owner", limit, used, SOME_TIME, wanted=wanted)


def take_start(namespace: str, instant: int) -> Operation[None]:
    """Count a run that a person starts; OverLimit when this minute has had as many as it may."""
    limits = (yield from limits_of([namespace])).get(namespace, NO_LIMITS)
    if limits.starts_per_minute is None:
        return
    used = (yield from _started([namespace], instant)).get(namespace, 0)
    if used >= limits.starts_per_minute:
        wait = -(-(MINUTE - instant % MINUTE) // SECOND)
        raise OverLimit(namespace, "starts_per_minute", limits.starts_per_minute, used, wait)
    yield from _note_starts({namespace: used + 1}, instant)


class Starts(NamedTuple):
    """What the namespaces with such a limit may start in this minute, and have started."""

    limits: Mapping[str, int]
    used: Mapping[str, int]

    def standing(self, one: Standing) -> Standing:
        """Say how many runs of a schedule may be started."""
        limit = self.limits.get(one.schedule.namespace)
        room = None if limit is None else max(limit - self.used.get(one.schedule.namespace, 0), 0)
        return one._replace(room=room)


def hold_starts(standings: Sequence[Standing], instant: int) -> Operation[Starts]:
    """Read what the schedules' namespaces may start; nobody else starts anything there until the transaction ends."""
    found = yield from limits_of(one.schedule.namespace for one in standings)
    limits = {name: one.starts_per_minute for name, one in found.items() if one.starts_per_minute is not None}
    return Starts(limits, (yield from _started(sorted(limits), instant)) if limits else {})


def note_planned(starts: Starts, planned: Sequence[Planned], instant: int) -> Operation[None]:
    """Count the runs that planning starts."""
    made = Counter(
        run.namespace
        for one in planned
        for run in one.runs
        if run.state not in FINAL_STATES and run.namespace in starts.limits
    )
    if made:
        yield from _note_starts({name: starts.used.get(name, 0) + number for name, number in made.items()}, instant)


def _started(namespaces: Sequence[str], instant: int) -> Operation[dict[str, int]]:
    rows = yield Query("hold_use", {"namespaces": list(namespaces)})
    return {row[0]: row[2] for row in rows if row[1] == instant // MINUTE}


def _note_starts(starts: Mapping[str, int], instant: int) -> Operation[None]:
    minute = instant // MINUTE
    yield Batch("note_starts", [{"namespace": n, "minute": minute, "starts": s} for n, s in sorted(starts.items())])


def rooms_at_work(limits: Mapping[str, int]) -> Operation[dict[str, int]]:
    """Say how many more runs of these namespaces may be at work; 0 where somebody else decides just now.

    Counted once the right to decide is held: two who claim at once do not both take the last place.
    """
    if not limits:
        return {}
    free = [row[0] for row in (yield Query("hold_use_if_free", {"namespaces": sorted(limits)}))]
    counted = (yield Query("count_running", {"namespaces": free})) if free else []
    return dict.fromkeys(limits, 0) | {name: max(limits[name] - at_work, 0) for name, at_work in counted}
