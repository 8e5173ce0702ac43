"""What can be asked about schedules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from backend.client import readers
from backend.client.flow import Call, Listing
from backend.client.meant import Draft, Moment, document, instant, matching, written
from backend.client.operation import Speaking, operation, walk
from backend.client.runs import RunFilters, run_query
from backend.client.wire import Json, Query, Request

if TYPE_CHECKING:
    from backend.service.backfill import BackfillView
    from backend.service.explain_views import ExplanationView
    from backend.service.views import BatchView, OccurrenceView, Page, RunView, ScheduleView

LONG = 300.0
"""Seconds that the server may need for thousands of schedules."""


class ScheduleFilters(TypedDict, total=False):
    """Which schedules: `tag` is `name:value`, `target` a kind, `q` a part of id or name."""

    state: str | None
    tag: str | None
    target: str | None
    owner: str | None
    name: str | None
    due_before: Moment | None
    q: str | None


class Schedules(Speaking):
    """Schedules: when something runs, what it is, and what becomes of it.

    `revision` is the one that a schedule must still have: `PreconditionFailed` when it has another.
    """

    @operation
    def create_schedule(self, definition: Draft) -> Call[ScheduleView]:
        """Create a schedule; Conflict when the id exists."""
        return Call(_post(body=document(definition)), readers.reading(readers.schedule))

    @operation
    def put_schedule(self, id: str, definition: Draft, *, revision: int | None = None) -> Call[ScheduleView]:
        """Create or replace a schedule under a chosen id; an unchanged definition changes nothing."""
        request = _at("PUT", id, body=document(definition), headers=matching(revision))
        return Call(request, readers.reading(readers.schedule))

    @operation
    def get_schedule(self, id: str) -> Call[ScheduleView]:
        """Show a schedule."""
        return Call(_at("GET", id), readers.reading(readers.schedule))

    @operation
    def patch_schedule(self, id: str, changes: Mapping[str, Any], *, revision: int | None = None) -> Call[ScheduleView]:
        """Change some fields: None removes one, mappings are merged, lists are replaced."""
        request = _at("PATCH", id, body=written(changes), headers=matching(revision))
        return Call(request, readers.reading(readers.schedule))

    @operation
    def delete_schedule(self, id: str, *, revision: int | None = None) -> Call[None]:
        """Delete a schedule; its runs stay in the ledger."""
        return Call(_at("DELETE", id, headers=matching(revision)), readers.nothing)

    @operation
    def list_schedules(
        self, *, limit: int = 50, cursor: str | None = None, **filters: Unpack[ScheduleFilters]
    ) -> Call[Page[ScheduleView]]:
        """Read one page of schedules, in order of creation."""
        query = {**_query(filters), "limit": limit, "cursor": cursor}
        return Call(_get(query=query), readers.page_of(readers.schedule))

    @walk
    def iterate_schedules(
        self, *, limit: int | None = None, **filters: Unpack[ScheduleFilters]
    ) -> Listing[ScheduleView]:
        """Read all schedules that fit, in order of creation."""
        return Listing(_get(query=_query(filters)), readers.schedule, limit)

    @operation
    def apply_batch(
        self, schedules: Sequence[Draft], *, source: str | None = None, prune: bool = False, dry_run: bool = False
    ) -> Call[BatchView]:
        """Create or replace up to 10,000 schedules by id, all or nothing.

        With `prune`, those that the same source made before and no longer has are deleted.
        """
        body = {"schedules": [document(one) for one in schedules], "source": source, "prune": prune, "dry_run": dry_run}
        request = Request(method="POST", path=("schedules", "batch"), body=body, timeout=LONG)
        return Call(request, readers.reading(readers.batch))

    @operation
    def pause_schedule(self, id: str, note: str = "", *, revision: int | None = None) -> Call[ScheduleView]:
        """Stop firing, with a note that says why."""
        request = _at("POST", id, "pause", body={"note": note}, headers=matching(revision))
        return Call(request, readers.reading(readers.schedule))

    @operation
    def resume_schedule(self, id: str, *, catch_up: bool = False, revision: int | None = None) -> Call[ScheduleView]:
        """Fire again; nothing is caught up unless asked."""
        request = _at("POST", id, "resume", body={"catch_up": catch_up}, headers=matching(revision))
        return Call(request, readers.reading(readers.schedule))

    @operation
    def pause_schedules(
        self, filter: Mapping[str, Any], note: str = "", *, dry_run: bool = False, cursor: str | None = None
    ) -> Call[Json]:
        """Pause all schedules that fit a filter, such as `{"tag": "team:growth"}`, as for maintenance; {} fits all.

        Go on at the answer's `next_cursor`, if it has one.
        """
        body = _many(filter, dry_run=dry_run, cursor=cursor) | {"note": note}
        return Call(_at("POST", "pause", body=body), readers.reading(readers.raw))

    @operation
    def resume_schedules(
        self,
        filter: Mapping[str, Any],
        *,
        note: str | None = None,
        catch_up: bool = False,
        dry_run: bool = False,
        cursor: str | None = None,
    ) -> Call[Json]:
        """Resume all schedules that fit a filter and were paused by a person, or with this very note; {} fits all."""
        body = _many(filter, dry_run=dry_run, cursor=cursor) | {"note": note, "catch_up": catch_up}
        return Call(_at("POST", "resume", body=body), readers.reading(readers.raw))

    @operation
    def trigger_schedule(self, id: str, input: Mapping[str, Any] | None = None) -> Call[RunView]:
        """Run a schedule now, beside its own times; the input goes over the schedule's own."""
        return Call(_at("POST", id, "trigger", body={"input": written(input or {})}), readers.reading(readers.run))

    @operation
    def backfill_schedule(
        self, id: str, from_: Moment, to: Moment, *, overlap_policy: str = "buffer_all", dry_run: bool = False
    ) -> Call[BackfillView]:
        """Run the past occurrences from `from_` until before `to`; a dry run only says which."""
        span = {"from": instant(from_), "to": instant(to)}
        body = {**span, "overlap_policy": overlap_policy, "dry_run": dry_run}
        return Call(_at("POST", id, "backfill", body=body), readers.reading(readers.backfill))

    @operation
    def list_upcoming(self, id: str, count: int = 10) -> Call[list[OccurrenceView]]:
        """List the next times of a schedule, up to 1,000."""
        return Call(_at("GET", id, "upcoming", query={"count": count}), readers.items_of(readers.occurrence))

    @operation
    def explain_instant(self, id: str, at: Moment) -> Call[ExplanationView]:
        """Say why a schedule did, did not, will or will not fire then; text without an offset is local time there."""
        return Call(_at("GET", id, "explain", query={"at": instant(at)}), readers.reading(readers.explanation))

    @operation
    def list_schedule_runs(
        self, id: str, *, limit: int = 50, cursor: str | None = None, **filters: Unpack[RunFilters]
    ) -> Call[Page[RunView]]:
        """Read one page of a schedule's runs, newest first."""
        query = {**run_query(filters), "limit": limit, "cursor": cursor}
        return Call(_at("GET", id, "runs", query=query), readers.page_of(readers.run))

    @walk
    def iterate_schedule_runs(
        self, id: str, *, limit: int | None = None, **filters: Unpack[RunFilters]
    ) -> Listing[RunView]:
        """Read all runs of a schedule that fit, newest first."""
        return Listing(_at("GET", id, "runs", query=run_query(filters)), readers.run, limit)


def _query(filters: ScheduleFilters) -> dict[str, str | int | bool | None]:
    given: Mapping[str, Any] = filters
    return {**given, "due_before": instant(filters.get("due_before"))}


def _many(filter: Mapping[str, Any], *, dry_run: bool, cursor: str | None) -> Json:
    # The server wants it said that all are meant; an empty filter says so here.
    return {"filter": written(filter), "all": not filter, "dry_run": dry_run, "cursor": cursor}


def _get(*, query: Query) -> Request:
    return Request(method="GET", path=("schedules",), query=query)


def _post(*, body: Json) -> Request:
    return Request(method="POST", path=("schedules",), body=body)


def _at(
    method: str,
    *path: str,
    query: Query | None = None,
    body: Json | None = None,
    headers: Mapping[str, str] | None = None,
) -> Request:
    return Request(method=method, path=("schedules", *path), query=query or {}, body=body, headers=headers or {})
