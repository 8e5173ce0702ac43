"""Requests that may come again: what was answered is noted in the transaction that did it.

The row of a request is the referee. If we die before the commit, neither change nor row is there, and whoever asks
again is the first. If we die after it, both are, and whoever asks again is answered the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from backend.errors import FieldProblem, Refused
from backend.model.instants import DAY
from backend.store.operation import Batch, Operation, Query, Runner, now, think

T = TypeVar("T")
V = TypeVar("V")
KEPT = DAY
"""How long an answer is kept, in microseconds."""
Show = Callable[[T], Operation[Any]]
"""Reads and words, still within the transaction, what whoever asked is shown of its result."""


class Ticket(NamedTuple):
    """A request that may come again. `fingerprint` tells it from another under the same id; `now` is when it came."""

    id: str
    fingerprint: str
    now: int


class Noted(NamedTuple):
    """What was answered. `headers` is a JSON object."""

    status: int
    headers: str
    body: str


class Repeated(Exception):
    """Undoes the transaction of a request that has been done already, and carries what was answered then."""

    def __init__(self, noted: Noted) -> None:
        super().__init__("done already")
        self.noted = noted


def look(id_: str, fingerprint: str) -> Operation[tuple[int, Noted | None]]:
    """Find what was answered to this request; Refused if it was another one. Answers the time as well."""
    instant = yield from now()
    rows = yield Query("repeat_by_id", {"id": id_, "since": instant - KEPT})
    if rows and rows[0][0] != fingerprint:
        raise Refused(
            [FieldProblem("Idempotency-Key", "it was used for another request", "use a new key for each request")]
        )
    return instant, Noted._make(rows[0][1:]) if rows else None


def once(ticket: Ticket, operation: Operation[T], note: Callable[[T], Operation[Noted]]) -> Operation[T]:
    """Do it unless it has been done, and note the answer; Repeated if it has been."""
    # Of two at once, the second waits here for the first one's end. No clock is read: the operation reads it when it
    # holds its locks.
    claim = {"id": ticket.id, "fingerprint": ticket.fingerprint, "now": ticket.now, "over": ticket.now - KEPT}
    if not (yield Query("claim_repeat", claim)):
        _, noted = yield from look(ticket.id, ticket.fingerprint)
        assert noted is not None, "it expired while it was looked at"
        raise Repeated(noted)
    result = yield from operation
    yield from think()
    answer = yield from note(result)
    yield from note_answers([(ticket, answer)])
    return result


def claim_free_tickets(tickets: Collection[Ticket]) -> Operation[set[str]]:
    """Hold those, each of another id, to which nothing was answered and at which nobody else is; answers their ids."""
    if not tickets:
        return set()
    instant = max(ticket.now for ticket in tickets)
    texts = [{"id": ticket.id, "fingerprint": ticket.fingerprint} for ticket in tickets]
    claims = {"tickets": texts, "now": instant, "over": instant - KEPT}
    return {row[0] for row in (yield Query("claim_free_repeats", claims))}


def note_answers(answers: Iterable[tuple[Ticket, Noted]]) -> Operation[None]:
    """Note what is answered, now and whenever these requests come again."""
    yield Batch("note_answers", [{"id": ticket.id, **noted._asdict()} for ticket, noted in answers])


def give_tickets_back(ids: Collection[str]) -> Operation[None]:
    """Let go of what has been claimed and not been done."""
    if ids:
        yield Query("give_repeats_back", {"ids": sorted(ids)})


@dataclass(slots=True)
class Noting:
    """Lets a port do its one write once. `word` makes an answer of what is shown."""

    ticket: Ticket
    word: Callable[[Any], Noted]
    noted: Noted | None = None
    kept: bool = False
    """Both what was done and the note are in the database: the transaction has been committed."""

    def around(self, operation: Operation[T], show: Show[T]) -> Operation[T]:
        """Put the look before an operation, and the note behind it."""

        def note(result: T) -> Operation[Noted]:
            self.noted = self.word((yield from show(result)))
            return self.noted

        return once(self.ticket, operation, note)


async def write(runner: Runner, noting: Noting | None, operation: Operation[T], show: Show[T]) -> T:
    """Run an operation, once if the request may come again."""
    if noting is None:
        return await runner.write(operation)
    result = await runner.write(noting.around(operation, show))
    noting.kept = True
    return result


def shown(view: Callable[[T], V]) -> Show[T]:
    """Show what follows from the result alone."""

    def show(result: T) -> Operation[V]:
        yield from ()
        return view(result)

    return show


@dataclass(frozen=True, slots=True)
class RepeatStore:
    """What was answered to requests that may come again."""

    runner: Runner

    async def look(self, id_: str, fingerprint: str) -> tuple[int, Noted | None]:
        """Find what was answered, if it was, and the time; Refused if the request was another one."""
        return await self.runner.read(look(id_, fingerprint))

    async def note(self, noting: Noting, view: object) -> None:
        """Note the answer to what many transactions have done."""

        def nothing() -> Operation[None]:
            yield from ()

        await write(self.runner, noting, nothing(), shown(lambda _: view))
