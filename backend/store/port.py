"""The ports of durable state. Whoever needs a store asks for the smallest one that serves.

    EngineStore     plan due schedules, take back expired leases, prune
    WorkerStore     claim runs, keep their leases, write results back
    NamespaceStore  schedules and runs of one namespace, which it is born with: no method can name another
    HistoryStore    the past of a namespace, or of all (history.py)
    RouteStore      the notification routes of one namespace (notification_routes.py)
    FeedStore       what happens in one namespace, in order (feed.py)
    CalendarStore   the named calendars of one namespace (calendars.py)
    SecretStore     the secrets of one namespace, encrypted (secrets.py)
    EgressStore     the hosts that one namespace may call (egress.py)
    KeyStore        the keys of one namespace, or all of them (keys.py)
    AuditStore      the audit log of one namespace, or of all (audit_log.py)
    NamespacesStore the namespaces themselves (namespaces.py)
    RepeatStore     what was answered to requests that may come again (repeats.py)
    TimezoneStore   changes of the time zone database (tzdata.py)
    AdminStore      what belongs to no namespace: who comes in, backlog, workers

They stand on a Runner, of which there is one per database.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from backend.model.attempt import AttemptResult, LostSettler, Settler
from backend.model.callback import Expectation
from backend.model.change import Change
from backend.model.ids import NamespaceId
from backend.model.plan import NewRun, Planner
from backend.model.schedule import Schedule
from backend.store import admin, callbacks, keys, leasing, namespaces, planning, repeats, retention, stats, workers
from backend.store import runs as run_operations
from backend.store import schedules as schedule_operations
from backend.store.audit_log import AuditStore, Signature, SignedRunner, unsigned
from backend.store.calendars import CalendarStore
from backend.store.creating import Creates, Wanted
from backend.store.egress import EgressStore
from backend.store.feed import FeedStore
from backend.store.history import HistoryStore
from backend.store.notices import look_for_late
from backend.store.notification_routes import RouteStore
from backend.store.operation import Runner, now
from backend.store.runs import Place, RunFilter, RunRecord, RunRow
from backend.store.schedules import DryRun, Listed, ScheduleFilter, Seen, Wish
from backend.store.secrets import Reseal, SecretStore, reseal_secrets
from backend.store.simulation import Replayable, replayable_schedules, schedules_beside
from backend.store.tzdata import TimezoneStore
from backend.store.wakeup import Hear

_ITSELF: repeats.Show[Any] = repeats.shown(lambda result: result)


@dataclass(frozen=True, slots=True)
class EngineStore:
    """What the engine needs."""

    runner: Runner
    store_id: str

    async def take_turn(self, plan: Planner, limit: int) -> planning.Turn:
        """Plan up to `limit` due schedules in one transaction."""
        return await self.runner.write(planning.take_turn(plan, self.store_id, limit))

    async def reap(self, settle: LostSettler, limit: int, lease: timedelta, after_key: int = 0) -> planning.Reaping:
        """Take back up to `limit` expired leases, and cut those that no lease of this length can have given.

        Looks for forgotten runs after the key that the last look answered.
        """
        return await self.runner.write(planning.reap(settle, limit, lease, after_key))

    async def prune(self, keep: retention.Retention, after_key: int, limit: int) -> retention.Pruned:
        """Delete one batch of what is too old; go on after the key it answers."""
        return await self.runner.write(retention.prune(keep, after_key, limit))

    async def keep_ranges(self, keep: retention.Retention | None = None) -> None:
        """Make room for the next weeks of the ledger, and drop at most one range of it that is too old."""
        await self.runner.write(retention.keep_ranges(keep))

    async def end_silent(self, word: callbacks.Word, settle: Settler, limit: int) -> leasing.Finish:
        """End up to `limit` attempts whose callees have been silent for too long."""
        return await self.runner.write(callbacks.end_silent(word, settle, limit))

    async def forgive_silence(self) -> None:
        """Count the silence of all callees from now on."""
        await self.runner.write(callbacks.forgive_silence())

    async def look_for_late(self) -> int:
        """Tell of runs that should have begun by now; answers how many notifications."""
        return await self.runner.write(look_for_late())

    def timezones(self) -> TimezoneStore:
        """Give the port for changes of the time zone database."""
        return TimezoneStore(self.runner)

    def history(self) -> HistoryStore:
        """Give the port of every namespace's past."""
        return HistoryStore(self.runner, None)


