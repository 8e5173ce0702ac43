"""Creates that come in at the same time, in one transaction: no more statements for fifty than for one.

Each is its own: none is written, refused or undone on another's account. What anything stands against is left, for its
caller to try by itself and to hear what it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from typing import NamedTuple

from backend.errors import OverLimit, SchedulerError
from backend.model.change import Change, Moment
from backend.model.ids import NamespaceId
from backend.model.limits import NO_LIMITS, NamespaceLimits
from backend.store.audit_log import Signature, note_signed, schedule_entries
from backend.store.namespaces import hold_namespace
from backend.store.operation import Operation, Query, Runner, now, think
from backend.store.quotas import check_schedules, limits_of, read_limits
from backend.store.repeats import Noting, Show, Ticket, claim_free_tickets, give_tickets_back, note_answers
from backend.store.schedules import Listed, Seen, Wish, write_changes
from backend.store.together import Together

MOST = 64
"""Creates in one transaction: to decide about so many takes some ten milliseconds, in a thread."""
PATIENCE = 0.25
"""Seconds after which creates no longer wait for a transaction that something holds up."""


class Wanted(NamedTuple):
    """A create: a wish about one schedule, which needs neither calendars nor secrets."""

    store_id: str
    namespace: NamespaceId
    wish: Wish
    signature: Signature
    noting: Noting | None
    show: Show[Seen]

    @property
    def place(self) -> tuple[str, str]:
        """Name the schedule among all."""
        return self.namespace, self.wish.ids[0]

    @property
    def ticket(self) -> Ticket | None:
        """Name the request, if it may come again."""
        return self.noting.ticket if self.noting else None


class Left(Enum):
    """Why a create was left."""

    BUSY = auto()
    """Somebody else is at its namespace."""
    ALONE = auto()
    """Something stands against it: it has to be tried by itself."""


Outcome = Seen | Left


class Creates:
    """Gathers creates: those of all namespaces together, but those of one at which somebody else is by themselves."""

    def __init__(self) -> None:
        self._free = Together[Wanted, Outcome](_create_free, MOST, PATIENCE)
        self._busy: dict[NamespaceId, Together[Wanted, Outcome]] = {}
        self._waiting = Counter[NamespaceId]()

    async def __call__(self, runner: Runner, wanted: Wanted) -> Seen | None:
        """Create it, or raise what concerns all; None if it has to be tried by itself."""
        try:
            outcome: Outcome = Left.BUSY
            if wanted.namespace not in self._busy:
                outcome = await self._free(runner, wanted)
            if outcome is Left.BUSY:
                outcome = await self._wait(runner, wanted)
        except SchedulerError:
            raise
        except Exception:  # perhaps of a neighbour's row: nothing was written, and alone it will be seen whose it is
            return None
        return outcome if isinstance(outcome, Seen) else None

    async def _wait(self, runner: Runner, wanted: Wanted) -> Outcome:
        namespace = wanted.namespace
        busy = self._busy.setdefault(namespace, Together(_create_waiting, MOST, None))
        self._waiting[namespace] += 1
        try:
            return await busy(runner, wanted)
        finally:
            self._waiting[namespace] -= 1
            if not self._waiting[namespace]:
                del self._waiting[namespace], self._busy[namespace]


async def _create_free(runner: Runner, wanted: Sequence[Wanted]) -> list[Outcome]:
    return await runner.write(create_schedules(wanted, _hold_free))


async def _create_waiting(runner: Runner, wanted: Sequence[Wanted]) -> list[Outcome]:
    return await runner.write(create_schedules(wanted, _hold_waiting))


Hold = Callable[[Sequence[Wanted]], Operation[dict[str, NamespaceLimits]]]


def create_schedules(wanted: Sequence[Wanted], hold: Hold) -> Operation[list[Outcome]]:
    """Create what nothing stands against.

    If we die before the commit, nobody has been answered and nothing has happened. If we die after it, the schedules
    and the noted answers are there together: who asks again is answered the same, or hears that the id exists.
    """
    # Of two requests with one key the first; the other may be another request, and has to be compared with it.
    tickets: dict[str, Ticket] = {}
    for ticket in filter(None, (one.ticket for one in wanted)):
        tickets.setdefault(ticket.id, ticket)
    claimed = yield from claim_free_tickets(tickets.values())
    limits = yield from hold(wanted)
    taken = yield from _taken(wanted)
    # The clock is read when nobody else is at these namespaces any more.
    moment = Moment((yield from now()), wanted[0].store_id)
    yield from think()
    free = {
        number: one
        for number, one in enumerate(wanted)
        if one.namespace in limits
        and one.place not in taken
        and (one.ticket is None or (one.ticket.id in claimed and one.ticket is tickets[one.ticket.id]))
    }
    changes = _decide(free, {name: moment._replace(limits=own) for name, own in limits.items()})
    over = yield from _over_limit(list(changes.values()), limits)
    changes = {number: change for number, change in changes.items() if wanted[number].namespace not in over}
    written = yield from write_changes(list(changes.values()), moment.now)
    entries = schedule_entries(written, {})
    yield from note_signed(zip(entries, (wanted[number].signature for number in changes), strict=True), moment.now)
    seen = {n: Seen(change, Listed(change.schedule, None)) for n, change in zip(changes, written, strict=True)}
    answered = yield from _answer(wanted, seen)
    yield from give_tickets_back(claimed - answered)
    left = [Left.ALONE if one.namespace in limits else Left.BUSY for one in wanted]
    return [seen.get(number, left[number]) for number in range(len(wanted))]


def _hold_free(wanted: Sequence[Wanted]) -> Operation[dict[str, NamespaceLimits]]:
    """Hold those namespaces at which nobody else is just now: no tenant's create waits for another tenant."""
    namespaces = sorted({one.namespace for one in wanted})
    rows = yield Query("hold_free_namespaces", {"namespaces": namespaces})
    return {row[0]: read_limits(row[1]) for row in rows}


