"""What is worth telling people: which facts a route wants to hear of, how often, and in which words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from backend.model.ids import run_id_of
from backend.model.instants import SECOND, rfc3339

TYPE = "scheduler.notification"
DIGEST = 20
"""Schedules of one transaction that are told one by one; more are told together."""
NAMED = 100
"""Schedules that a digest names."""
LEAST_LATENESS = 10 * SECOND


class NoticeEvent(StrEnum):
    """What a route can ask to be told."""

    FAILURE = "failure"
    """A run has failed, and with it so many in a row as the route asks for; or it is dead."""
    RECOVERY = "recovery"
    """A run has succeeded after such."""
    MISSED = "missed"
    LATE = "late"
    OVERLAP = "overlap"
    """Occurrences in a row were skipped because a run was still open."""
    AUTO_PAUSE = "auto_pause"
    ERROR = "error"
    """The schedule's times cannot be planned."""


TEST = "test"
UNBRAKED = frozenset({NoticeEvent.RECOVERY, NoticeEvent.AUTO_PAUSE})
"""Told each time, however often: both come only after something else."""


class NoticeFact(NamedTuple):
    """Something that has happened to a schedule. `at` and `subject` are the same whoever notices it, and when."""

    event: NoticeEvent
    schedule_key: int
    at: int
    subject: str
    details: Mapping[str, Any]
    failures: int | None = None
    """Failed runs in a row; None where they do not count."""
    lateness: int = 0


class Match(NamedTuple):
    """A route, and a schedule that it is about. Lengths and instants in microseconds."""

    route_key: int
    route_id: str
    origin: str
    events: str
    after_failures: int
    late_by: int | None
    every: int
    schedule_key: int
    namespace: str
    schedule_id: str
    name: str
    owner: str | None

    def wants(self, event: str) -> bool:
        """Tell whether the route asks for this."""
        return event in self.events.split()


class Mark(NamedTuple):
    """When a route was last told of an event of a schedule, and whether a recovery is still to be told."""

    route_key: int
    schedule_key: int
    event: str
    sent_at: int
    is_open: int


class Notice(NamedTuple):
    """What one run is to tell: its route, what makes it the only one, and the CloudEvent."""

    route_key: int
    namespace: str
    run_id: str
    nominal_at: int
    backfill_id: str
    cloud_event: Mapping[str, Any]


class Decided(NamedTuple):
    """What is told now, and what is remembered of it."""

    notices: Sequence[Notice]
    marks: Sequence[Mark]


Marks = Mapping[tuple[int, int, str], Mark]


def decide(facts: Sequence[NoticeFact], matches: Iterable[Match], marks: Marks, instant: int) -> Decided:
    """Say what is told to whom: each route no more often than it wants, many schedules together."""
    by_schedule: dict[int, list[Match]] = {}
    for match in matches:
        by_schedule.setdefault(match.schedule_key, []).append(match)
    told: dict[tuple[int, str], list[tuple[Match, NoticeFact]]] = {}
    kept = dict(marks)
    for fact in facts:
        for match in by_schedule.get(fact.schedule_key, ()):
            mark = _mark(match, fact, kept, instant)
            if mark is None:
                continue
            kept[match.route_key, match.schedule_key, mark.event] = mark
            if match.wants(fact.event):
                told.setdefault((match.route_key, fact.event), []).append((match, fact))
    changed = [mark for place, mark in kept.items() if marks.get(place) != mark]
    return Decided([notice for pairs in told.values() for notice in _notices(pairs, instant)], changed)


def _mark(match: Match, fact: NoticeFact, marks: Marks, instant: int) -> Mark | None:
    """Say what is remembered when the route is told of this now; None: it is not."""
    if fact.event is NoticeEvent.RECOVERY:
        before = marks.get((match.route_key, match.schedule_key, NoticeEvent.FAILURE))
        # Who was not told of the failure is not told of its end.
        return before._replace(is_open=0) if before and before.is_open and match.wants(fact.event) else None
    if not _concerns(match, fact):
        return None
    last = marks.get((match.route_key, match.schedule_key, fact.event))
    if last and fact.event not in UNBRAKED and instant < last.sent_at + match.every:
        return None
    return Mark(match.route_key, match.schedule_key, fact.event, instant, int(fact.event is NoticeEvent.FAILURE))


