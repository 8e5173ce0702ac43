"""Audits ledgers on request: what should have fired against what is recorded."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from backend.engine.auditor import Audit, Bookmark
from backend.errors import FieldProblem, Refused
from backend.model.instants import rfc3339
from backend.service.cursors import read_cursor, write_cursor
from backend.service.views import View
from backend.store.port import NamespaceStore

MOST_OCCURRENCES = 20_000
"""Compared per request; the rest is for the next page."""
WHOLE = -1


class MissingView(View):
    """An occurrence without a record, or how many fewer a range row counts than there were."""

    schedule_id: str
    nominal_time: str
    count: int


class DoubledView(View):
    """A record without an occurrence of its own, or how many more a range row counts than there were."""

    schedule_id: str
    nominal_time: str
    count: int
    run_id: str
    why: str


class UnverifiedView(View):
    """A schedule of which not all could be compared."""

    schedule_id: str
    why: str


class AuditView(View):
    """Expected against recorded occurrences. Of each finding the first hundred are named."""

    from_: str = Field(alias="from", serialization_alias="from")
    to: str
    ledger_from: str = Field(description="There is no ledger before.")
    schedules: int
    expected: int
    recorded: int
    missing_count: int
    doubled_count: int
    unverified_count: int
    missing: list[MissingView]
    doubled: list[DoubledView]
    unverified: list[UnverifiedView]
    next_cursor: str | None = Field(description="The rest is on the next page; add up. Null on the last.")


@dataclass(frozen=True, slots=True)
class Audits:
    """Audits of one namespace."""

    store: NamespaceStore

    async def audit(
        self, schedule_id: str | None, from_at: int | None, to_at: int | None, cursor: str | None
    ) -> AuditView:
        """Compare one page of one schedule, or all: nominal times from `from_at` to before `to_at`."""
        history = self.store.history()
        began_at, now = await history.ledger_from(), await history.now()
        # The end of the first page holds for all: what comes meanwhile belongs to another audit.
        place, end = _place(cursor, min(to_at or now + 1, now + 1))
        _check_range(from_at, to_at, now)
        begin = max(from_at or 0, began_at)
        audit = Audit(history, begin, end - 1, left=MOST_OCCURRENCES)
        following = await self._one(audit, schedule_id, place) if schedule_id else await self._all(audit, place)
        return _view(audit, began_at, following)

    async def _one(self, audit: Audit, schedule_id: str, place: Bookmark) -> Bookmark | None:
        key = place.key or (await self.store.schedule(schedule_id)).schedule.key
        return await audit.one(Bookmark(key, place.at))

    async def _all(self, audit: Audit, place: Bookmark) -> Bookmark | None:
        following: Bookmark | None = place
        while following is not None and audit.left > 0:
            following = await audit.batch(following)
        return following


def _check_range(from_at: int | None, to_at: int | None, now: int) -> None:
    if from_at is None:
        return
    if from_at > now:
        rule = f"{rfc3339(from_at)} is to come; an audit is of what is over"
        raise Refused([FieldProblem("from", rule, f"give at most {rfc3339(now)}")])
    if to_at is not None and to_at <= from_at:
        raise Refused([FieldProblem("to", "it is not after from", "give a later end")])


def _place(cursor: str | None, end: int) -> tuple[Bookmark, int]:
    read = read_cursor(cursor, int, int, int)
    if read is None:
        return Bookmark(), end
    key, at, fixed_end = map(int, read)
    return Bookmark(key, None if at == WHOLE else at), fixed_end


def _view(audit: Audit, began_at: int, following: Bookmark | None) -> AuditView:
    found, end = audit.found, audit.until_at + 1
    cursor = None
    if following is not None:
        cursor = write_cursor(following.key, WHOLE if following.at is None else following.at, end)
    return AuditView.model_validate(
        {
            "from": rfc3339(audit.from_at),
            "to": rfc3339(end),
            "ledger_from": rfc3339(began_at),
            "schedules": found.schedules,
            "expected": found.expected,
            "recorded": found.recorded,
            "missing_count": found.missing_count,
            "doubled_count": found.doubled_count,
            "unverified_count": found.unverified_count,
            "missing": [
                MissingView(schedule_id=m.schedule_id, nominal_time=rfc3339(m.nominal_at), count=m.number)
                for m in found.missing
            ],
            "doubled": [
                DoubledView(
                    schedule_id=d.schedule_id,
                    nominal_time=rfc3339(d.nominal_at),
                    count=d.number,
                    run_id=d.run_id,
                    why=d.why,
                )
                for d in found.doubled
            ],
            "unverified": [UnverifiedView(schedule_id=id_, why=why) for id_, why in found.unverified],
            "next_cursor": cursor,
        }
    )