@dataclass(frozen=True, slots=True)
class WorkerStore:
    """What a worker needs."""

    runner: Runner

    async def claim(self, lessee: leasing.Lessee, limit: int, backfills: int | None = None) -> leasing.Claim:
        """Lease up to `limit` waiting runs, of which at most `backfills` belong to backfills."""
        return await self.runner.write(leasing.claim_runs(lessee, limit, backfills))

    async def claim_orphans(self, lessee: leasing.Lessee, others: Collection[str], limit: int) -> leasing.Claim:
        """Lease runs of kinds that neither the lessee nor one of `others` may perform."""
        return await self.runner.write(leasing.claim_orphans(lessee, others, limit))

    async def extend(
        self, held: Sequence[tuple[int, str]], lease: timedelta, presence: workers.Presence | None = None
    ) -> leasing.Extended:
        """Prolong leases; a run key that is not answered is lost. Notes with it that the worker is there."""
        return await self.runner.write(leasing.extend_leases(held, lease, presence))

    async def able(self) -> tuple[workers.Able, ...]:
        """Read what the workers may do, also those that fell silent of late."""
        return await self.runner.read(workers.able_workers())

    async def leave(self, name: str) -> None:
        """Take the worker off the list of those that are there."""
        await self.runner.write(workers.forget(name))

    async def expect(self, expected: Expectation) -> bool:
        """Note the token that a callee will be told; False if the lease is lost."""
        return await self.runner.write(callbacks.expect_callback(expected))

    async def finish(self, results: Sequence[AttemptResult], settle: Settler) -> leasing.Finish:
        """Write results back; those whose lease is lost are refused."""
        return await self.runner.write(leasing.finish_attempts(results, settle))