def _hold_waiting(wanted: Sequence[Wanted]) -> Operation[dict[str, NamespaceLimits]]:
    """Hold the namespace of all of these, after whoever is at it."""
    namespace = wanted[0].namespace
    yield from hold_namespace(namespace)
    return {namespace: (yield from limits_of([namespace])).get(namespace, NO_LIMITS)}


def _taken(wanted: Sequence[Wanted]) -> Operation[set[tuple[str, str]]]:
    places = [dict(zip(("namespace", "id"), place, strict=True)) for place in sorted({one.place for one in wanted})]
    return {(row[0], row[1]) for row in (yield Query("schedules_taken", {"places": places}))}


def _decide(wanted: Mapping[int, Wanted], moments: Mapping[str, Moment]) -> dict[int, Change]:
    changes: dict[int, Change] = {}
    made: set[tuple[str, str]] = set()
    for number, one in wanted.items():
        if one.place not in made and (change := _decided(one, moments[one.namespace])) is not None:
            changes[number] = change
            made.add(one.place)
    return changes


def _decided(one: Wanted, moment: Moment) -> Change | None:
    try:
        change = one.wish.revise(one.wish.ids[0], None, False, moment)  # noqa: FBT003 - nothing has an open run yet
    except Exception:  # alone it raises again, for its own caller
        return None
    return change if change.verb == "created" else None


def _over_limit(changes: Sequence[Change], limits: Mapping[str, NamespaceLimits]) -> Operation[set[str]]:
    """Name the namespaces in which all of this together would be too much."""
    over = set()
    for namespace in sorted({change.schedule.namespace for change in changes}):
        if limits[namespace] == NO_LIMITS:
            continue
        own = [change for change in changes if change.schedule.namespace == namespace]
        try:
            yield from check_schedules(namespace, limits[namespace], own)
        except OverLimit:
            over.add(namespace)
    return over


def _answer(wanted: Sequence[Wanted], seen: Mapping[int, Seen]) -> Operation[set[str]]:
    """Note the answers of requests that may come again; answers their ids."""
    notings = {number: noting for number in seen if (noting := wanted[number].noting)}
    if notings:
        yield from think()
    answers = []
    for number, noting in notings.items():
        noting.noted = noting.word((yield from wanted[number].show(seen[number])))
        answers.append((noting.ticket, noting.noted))
    yield from note_answers(answers)
    return {ticket.id for ticket, _ in answers}
