"""Creates that come in at the same time, in one transaction: no more statements for fifty than for one.

Each is its own: none is written, refused or undone on another's account. What anything stands against is left, for its
caller to try by itself and to hear what it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from backend.errors import OverLimit
from backend.model.change import Change, Moment
from backend.model.ids import NamespaceId
from backend.model.limits import NO_LIMITS, NamespaceLimits
from backend.store.audit_log import Signature, note_signed, schedule_entries
from backend.store.operation import Operation, Query, now, think
from backend.store.quotas import check_schedules, read_limits
from backend.store.repeats import Noting, Show, Ticket, claim_free_tickets, give_tickets_back, note_answers
from backend.store.schedules import Listed, Seen, Wish, write_changes

MOST = 64
"""Creates in one transaction: to decide about so many takes some ten milliseconds, in a thread."""


class Wanted(NamedTuple):
    """A create: a wish about one schedule, which needs neither calendars nor secrets."""

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


def create_schedules(store_id: str, wanted: Sequence[Wanted]) -> Operation[list[Seen | None]]:
    """Create what nothing stands against; None for each that is left.

    If we die before the commit, nobody has been answered and nothing has happened. If we die after it, the schedules
    and the noted answers are there together: who asks again is answered the same, or hears that the id exists.
    """
    claimed = yield from claim_free_tickets([one.ticket for one in wanted if one.ticket])
    limits = yield from _hold_free({one.namespace for one in wanted})
    taken = yield from _taken(wanted)
    # The clock is read when nobody else is at these namespaces any more.
    moment = Moment((yield from now()), store_id)
    yield from think()
    free = {number: one for number, one in enumerate(wanted) if one.namespace in limits and one.place not in taken}
    changes = _decide(free, claimed, {name: moment._replace(limits=own) for name, own in limits.items()})
    over = yield from _over_limit(list(changes.values()), limits)
    changes = {number: change for number, change in changes.items() if wanted[number].namespace not in over}
    written = yield from write_changes(list(changes.values()), moment.now)
    entries = schedule_entries(written, {})
    yield from note_signed(zip(entries, (wanted[number].signature for number in changes), strict=True), moment.now)
    seen = {n: Seen(change, Listed(change.schedule, None)) for n, change in zip(changes, written, strict=True)}
    answered = yield from _answer(wanted, seen)
    yield from give_tickets_back(claimed - answered)
    return [seen.get(number) for number in range(len(wanted))]


def _hold_free(namespaces: set[NamespaceId]) -> Operation[dict[str, NamespaceLimits]]:
    """Hold those namespaces at which nobody else is just now: no tenant's create waits for another tenant."""
    rows = yield Query("hold_free_namespaces", {"namespaces": sorted(namespaces)})
    return {row[0]: read_limits(row[1]) for row in rows}


def _taken(wanted: Sequence[Wanted]) -> Operation[set[tuple[str, str]]]:
    places = [dict(zip(("namespace", "id"), place, strict=True)) for place in sorted({one.place for one in wanted})]
    return {(row[0], row[1]) for row in (yield Query("schedules_taken", {"places": places}))}


def _decide(wanted: Mapping[int, Wanted], claimed: Collection[str], moments: Mapping[str, Moment]) -> dict[int, Change]:
    changes: dict[int, Change] = {}
    made: set[object] = set()  # by those before: places of schedules, and ids of requests
    for number, one in wanted.items():
        names = {one.place, one.ticket and one.ticket.id} - {None}
        if made & names or (one.ticket and one.ticket.id not in claimed):
            continue
        change = _decided(one, moments[one.namespace])
        if change is not None:
            changes[number] = change
            made |= names
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
