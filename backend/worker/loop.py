"""A worker: claims runs while it has room, works each in a task of its own, keeps the leases, drains when asked."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from backend.clock import Clock
from backend.engine.loop import FIRING_PAUSE, Doorbell, Loop
from backend.errors import ClockAhead, StoreUnavailable
from backend.events import Events, LeaseLost, RunsClaimed
from backend.model.attempt import AttemptResult
from backend.model.instants import SECOND
from backend.model.run import TriggerType
from backend.store.keyring import KeyRing
from backend.store.leasing import Claim, Extended, Lessee, Served
from backend.store.port import WorkerStore
from backend.store.wakeup import LEASES, RUNS
from backend.store.workers import Able, Presence
from backend.targets.abilities import abilities_of, write_abilities
from backend.targets.base import Tools
from backend.worker.attempt import Assignment, cancelled, perform, released
from backend.worker.fleet import Acquaintance
from backend.worker.recorder import Recorder

BATCH = 1000
NOTHING = Extended(set(), set())
BEATS_PER_LEASE = 3
ELSEWHERE = 0.05
"""Seconds until the next look when others are at work on all that waits."""
GIVING_BACK = 3.0
"""Seconds that stopping and giving back may take, of which a command gets one to end by itself."""
LOOKS_PER_LEASE = 15
"""While the store does not answer, how often per lease it is asked, so that the end of a lease is noticed in time."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Who the worker is and how much it takes on. `poll` in seconds is the floor of polling."""

    name: str
    concurrency: int
    lease: timedelta
    poll: float = 1.0
    host: str = ""
    pid: int = 0
    version: str = ""
    ring: KeyRing | None = None
    """Decrypts the secrets that targets refer to."""


@dataclass(slots=True)
class _Slot:
    """An attempt that is going on."""

    assignment: Assignment
    task: asyncio.Task[None] | None = None
    begun: bool = False
    """The task has taken its first step; cancelled before, it would leave the slot taken for ever."""
    revoked: bool = False
    to_stop: bool = False
    """The run is to make room for a later one."""
    recording: bool = False
    """The attempt has ended; the recorder will hear from the database whether the lease still held.

    Until then the lease is prolonged like the others: a result that waits for the database is not lost.
    """

    def is_at_work(self) -> bool:
        """Say whether the attempt can still be stopped."""
        return self.task is not None and not self.recording and not self.task.done()

    def cancel(self) -> None:
        """Stop the attempt; one that has not begun sees by itself, at its first step, that it is not to."""
        if self.task is not None and self.begun:
            self.task.cancel()


