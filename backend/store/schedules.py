"""Transactions on schedules of one namespace: all or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from backend.errors import NotFound
from backend.model.change import Change, Moment, Revise
from backend.model.limits import NO_LIMITS
from backend.model.plan import Standing
from backend.model.schedule import Schedule, ScheduleState
from backend.store.audit_log import note, schedule_entries
from backend.store.namespaces import hold_namespace
from backend.store.operation import Batch, Operation, Query, Row, now, think
from backend.store.planning import drop_waiting, settle_schedules, standing, write_plans
from backend.store.quotas import check_schedules, limits_of
from backend.store.secrets import known_secrets

_FIELDS = len(Schedule._fields)
LONGEST_WALK = 20_000
"""Schedules that are looked at for one page where no index serves the filter."""


LONG = 20_000
"""Characters of a definition that take long to write into the log."""


READ_FIRST, READ_AT_ONCE, LONGEST_PAGE = 10, 60, 4 * 2**20
"""Schedules that are read at a time, as long as it is not known how long they are and then; characters after which a
page ends early."""
_KEY = Schedule._fields.index("key")
_LONG = [Schedule._fields.index(name) for name in ("definition", "triggers", "note", "error")]


class DryRun(Exception):
    """Carries the result of a transaction out of it, and by being raised undoes it."""

    def __init__(self, changes: Sequence[Change]) -> None:
        super().__init__("dry run")
        self.changes = changes


class Wish(NamedTuple):
    """Which schedules are to change, and how that is decided."""

    ids: Sequence[str]
    revise: Revise
    source: str | None = None
    """With `drop`: schedules that this source made and that are not among `ids` are dropped."""
    drop: Revise | None = None
    dry_run: bool = False
    calendars: Sequence[str] | None = ()
    """The named calendars that deciding needs; None: all of the namespace."""
    secrets: Sequence[str] | None = ()
    """The secrets that deciding has to know of; None: all of the namespace."""


def change_schedules(namespace: str, store_id: str, wish: Wish) -> Operation[list[Change]]:
    """Decide and write all changes; the first that is refused undoes them all."""
    yield from hold_namespace(namespace)
    gone = yield from _ids_to_drop(namespace, wish)
    current = yield from _current(namespace, [*wish.ids, *gone])
    days = yield from calendar_days(namespace, wish.calendars)
    # The clock is read when nobody else is at these schedules any more: nothing has happened to them after `now`.
    secrets = yield from known_secrets(namespace, wish.secrets)
    limits = (yield from limits_of([namespace])).get(namespace, NO_LIMITS)
    moment = Moment((yield from now()), store_id, calendars=days, secrets=secrets, limits=limits)
    yield from think()
    changes = _decide(wish.ids, wish.revise, current, moment)
    if wish.drop is not None:
        changes += _decide(gone, wish.drop, current, moment)
    kinds = {one.schedule.key: one.schedule.target_kind for one in current.values()}
    yield from check_schedules(namespace, limits, changes)
    written = yield from write_changes(changes, moment.now)
    yield from _retarget(changes, kinds)
    before = {id_: one.schedule for id_, one in current.items()}
    if any(len(change.schedule.definition) > LONG for change in written):
        yield from think()
    yield from note(schedule_entries(written, before), moment.now)
    if wish.dry_run:
        raise DryRun(written)
    return written


class Seen(NamedTuple):
    """A change of one schedule, and the schedule as it is then."""

    change: Change
    listed: Listed


def change_and_see(namespace: str, store_id: str, wish: Wish) -> Operation[Seen]:
    """Decide and write the change of one schedule, and read what became of it."""
    [change] = yield from change_schedules(namespace, store_id, wish)
    if change.verb == "created":
        return Seen(change, Listed(change.schedule, None))  # it has no runs yet
    return Seen(change, (yield from get_schedule(namespace, change.schedule.id)))


def calendar_days(namespace: str, ids: Sequence[str] | None) -> Operation[Mapping[str, str]]:
    """Read the days of these named calendars, or of all: JSON lists of dates by id. Unknown ones are left out."""
    if ids is not None and not ids:
        return {}
    rows = yield Query("calendar_days", {"namespace": namespace, "ids": None if ids is None else list(ids)})
    return {row[0]: row[1] for row in rows}


def _ids_to_drop(namespace: str, wish: Wish) -> Operation[list[str]]:
    if wish.drop is None:
        return []
    made = yield Query("ids_from_source", {"namespace": namespace, "source": wish.source})
    kept = set(wish.ids)
    return [row[0] for row in made if row[0] not in kept]


def _current(namespace: str, ids: Sequence[str]) -> Operation[Mapping[str, Standing]]:
    rows = (yield Query("schedules_by_id", {"namespace": namespace, "ids": list(ids)})) if ids else []
    return {one.schedule.id: one for one in map(standing, rows)}


def _decide(ids: Sequence[str], revise: Revise, current: Mapping[str, Standing], moment: Moment) -> list[Change]:
    changes = []
    for id_ in ids:
        known = current.get(id_)
        schedule, busy, buffered = (known.schedule, known.open_run, known.buffered) if known else (None, False, 0)
        changes.append(revise(id_, schedule, busy, moment._replace(buffered=buffered) if buffered else moment))
    return changes


def write_changes(changes: Sequence[Change], instant: int) -> Operation[list[Change]]:
    """Write what has been decided; answers the changes with the keys of what was created."""
    changed = [change for change in changes if change.verb not in {"created", "unchanged"}]
    yield from write_plans([plan for change in changed for plan in change.planned], instant)
    yield Batch("update_schedules", [change.schedule._asdict() for change in changed])
    for change in changed:
        if change.replan_paused_after is not None:
            after = {"schedule_key": change.schedule.key, "after": change.replan_paused_after}
            yield Query("forget_paused", after)
    created = [change for change in changes if change.verb == "created"]
    rows = yield Batch("insert_schedules", [change.schedule._asdict() for change in created])
    keys = {(row[1], row[2]): row[0] for row in rows}
    written = [_with_key(change, keys) for change in changes]
    yield from _write_around(written, instant)
    return written


def _retarget(changes: Sequence[Change], kinds: Mapping[int, str]) -> Operation[None]:
    schedules = [change.schedule for change in changes if change.verb not in {"created", "unchanged"}]
    if moved := sorted(s.key for s in schedules if s.target_kind != kinds.get(s.key)):
        yield Query("retarget_runs", {"schedule_keys": moved})


def _with_key(change: Change, keys: Mapping[tuple[str, str], int]) -> Change:
    if change.verb != "created":
        return change
    schedule = change.schedule
    return change._replace(schedule=schedule._replace(key=keys[schedule.namespace, schedule.id]))


def _write_around(changes: Sequence[Change], instant: int) -> Operation[None]:
    touched = [change for change in changes if change.verb != "unchanged"]
    yield Batch("insert_revisions", [_revision_row(change) for change in touched])
    tagged = [change for change in touched if change.tags is not None]
    if replaced := [change.schedule.key for change in tagged if change.verb != "created"]:
        yield Query("delete_tags", {"schedule_keys": replaced})
    yield Batch("insert_tags", [_tag_row(change, tag) for change in tagged for tag in change.tags or ()])
    yield from drop_waiting((c.schedule.key for c in touched if c.verb == "deleted"), instant)
    yield from settle_schedules((c.schedule.key for c in touched if c.verb != "created"), instant)


def _revision_row(change: Change) -> dict[str, Any]:
    schedule = change.schedule
    before = change.planned[-1].schedule if change.planned else schedule
    # What had nothing left to fire (such as after `max_runs`), or could not be planned, ended at its cursor.
    ended = before.next_nominal_at is None or before.next_nominal_at <= schedule.updated_at
    return {
        "schedule_key": schedule.key,
        "revision": schedule.revision,
        "verb": change.verb,
        "definition": schedule.definition if change.verb in {"created", "updated"} else None,
        "triggers": schedule.triggers,
        "state": schedule.state,
        "note": schedule.note,
        "effective_at": schedule.effective_at,
        "cursor_at": schedule.cursor_at,
        # Not before its cursor: the clock may have gone back since the last occurrence was planned.
        "planned_to_at": before.cursor_at if ended else max(before.cursor_at, schedule.updated_at),
        "changed_at": schedule.updated_at,
        "changed_by": change.by,
    }


def _tag_row(change: Change, tag: str) -> dict[str, Any]:
    return {"namespace": change.schedule.namespace, "tag": tag, "schedule_key": change.schedule.key}


class LastRun(NamedTuple):
    """The newest occurrence of a schedule that became a run."""

    schedule_key: int
    id: str
    state: str
    nominal_at: int


class Listed(NamedTuple):
    """A schedule as a person sees it."""

    schedule: Schedule
    last_run: LastRun | None


class ScheduleFilter(NamedTuple):
    """Which schedules to list; None does not count. `tag` is `name:value`, `q` part of the id or name."""

    state: str | None = None
    owner: str | None = None
    name: str | None = None
    target: str | None = None
    due_before: int | None = None
    tag: str | None = None
    q: str | None = None


def list_schedules(namespace: str, wanted: ScheduleFilter, *, after: int, limit: int) -> Operation[list[Listed]]:
    """Read one page of schedules in order of creation."""
    params = {**wanted._asdict(), "namespace": namespace, "after": after, "limit": limit}
    rows = yield Query(_list_of(wanted), params)
    return (yield from _listed(rows))


def page_schedules(
    namespace: str, wanted: ScheduleFilter, *, after: int, limit: int
) -> Operation[tuple[list[Listed], int | None]]:
    """Read one page, and the key after which the next begins.

    A page may end early: no walk is without bound, and a definition may have 1 MiB.
    """
    name = _list_of(wanted)
    params = {**wanted._asdict(), "namespace": namespace, "after": after}
    until = None
    if name == "list_schedules" and (wanted.q, wanted.target, wanted.due_before) != (None, None, None):
        bound = yield Query("schedules_bound", {"namespace": namespace, "after": after, "walk": LONGEST_WALK})
        if bound and bound[0][0] is not None:
            name, until = "list_schedules_within", bound[0][0]
    page: list[Row] = []
    size = 0
    while True:
        fit = (LONGEST_PAGE - size) * len(page) // size + 1 if page else READ_FIRST
        asked = min(fit, READ_AT_ONCE, limit + 1 - len(page))
        rows = yield Query(name, {**params, "until": until, "limit": asked})
        for row in rows:
            size += sum(len(row[place] or "") for place in _LONG)
            if page and (len(page) == limit or size > LONGEST_PAGE):
                return (yield from _listed(page)), page[-1][_KEY]
            page.append(row)
        if len(rows) < asked:
            return (yield from _listed(page)), until
        params["after"] = page[-1][_KEY]


def _list_of(wanted: ScheduleFilter) -> str:
    """Name the list that walks the shortest index; the other filters hold as well."""
    if wanted.owner is not None:
        return "list_schedules_of_owner"
    if wanted.name is not None:
        return "list_schedules_named"
    if wanted.tag is not None:
        return "list_schedules_of_tag"
    at_rest = wanted.state is not None and wanted.state != ScheduleState.ACTIVE
    return "list_schedules_at_rest" if at_rest else "list_schedules"


def get_schedule(namespace: str, id_: str) -> Operation[Listed]:
    """Read one schedule; NotFound if there is none."""
    rows = yield Query("schedule_by_id", {"namespace": namespace, "id": id_})
    if not rows:
        raise no_such_schedule(id_)
    return (yield from _listed(rows))[0]


def _listed(rows: Sequence[Row]) -> Operation[list[Listed]]:
    schedules = [Schedule._make(row[:_FIELDS]) for row in rows]
    last = yield Query("last_runs", {"schedule_keys": [schedule.key for schedule in schedules]})
    by_key = {row[0]: LastRun._make(row) for row in last}
    return [Listed(schedule, by_key.get(schedule.key)) for schedule in schedules]


def no_such_schedule(id_: str) -> NotFound:
    """Word the answer to a question about a schedule that is not there."""
    return NotFound(f"there is no schedule {id_!r} in this namespace")