@dataclass(frozen=True, slots=True)
class NamespaceStore:
    """What may be seen and done in one namespace."""

    runner: Runner
    store_id: str
    namespace: NamespaceId
    noting: repeats.Noting | None = None
    """For a request that may come again: lets its write happen once. `show` is asked for only then."""
    known: namespaces.Terms | None = None
    """What held in the namespace when the request came in."""
    creates: Creates = field(default_factory=Creates)

    async def change(self, wish: Wish, show: repeats.Show[list[Change]] = _ITSELF) -> list[Change]:
        """Decide and write changes to schedules, all or nothing; a dry run decides and writes nothing."""
        operation = schedule_operations.change_schedules(self.namespace, self.store_id, wish)
        try:
            return await repeats.write(self.runner, self.noting, operation, show)
        except DryRun as rehearsed:
            return list(rehearsed.changes)

    async def change_one(self, wish: Wish, show: repeats.Show[Seen]) -> Seen:
        """Decide and write the change of one schedule, which is still there then; reads what became of it."""
        operation = schedule_operations.change_and_see(self.namespace, self.store_id, wish)
        return await repeats.write(self.runner, self.noting, operation, show)

    async def create_one(self, wish: Wish, show: repeats.Show[Seen]) -> Seen:
        """Decide and write the create of one schedule, in one transaction with others that come in at the same time."""
        runner, signature = unsigned(self.runner)
        wanted = Wanted(self.store_id, self.namespace, wish, signature, self.noting, show)
        seen = await self.creates(runner, wanted)
        if seen is None:
            return await self.change_one(wish, show)
        if self.noting is not None:
            self.noting.kept = True
        return seen

    async def schedule(self, id_: str) -> Listed:
        """Read one schedule, or raise NotFound."""
        return await self.runner.read(schedule_operations.get_schedule(self.namespace, id_))

    async def schedules(self, wanted: ScheduleFilter, *, after: int, limit: int) -> list[Listed]:
        """Read one page of schedules with keys above `after`."""
        return await self.runner.read(
            schedule_operations.list_schedules(self.namespace, wanted, after=after, limit=limit)
        )

    async def schedules_page(
        self, wanted: ScheduleFilter, *, after: int, limit: int
    ) -> tuple[list[Listed], int | None]:
        """Read one page, which may end early, and the key after which the next begins; None after the last."""
        return await self.runner.read(
            schedule_operations.page_schedules(self.namespace, wanted, after=after, limit=limit)
        )

    async def replayable(self, after: int, limit: int) -> list[Replayable]:
        """Read the next few active schedules by key, as far as a simulation needs them."""
        return await self.runner.read(replayable_schedules(self.namespace, after, limit))

    async def beside(self, instant: int, id_: str) -> int:
        """Count the other schedules that fire next at the same place within an hour, of the newest thousand."""
        return await self.runner.read(schedules_beside(self.namespace, instant, id_))

    def notifications(self) -> RouteStore:
        """Give the port of the namespace's notification routes."""
        return RouteStore(self.runner, self.namespace, self.noting)

    def feed(self) -> FeedStore:
        """Give the port of what happens in the namespace."""
        return FeedStore(self.runner, self.namespace)

    def calendars(self) -> CalendarStore:
        """Give the port of the namespace's named calendars."""
        return CalendarStore(self.runner, self.store_id, self.namespace)

    async def run(self, id_: str) -> RunRecord:
        """Read one run, or raise NotFound."""
        return await self.runner.read(run_operations.get_run(self.namespace, id_))

    async def runs(self, wanted: RunFilter, *, after: Place | None, limit: int) -> list[RunRecord]:
        """Read one page of runs, newest first."""
        return await self.runner.read(run_operations.list_runs(self.namespace, wanted, after=after, limit=limit))

    async def start_run(
        self,
        schedule_id: str,
        make: Callable[[Schedule, int], NewRun],
        show: repeats.Show[RunRecord] = _ITSELF,
    ) -> RunRecord:
        """Record a run on a person's wish."""
        operation = run_operations.start_manual_run(self.namespace, schedule_id, make)
        return await repeats.write(self.runner, self.noting, operation, show)

    async def start_backfill(
        self,
        schedule_id: str,
        make: Callable[[Schedule, int], Sequence[NewRun]],
        show: repeats.Show[int] = _ITSELF,
    ) -> int:
        """Record runs for a past range on a person's wish; answers how many."""
        operation = run_operations.start_backfill(self.namespace, schedule_id, make)
        return await repeats.write(self.runner, self.noting, operation, show)

    async def count_recorded(self, schedule_id: str, instants: Sequence[int]) -> int:
        """Count how many of these occurrences became runs by themselves."""
        return await self.runner.read(run_operations.count_recorded(self.namespace, schedule_id, instants))

    async def retry_run(
        self,
        id_: str,
        make: Callable[[Schedule, RunRow, int], NewRun],
        show: repeats.Show[RunRecord] = _ITSELF,
    ) -> RunRecord:
        """Record a new run for the nominal time of one that has ended."""
        operation = run_operations.retry_run(self.namespace, id_, make)
        return await repeats.write(self.runner, self.noting, operation, show)

    async def cancel_run(self, id_: str, by: str, show: repeats.Show[RunRecord] = _ITSELF) -> RunRecord:
        """End an open run."""
        operation = run_operations.cancel_run(self.namespace, id_, by)
        return await repeats.write(self.runner, self.noting, operation, show)

    def secrets(self) -> SecretStore:
        """Give the port of the namespace's secrets."""
        return SecretStore(self.runner, self.namespace)

    def egress(self) -> EgressStore:
        """Give the port of the hosts that the namespace may call."""
        return EgressStore(self.runner, self.namespace)

    async def complete_run(self, id_: str, hash_: str | None, word: callbacks.Word, settle: Settler) -> leasing.Finish:
        """Write down what a callee says of its run; `hash_` is that of its token, None if a key let it in."""
        return await self.runner.write(callbacks.complete_run(self.namespace, id_, hash_, word, settle))

    async def heartbeat(self, id_: str, hash_: str | None) -> callbacks.Heartbeat:
        """Note that the callee of a run is alive."""
        return await self.runner.write(callbacks.note_heartbeat(self.namespace, id_, hash_))

    async def stats(self) -> stats.Stats:
        """Count what there is, and what has been in the last hour; NotFound if the namespace is gone."""
        return await self.runner.read(stats.read_stats(self.namespace))

    async def terms(self) -> namespaces.Terms:
        """Say what holds for all that is in the namespace; NotFound if it is gone."""
        if self.known is not None:
            return self.known
        return await self.runner.read(namespaces.terms_in(self.namespace))

    def history(self) -> HistoryStore:
        """Give the port of this namespace's past."""
        return HistoryStore(self.runner, self.namespace)