class Worker:
    """Works runs off. Use `serving()`; then `wake()` when there are new runs and `drain()` before leaving."""

    def __init__(self, store: WorkerStore, tools: Tools, config: WorkerConfig, *, clock: Clock, events: Events) -> None:
        self._store = store
        self._tools = tools
        self._config = config
        self._clock = clock
        self._events = events
        self._slots: dict[int, _Slot] = {}
        self._served = Served()
        self._abilities = abilities_of(tools.rules)
        self._others = Acquaintance(config.name, config.lease.total_seconds(), clock)
        self._orphans_wait = False
        self._draining = False
        self._gone_by: float | None = None
        self._recorder = Recorder(store, events)
        self._extended_at = clock.monotonic()
        self.claiming = Loop(
            "worker", self.turn, clock=clock, events=events, bell=Doorbell(), longest_pause=FIRING_PAUSE
        )
        self.beating = Loop(
            "heartbeat",
            self._beat_turn,
            clock=clock,
            events=events,
            bell=Doorbell(),
            longest_pause=config.lease.total_seconds() / LOOKS_PER_LEASE,
        )

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Worker]:
        """Keep leases and write results until the block is left, with `drain` before; else attempts are abandoned."""
        tasks = [asyncio.create_task(self.beating.run()), asyncio.create_task(self._recorder.run())]
        try:
            yield self
        finally:
            for task in [*tasks, *self._abandoned()]:
                task.cancel()
            await self._all_ended(self._left())
            with suppress(TimeoutError):
                async with asyncio.timeout(self._left()):
                    await asyncio.gather(*tasks, return_exceptions=True)
            if self._draining:
                await self._leave()

    async def _leave(self) -> None:
        # After the last heartbeat, which would put us on the list again.
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(self._left()):
                await self._store.leave(self._config.name)

    def _left(self) -> float:
        """Seconds until we are to be gone: what follows the grace shares them, with none for each step anew."""
        now = self._clock.monotonic()
        if self._gone_by is None:
            self._gone_by = now + GIVING_BACK
        return max(self._gone_by - now, 0.0)

    def _abandoned(self) -> Iterator[asyncio.Task[None]]:
        # Without the recorder nothing can be given back any more: the leases run out, and others take the runs over.
        for slot in self._slots.values():
            slot.revoked = True
            if slot.task is not None:
                yield slot.task

    def hear(self, hints: frozenset[str]) -> None:
        """Look at once for what another server on the same database hints at."""
        if RUNS in hints:
            self.wake()
        if LEASES in hints:
            self.beating.bell.ring()

    def wake(self) -> None:
        """Look for runs now."""
        self.claiming.bell.ring()

    @property
    def active(self) -> int:
        """Count the attempts going on."""
        return len(self._slots)

    async def turn(self) -> float:
        """Claim as many runs as there is room for; answers the seconds until there may be more."""
        room = min(self._config.concurrency - len(self._slots), BATCH)
        if room <= 0:
            return self._config.poll
        us, kinds = self._config, self._abilities.kinds
        lessee = Lessee(us.name, secrets.token_hex(8), us.lease, self._served, kinds)
        try:
            claim = await self._store.claim(lessee, room, min(room, self._room_for_backfills()))
            self._served = claim.served
            self._begin_all(claim, lessee)
            if self._orphans_wait and len(claim.runs) < room:
                await self._take_orphans(lessee, room - len(claim.runs))
        except ClockAhead:  # whoever looks after the clock raises the alarm
            return self._config.poll
        if claim.next_at is None or len(claim.runs) == room:
            return self._config.poll
        if not claim.runs and claim.next_at <= claim.now:
            # Another worker is about to lease all that waits: look again soon, but do not ask in a circle meanwhile.
            return min(self._config.poll, ELSEWHERE)
        return min(self._config.poll, max(0.0, (claim.next_at - claim.now) / SECOND))

    async def _take_orphans(self, lessee: Lessee, room: int) -> None:
        """Claim what no worker may perform, so that its runs say so and fail in the end; after all others."""
        claim = await self._store.claim_orphans(lessee, self._others.fleet().kinds(), room)
        self._orphans_wait = len(claim.runs) == room
        self._begin_all(claim, lessee)

    def _begin_all(self, claim: Claim, lessee: Lessee) -> None:
        for run in claim.runs:
            schedule_id, errand = claim.errands[run.schedule_key]
            sealed, egress = claim.secrets.get(run.namespace, {}), claim.egress.get(run.namespace)
            self._begin(Assignment(run, lessee.token, lessee.worker, schedule_id, errand, sealed, egress))
        if claim.runs:
            self._events.emit(RunsClaimed(self._config.name, len(claim.runs)))

    def _room_for_backfills(self) -> int:
        """Half of the slots at the most, so that what is due now finds one."""
        busy = sum(slot.assignment.run.trigger_type == TriggerType.BACKFILL for slot in self._slots.values())
        return max(max(self._config.concurrency // 2, 1) - busy, 0)

    def _begin(self, assignment: Assignment) -> None:
        slot = _Slot(assignment)
        self._slots[assignment.run.key] = slot
        slot.task = asyncio.create_task(self._work(slot))

    async def _work(self, slot: _Slot) -> None:
        slot.begun = True
        try:
            result = await self._perform(slot)
            if result is not None and not slot.revoked:
                slot.recording = True
                await self._recorder.record(result)
        finally:
            if self._slots.get(slot.assignment.run.key) is slot:
                del self._slots[slot.assignment.run.key]
            self.wake()

    async def _perform(self, slot: _Slot) -> AttemptResult | None:
        try:
            if slot.revoked or slot.to_stop:
                raise asyncio.CancelledError
            return await perform(slot.assignment, self._tools, self._config.ring, self._others.fleet())
        except asyncio.CancelledError:
            # Cancelled because the lease is lost, and then nothing may be written; or because the run is to make room
            # for a later one; or to give it back.
            if slot.revoked:
                return None
            return cancelled(slot.assignment) if slot.to_stop else released(slot.assignment)

    async def beat(self, presence: Presence | None = None) -> None:
        """Prolong all leases, and stop the attempts that have lost theirs; tell with it that we are there."""
        slots = {key: slot for key, slot in self._slots.items() if not slot.revoked}
        began = self._clock.monotonic()
        try:
            pairs = [(key, slot.assignment.token) for key, slot in slots.items()]
            told = await self._store.extend(pairs, self._config.lease, presence) if pairs or presence else NOTHING
        except StoreUnavailable:
            # Who cannot renew must take its leases for lost once they are over: others may be at work by then.
            if self._clock.monotonic() - self._extended_at > self._config.lease.total_seconds():
                self._revoke(slots, set())
            raise
        self._extended_at = began
        self._revoke(slots, told.held)
        self._stop(slots[key] for key in told.to_stop)

    def _meet(self, workers: Iterable[Able]) -> None:
        self._others.meet(workers)
        if not self._orphans_wait and not self._draining:
            self._orphans_wait = True
            self.wake()

    def _revoke(self, slots: dict[int, _Slot], held: set[int]) -> None:
        for key, slot in slots.items():
            # One that ended while we asked has given its lease back by itself, or will hear that it is lost.
            if key not in held and slot.is_at_work():
                slot.revoked = True
                slot.cancel()
                self._events.emit(LeaseLost(slot.assignment.run.id, slot.assignment.run.attempt, self._config.name))

    def _stop(self, slots: Iterable[_Slot]) -> None:
        for slot in slots:
            if not slot.to_stop and slot.is_at_work():
                slot.to_stop = True
                slot.cancel()

    async def _beat_turn(self) -> float:
        await self.beat(self._presence())
        self._meet(await self._store.able())
        return self._config.lease.total_seconds() / BEATS_PER_LEASE

    def _presence(self) -> Presence:
        us = self._config
        abilities = write_abilities(self._abilities)
        return Presence(us.name, us.host, us.pid, us.version, us.concurrency, us.lease, self._draining, abilities)

    def announce_drain(self) -> None:
        """Say that no more is taken on."""
        self._draining = True
        self.beating.bell.ring()

    @property
    def draining(self) -> bool:
        """Say whether it takes on no more."""
        return self._draining

    async def drain(self, grace: float) -> None:
        """Let running attempts end within `grace` seconds, then give the rest back. `claiming` has ended before.

        When the database does not answer, what could not be given back is left to the end of its lease.
        """
        self.announce_drain()
        await self._all_ended(grace)
        await asyncio.sleep(0)  # a task that never began could not give its run back
        for slot in self._slots.values():
            if slot.task is not None and not slot.recording:
                slot.task.cancel()
        await self._all_ended(self._left())

    async def _all_ended(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0)):
                while tasks := [s.task for s in self._slots.values() if s.task is not None and not s.task.done()]:
                    await asyncio.wait(tasks)
