"""The states of a process, and the only moves between them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from backend.errors import SchedulerError


class ProcessState(StrEnum):
    """Where a process is in its life. Draining is a flag inside `running`."""

    IDLE = "idle"
    INITIALIZING = "initializing"
    RUNNING = "running"
    EXITED = "exited"


class IllegalMove(SchedulerError):
    """A process was asked for a state that does not follow from the one it is in."""


MOVES: Mapping[ProcessState, frozenset[ProcessState]] = {
    ProcessState.IDLE: frozenset({ProcessState.INITIALIZING, ProcessState.EXITED}),
    ProcessState.INITIALIZING: frozenset({ProcessState.RUNNING, ProcessState.EXITED}),
    ProcessState.RUNNING: frozenset({ProcessState.EXITED}),
    ProcessState.EXITED: frozenset(),
}


def move(current: ProcessState, to: ProcessState) -> ProcessState:
    """Return `to` if it may follow `current`, else raise IllegalMove.

    >>> move(ProcessState.IDLE, ProcessState.INITIALIZING)
    <ProcessState.INITIALIZING: 'initializing'>
    """
    if to not in MOVES[current]:
        allowed = ", ".join(sorted(MOVES[current])) or "nothing"
        raise IllegalMove(f"a process that is {current} cannot become {to}; it may become {allowed}")
    return to
