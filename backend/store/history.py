"""Reads of the past: what the ledger says of a time, and what was in force then."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from backend.model.history import LedgerPage, LedgerRow, Revision, Stretch
from backend.model.ids import DEFAULT_NAMESPACE, NamespaceId
from backend.model.instants import SECOND
from backend.model.schedule import Schedule
from backend.store.operation import Batch, Operation, Query, Row, Runner, now
from backend.store.planning import with_open_run
from backend.store.runs import RunRecord, RunRow, get_run
from backend.store.schedules import no_such_schedule

NEVER = 2**62
MOST_LIVES = 100
"""Deleted schedules of one id that are looked at, newest first."""
MOST_BESIDE = 10
"""Runs beside an occurrence that are read."""


@dataclass(frozen=True, slots=True)
class HistoryStore:
    """The past of one namespace, or of all (None)."""

    runner: Runner
    namespace: NamespaceId | None

    async def now(self) -> int:
        """Read the database's clock, in microseconds."""
        return await self.runner.read(now())

    async def note_tzdata(self, tzdata: str) -> None:
        """Remember since when times follow this release of tzdata."""
        await self.runner.write(note_tzdata(tzdata))

    async def ledger_from(self) -> int:
        """Read from when on there is a ledger."""
        return await self.runner.read(read_ledger_from())

    async def ledger_pages(self, after_key: int, stretch: Stretch, tzdata: str, limit: int) -> list[LedgerPage]:
        """Read a stretch of the ledgers of the next few schedules by key."""
        return await self.runner.read(ledger_pages(self.namespace, after_key, stretch, tzdata, limit=limit))

    async def ledger_page(self, schedule_key: int, stretch: Stretch, tzdata: str) -> LedgerPage | None:
        """Read a stretch of one ledger; None if there is no such schedule."""
        return await self.runner.read(ledger_page(self.namespace, schedule_key, stretch, tzdata))

    async def episode(self, id_: str, at: int, tzdata: str) -> Episode:
        """Read what is known of an instant of a schedule, which may be deleted, or raise NotFound."""
        return await self.runner.read(read_episode(self.namespace or DEFAULT_NAMESPACE, id_, at, tzdata))


def begin_ledger() -> Operation[None]:
    """Remember from when on this store keeps a ledger."""
    instant = yield from now()
    yield Query("put_info", {"key": "ledger_from", "value": str(instant)})


def note_tzdata(tzdata: str) -> Operation[None]:
    """Remember since when all times follow this release of tzdata: from now on, if it was another before.

    While schedules are still being planned anew by it (`tzdata_version` names another), nothing changes.
    """
    facts = yield from _facts()
    known = facts.get("tzdata_since")
    if facts.get("tzdata_version", tzdata) != tzdata or (known and json.loads(known)[0] == tzdata):
        return
    # What lies between was planned by either.
    instant = (yield from now()) + 1 if known else 0
    yield Query("change_info", {"key": "tzdata_since", "value": json.dumps([tzdata, instant])})


def _facts() -> Operation[dict[str, str]]:
    return {row[0]: row[1] for row in (yield Query("audit_facts"))}


def read_ledger_from() -> Operation[int]:
    """Read from when on this store keeps a ledger."""
    return int((yield from _facts()).get("ledger_from", "0"))


def ledger_pages(
    namespace: str | None, after_key: int, stretch: Stretch, tzdata: str, *, limit: int
) -> Operation[list[LedgerPage]]:
    """Read the same stretch of the next few schedules that planned something since it began."""
    params = {"after_key": after_key, "from": stretch.from_at, "namespace": namespace, "limit": limit}
    rows = yield Query("schedules_to_audit", params)
    return (yield from _pages(rows, stretch, tzdata))


def ledger_page(
    namespace: str | None, schedule_key: int, stretch: Stretch, tzdata: str
) -> Operation[LedgerPage | None]:
    """Read a stretch of one schedule's ledger; None if it is gone."""
    rows = yield Query("schedule_to_audit", {"schedule_key": schedule_key, "namespace": namespace})
    return next(iter((yield from _pages(rows, stretch, tzdata))), None)


def _pages(rows: Sequence[Row], stretch: Stretch, tzdata: str) -> Operation[list[LedgerPage]]:
    facts = yield from _facts()
    began_at, zoned_from = int(facts.get("ledger_from", "0")), _zoned_from(facts, tzdata)
    pages = []
    for key, id_, namespace, cursor_at, floor in rows:
        complete_from = max(began_at, floor or 0)
        from_at = max(stretch.from_at, complete_from)
        revisions = yield Query("revisions_from", {"schedule_key": key, "from": from_at})
        before = yield Query("ledger_before", {"schedule_key": key, "before": from_at})
        part = {"from": from_at, "until": min(stretch.until_at, cursor_at), "limit": stretch.rows + 1}
        found = [LedgerRow._make(row) for row in (yield Query("ledger_from", {"schedule_key": key, **part}))]
        pages.append(
            LedgerPage(
                key=key,
                id=id_,
                namespace=namespace,
                cursor_at=cursor_at,
                complete_from=complete_from,
                zoned_from=zoned_from,
                revisions=[Revision._make(row) for row in revisions],
                before=LedgerRow._make(before[0]) if before else None,
                rows=found[: stretch.rows],
                more=len(found) > stretch.rows,
            )
        )
    return pages