@dataclass(frozen=True, slots=True)
class AdminStore:
    """What belongs to no namespace."""

    runner: Runner
    store_id: str
    arrivals: keys.Arrivals = field(default_factory=keys.arrivals)

    async def now(self) -> int:
        """Read the database's clock, in microseconds."""
        return await self.runner.read(now())

    async def note_clock(self) -> None:
        """Note what time it is, for servers that start later."""
        await self.runner.write(admin.note_clock())

    async def arrive(self, key_id: str | None, key_hash: str, namespace: str | None) -> keys.Arrival:
        """Find the keys that a text could be, the time, and what holds where the request may lead."""
        return await self.arrivals(self.runner, keys.Asked(key_id, key_hash, namespace))

    async def adopt_key(self, key_hash: str, source: str) -> keys.KeyRow:
        """Let the key of a file in as an admin, in place of the one that the file held before."""
        return await self.runner.write(keys.adopt_key(key_hash, source))

    async def note_used(self, key_ids: Sequence[str], instant: int) -> None:
        """Note when these keys were last used."""
        await self.runner.write(keys.note_used(key_ids, instant))

    async def reseal(self, key_id: str, reseal: Reseal) -> int:
        """Encrypt all secrets anew that are not encrypted with this key; answers how many."""
        count, after = await self.runner.write(reseal_secrets(key_id, reseal, ("", "")))
        while after is not None:
            more, after = await self.runner.write(reseal_secrets(key_id, reseal, after))
            count += more
        return count

    async def owner_of(self, run_key: int) -> callbacks.Owner | None:
        """Find the run of a callback token."""
        return await self.runner.read(callbacks.owner_of(run_key))

    async def backlog(self) -> admin.Backlog:
        """Count what waits."""
        return await self.runner.read(admin.read_backlog())

    async def workers(self, *, after: str, limit: int) -> tuple[int, list[workers.WorkerRow]]:
        """Read one page of workers by name, and the database's clock."""
        return await self.runner.read(workers.list_workers(after, limit))

    async def count_workers(self) -> dict[str, int]:
        """Count workers by what they are doing."""
        return await self.runner.read(workers.count_workers())


@dataclass(frozen=True, slots=True)
class Store:
    """An open database; gives out the ports."""

    runner: Runner
    store_id: str
    close: Callable[[], None]
    hear: Callable[[Hear], None] = lambda _: None
    """Tells a callback what other servers on the same database hint at."""
    known_at: int | None = None
    """What time a server had noted last when this was opened, in microseconds."""
    noting: repeats.Noting | None = None
    """Goes with the ports of a request that may come again."""
    creates: Creates = field(default_factory=Creates)
    arrivals: keys.Arrivals = field(default_factory=keys.arrivals)

    def engine(self) -> EngineStore:
        """Give the engine's port."""
        return EngineStore(self.runner, self.store_id)

    def worker(self) -> WorkerStore:
        """Give a worker's port."""
        return WorkerStore(self.runner)

    def namespace(self, namespace: NamespaceId, known: namespaces.Terms | None = None) -> NamespaceStore:
        """Give the port of one namespace, of which it may be known what holds there."""
        return NamespaceStore(self.runner, self.store_id, namespace, self.noting, known, self.creates)

    def admin(self) -> AdminStore:
        """Give the port of what belongs to no namespace."""
        return AdminStore(self.runner, self.store_id, self.arrivals)

    def keys(self, reach: NamespaceId | None) -> keys.KeyStore:
        """Give the port of the keys of one namespace, or with None of all."""
        return keys.KeyStore(self.runner, reach, self.noting)

    def audit(self, reach: NamespaceId | None) -> AuditStore:
        """Give the port of the audit log of one namespace, or with None of all."""
        return AuditStore(self.runner, reach)

    def signed(self, by: str, request_id: str) -> Store:
        """Give the same store for somebody: the audit log names them below what they change."""
        return replace(self, runner=SignedRunner(self.runner, Signature(by, request_id)))

    def namespaces(self) -> namespaces.NamespacesStore:
        """Give the port of the namespaces themselves."""
        return namespaces.NamespacesStore(self.runner, self.noting)

    def repeats(self) -> repeats.RepeatStore:
        """Give the port of what was answered to requests that may come again."""
        return repeats.RepeatStore(self.runner)