def _concerns(match: Match, fact: NoticeFact) -> bool:
    match fact.event:
        case NoticeEvent.FAILURE:
            asked = match.wants(NoticeEvent.FAILURE) or match.wants(NoticeEvent.RECOVERY)
            return asked and (fact.failures is None or fact.failures >= match.after_failures)
        case NoticeEvent.LATE:
            return match.wants(fact.event) and match.late_by is not None and fact.lateness > match.late_by
        case _:
            return match.wants(fact.event)


def _notices(pairs: Sequence[tuple[Match, NoticeFact]], instant: int) -> list[Notice]:
    if len(pairs) <= DIGEST:
        return [_single(match, fact) for match, fact in pairs]
    return [_digest(pairs, instant)]


def _single(match: Match, fact: NoticeFact) -> Notice:
    place = f"/api/v1/schedules/{match.schedule_id}"
    data = {
        "text": text_of(fact.event, match.name, fact.details),
        "schedule_id": match.schedule_id,
        "schedule_name": match.name,
        "owner": match.owner,
        **fact.details,
    }
    if fact.event is NoticeEvent.AUTO_PAUSE:
        data["resume"] = f"POST {place}/resume?namespace={match.namespace}"
    return notice_of(match, fact.event, (fact.at, fact.subject), data, subject=match.schedule_id)


def _digest(pairs: Sequence[tuple[Match, NoticeFact]], instant: int) -> Notice:
    match, fact = pairs[0]
    ids = sorted({one.schedule_id for one, _ in pairs})
    text = f"{fact.event.replace('_', ' ')}: {len(ids)} schedules at once"
    data = {"text": text, "schedule_count": len(ids), "schedule_ids": ids[:NAMED]}
    return notice_of(match, fact.event, (instant, f"{instant}"), data)


def notice_of(
    match: Match, event: str, what: tuple[int, str], data: Mapping[str, Any], *, subject: str | None = None
) -> Notice:
    """Write a CloudEvent (1.0) whose id is that of the run which tells it; `what` makes it the only one."""
    at, name = what
    backfill_id = f"notice:{event}:{name}"
    run_id = run_id_of(f"notice/{match.origin}", at, backfill_id)
    cloud_event = {
        "specversion": "1.0",
        "id": run_id,
        "source": f"/api/v1/namespaces/{match.namespace}",
        "type": f"{TYPE}.{event}",
        **({"subject": subject} if subject else {}),
        "time": rfc3339(at),
        "datacontenttype": "application/json",
        "data": {"event": str(event), "namespace": match.namespace, "route_id": match.route_id, **data},
    }
    return Notice(match.route_key, match.namespace, run_id, at, backfill_id, cloud_event)


def text_of(event: str, name: str, details: Mapping[str, Any]) -> str:  # noqa: PLR0911 - a table, one line per event
    """Say in a sentence what has happened.

    >>> text_of("failure", "digest", {"failures": 2, "run": {"state": "failed", "error": "exit 1"}})
    'digest failed (2 in a row): exit 1'
    """
    run = details.get("run", {})
    match event:
        case NoticeEvent.FAILURE:
            failures = details.get("failures")
            row = f" ({failures} in a row)" if failures and failures > 1 else ""
            state = str(run.get("state", "failed")).replace("_", " ")
            return f"{name} {state}{row}: {run.get('error') or 'no error text'}"
        case NoticeEvent.RECOVERY:
            return f"{name} succeeded again"
        case NoticeEvent.MISSED:
            return f"{name} missed {details['count']} of its times"
        case NoticeEvent.LATE:
            return f"{name} is {details['late_seconds']} s late"
        case NoticeEvent.OVERLAP:
            return f"{name} skipped {details['count']} of its times in a row: a run is still open"
        case NoticeEvent.AUTO_PAUSE:
            return f"{name} has {details['note']}"
        case _:
            return f"{name} cannot be planned: {details['error']}"