def _zoned_from(facts: dict[str, str], tzdata: str) -> int:
    if facts.get("tzdata_version", tzdata) != tzdata:
        return NEVER
    release, since = json.loads(facts["tzdata_since"]) if "tzdata_since" in facts else (tzdata, 0)
    return int(since) if release == tzdata else NEVER


class Episode(NamedTuple):
    """What is known of one instant of a schedule."""

    now: int
    schedule: Schedule
    definition: str
    """The definition in force."""
    revisions: Sequence[Revision]
    """The last change before the instant, and all that follow."""
    defined: Revision | None
    """The change that the definition in force came with."""
    paused: Revision | None
    """The last pause or resume before the instant."""
    row: LedgerRow | None
    """The newest row at or before the instant."""
    run: RunRecord | None
    """The same row in full, if it stands for the instant."""
    blocker: RunRow | None
    """The run that was open when the row was written, if it was."""
    beside: Sequence[RunRow]
    """Runs of the same second that are no occurrences: of backfills, of retries, started by hand."""
    complete_from: int
    zoned_from: int
    """Before, times of zones other than UTC followed another release of the time zone database."""


def read_episode(namespace: str, id_: str, at: int, tzdata: str) -> Operation[Episode]:
    """Read what is known of an instant of a schedule, which may be deleted; NotFound if there never was one."""
    instant = yield from now()
    schedule = yield from _schedule_at(namespace, id_, at)
    key = schedule.key
    rows = yield Query("schedule_to_audit", {"schedule_key": key, "namespace": namespace})
    facts = yield from _facts()
    floor = max(rows[0][4] or 0, int(facts.get("ledger_from", "0")))
    revisions = [Revision._make(row) for row in (yield Query("revisions_from", {"schedule_key": key, "from": at}))]
    found = yield Query("ledger_before", {"schedule_key": key, "before": at + 1})
    row = LedgerRow._make(found[0]) if found else None
    run = (yield from get_run(namespace, row.id)) if row and row.last_at >= at else None
    # A one-shot of the past that was accepted lies before the change that brought it.
    revision = run.run.revision if run and run.run.nominal_at == at else 0
    defined = yield from _last(key, at, ("created", "updated"))
    number = revision or (defined.revision if defined else 1)
    definition = yield Query("definition_of", {"schedule_key": key, "revision": number})
    return Episode(
        now=instant,
        schedule=schedule,
        definition=definition[0][0] if definition else schedule.definition,
        revisions=revisions,
        defined=defined,
        paused=(yield from _last(key, at, ("paused", "resumed"))),
        row=row,
        run=run,
        blocker=(yield from _blocker(run)),
        beside=(yield from _beside(key, at)),
        complete_from=floor,
        zoned_from=_zoned_from(facts, tzdata),
    )


def _schedule_at(namespace: str, id_: str, at: int) -> Operation[Schedule]:
    """Find the schedule that had the id at the instant, else the one that has it now, else the last that had it."""
    live = yield Query("schedules_by_id", {"namespace": namespace, "ids": [id_]})
    gone = yield Query("deleted_schedules_of_id", {"namespace": namespace, "id": id_, "limit": MOST_LIVES})
    lives = [with_open_run(row)[0] for row in (*live, *gone)]
    if not lives:
        raise no_such_schedule(id_)
    return next((schedule for schedule in lives if schedule.created_at <= at), lives[0])


def _last(schedule_key: int, before: int, verbs: Iterable[str]) -> Operation[Revision | None]:
    params = {"schedule_key": schedule_key, "before": before, "verbs": list(verbs)}
    rows = yield Query("last_revision_of", params)
    return Revision._make(rows[0]) if rows else None


def _blocker(run: RunRecord | None) -> Operation[RunRow | None]:
    if run is None or run.run.reason != "overlap":
        return None
    row = run.run
    params = {"schedule_key": row.schedule_key, "before": row.nominal_at, "at": row.queued_at}
    found = yield Query("run_open_at", params)
    return RunRow._make(found[0]) if found else None


def _beside(schedule_key: int, at: int) -> Operation[list[RunRow]]:
    begin = at // SECOND * SECOND
    params = {"schedule_key": schedule_key, "from": begin, "until": begin + SECOND, "limit": MOST_BESIDE}
    return [RunRow._make(row) for row in (yield Query("runs_beside", params))]


def raise_floors(deleted: Sequence[Row]) -> Operation[None]:
    """Keep what the deletion of (schedule key, backfill id, last nominal time) rows leaves complete."""
    floors: dict[int, int] = {}
    for schedule_key, backfill_id, last_at in deleted:
        if backfill_id == "":
            floors[schedule_key] = max(floors.get(schedule_key, 0), last_at + 1)
    yield Batch("raise_floors", [{"schedule_key": k, "complete_from": at} for k, at in sorted(floors.items())])
