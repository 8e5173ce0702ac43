"""Outages of the database, folded: every loop notices one, turn after turn; a person wants to hear of it once."""

from __future__ import annotations

from backend.clock import Clock
from backend.events import (
    DatabaseAvailable,
    DatabaseUnavailable,
    Events,
    Fact,
    LoopFailed,
    LoopFailure,
    LoopRecovered,
)


class Outages:
    """Emits one fact when the first loop gets no answer, and one when the last of them gets one again.

    How long it took ends with the first answer after the last failure: some loops rest for seconds before they ask.
    """

    def __init__(self, clock: Clock, events: Events) -> None:
        self._clock = clock
        self._events = events
        self._unanswered: set[str] = set()
        self._failures = 0
        self._began_at = 0.0
        self._answered_at: float | None = None

    def observe(self, fact: Fact) -> None:
        """Listen to the loops."""
        match fact:
            case LoopFailed(reason=LoopFailure.DATABASE):
                self._no_answer(fact)
            case LoopFailed() | LoopRecovered():  # also what raised for another reason was answered
                self._answer(fact.loop)

    def _no_answer(self, fact: LoopFailed) -> None:
        begins = not self._unanswered
        self._unanswered.add(fact.loop)
        self._answered_at = None
        self._failures = 1 if begins else self._failures + 1
        if begins:
            self._began_at = self._clock.monotonic()
            self._events.emit(DatabaseUnavailable(fact.loop, fact.error))

    def _answer(self, loop: str) -> None:
        if loop not in self._unanswered:
            return
        if self._answered_at is None:
            self._answered_at = self._clock.monotonic()
        self._unanswered.remove(loop)
        if not self._unanswered:
            self._events.emit(DatabaseAvailable(self._answered_at - self._began_at, self._failures))
