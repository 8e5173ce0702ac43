"""Who else is there, as far as this worker knows from its heartbeats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from backend.clock import Clock
from backend.store.workers import Able
from backend.targets.abilities import Abilities, read_abilities
from backend.targets.base import Target


class Colleague(NamedTuple):
    """A worker that is there, and what it may perform."""

    name: str
    abilities: Abilities

    def ability(self, target: Target) -> str | None:
        """Name by which ability it may do what another found barred; None: it may not."""
        ability = target.ability(self.abilities.rules)
        return ability if ability in self.abilities.kinds else None


class Fleet(NamedTuple):
    """The other workers. `alone`: none is there, nor was for as long as one may be away unnoticed."""

    colleagues: Sequence[Colleague] = ()
    alone: bool = False

    def kinds(self) -> set[str]:
        """Name the kinds of target that others may perform."""
        return {kind for colleague in self.colleagues for kind in colleague.abilities.kinds}


ALONE: Final = Fleet(alone=True)


class Acquaintance:
    """What worker `name` knows of the others. `lease` in seconds."""

    def __init__(self, name: str, lease: float, clock: Clock) -> None:
        self._name = name
        self._lease = lease
        self._clock = clock
        self._colleagues: tuple[Colleague, ...] = ()
        self._looked_at = self._met_at = clock.monotonic()

    def meet(self, workers: Iterable[Able]) -> None:
        """Take note of the list of workers, on which those that fell silent of late stand as well."""
        others = [worker for worker in workers if worker.name != self._name]
        self._colleagues = tuple(Colleague(one.name, read_abilities(one.abilities)) for one in others if one.there)
        now = self._clock.monotonic()
        # Who could not look for a lease, as during an outage, knows nothing of who came and went.
        if others or now - self._looked_at > self._lease:
            self._met_at = now
        self._looked_at = now

    def fleet(self) -> Fleet:
        """Say who is there now."""
        now = self._clock.monotonic()
        return Fleet(self._colleagues, alone=now - self._met_at > self._lease >= now - self._looked_at)
