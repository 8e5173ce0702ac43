"""Use cases on the schedules of one namespace."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from backend.engine.definition import ScheduleDefinition, load_definition
from backend.engine.plan import delay_of
from backend.errors import Conflict, FieldError, FieldProblem, Refused
from backend.events import Events, ScheduleChanged, SchedulesChanged
from backend.model.change import Change, Moment
from backend.model.ids import uuid7
from backend.model.schedule import Schedule, ScheduleState
from backend.service import drafts
from backend.service.cursors import read_cursor, write_cursor
from backend.service.default_zone import RULES, zoned
from backend.service.drafts import Draft
from backend.service.references import secrets_of
from backend.service.rules import rules_in
from backend.service.summaries import summary_of
from backend.service.times import upcoming
from backend.service.timings import calendars_of
from backend.service.validation import MOST_PROBLEMS, check_text, joined, parse
from backend.service.views import OccurrenceView, schedule_view
from backend.store.keyring import KeyRing
from backend.store.port import NamespaceStore
from backend.store.repeats import Show, shown
from backend.store.schedules import Listed, ScheduleFilter, Wish, no_such_schedule
from backend.store.wakeup import is_near
from backend.targets.base import TargetRules

MOST_IN_A_BATCH = 10_000
LIGHT_VALUES, LIGHT_TEXT, LIGHT_RULES, LIGHT_TIMING = 200, 20_000, 2, 500
"""Names and values of a definition, their characters, its rules, and characters of its stored timing, that are read
within a few milliseconds."""
FACTS_EACH = 100
"""Changes at once that are told one by one; more are told as one fact."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What use cases are given by the wiring."""

    rules: TargetRules
    events: Events
    defaults: Mapping[str, Any]
    """What a definition gets where it says nothing: `retry`."""
    wake_engine: Callable[[], None]
    wake_workers: Callable[[], None]
    check_leases: Callable[[], None]
    entropy: Callable[[int], bytes]
    ring: KeyRing = field(default_factory=KeyRing)
    """Encrypts secrets."""


class BatchItem(NamedTuple):
    """What applying a file did to one schedule, and what its times do that a person may not expect."""

    id: str
    change: str
    warnings: Sequence[str] = ()


class Batch(NamedTuple):
    """Definitions that are applied all or nothing. With `prune`, what the source made before and no longer has goes."""

    documents: Sequence[object]
    source: str | None = None
    prune: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Schedules:
    """The schedules of one namespace, changed in somebody's name."""

    store: NamespaceStore
    by: str
    around: Surroundings

    async def create(self, document: object, now: int) -> dict[str, Any]:
        """Create a schedule; Conflict if the id exists."""
        definition = await self._definition(document)
        id_ = definition.id or uuid7(now, self.around.entropy(10))
        wish = self._wish([Draft(_named(definition, id_), self.by, only_create=True)])
        view, _ = await self._change_one(wish, together=is_light(document))
        return view

    async def put(self, id_: str, document: object, if_match: int | None) -> tuple[dict[str, Any], str]:
        """Create or replace; answers the schedule, and `created`, `updated` or `unchanged`."""
        if isinstance(document, dict) and document.get("id") is None:
            document = {**document, "id": id_}
        definition = await self._definition(document)
        if definition.id != id_:
            raise Refused([FieldProblem("id", f"it differs from {id_!r} in the path", "leave it out or repeat it")])
        view, change = await self._change_one(self._wish([Draft(definition, self.by, if_match=if_match)]))
        return view, change.verb

    async def _definition(self, document: object) -> ScheduleDefinition:
        zoned_document = (await zoned(self.store, [document]))[0]
        rules = await self._rules()
        if is_light(document):
            return self._read(zoned_document, rules)
        return await asyncio.to_thread(self._read, zoned_document, rules)

    async def apply(self, batch: Batch) -> list[BatchItem]:
        """Create or replace all, or none; answers what happened to each."""
        # Reading thousands takes a second, in which the event loop has schedules to fire.
        documents = await zoned(self.store, batch.documents)
        wish = await asyncio.to_thread(self._read_batch, batch, documents, await self._rules())
        return await asyncio.to_thread(_items, await self.change(wish, shown(_items)))

    def _read_batch(self, batch: Batch, documents: Sequence[object], rules: TargetRules) -> Wish:
        puts = [
            Draft(definition, self.by, f"schedules[{n}]", batch.source, refers=bool(secrets_of([definition])))
            for n, definition in enumerate(self._read_all(documents, rules))
        ]
        return self._wish(puts, prune_source=batch.source if batch.prune else None, dry_run=batch.dry_run)

    def _read_all(self, documents: Sequence[object], rules: TargetRules) -> list[ScheduleDefinition]:
        read: list[ScheduleDefinition] = []
        problems: list[FieldProblem] = []
        for n, document in enumerate(documents):
            try:
                read.append(self._read(document, rules, f"schedules[{n}]"))
            except Refused as refused:
                problems += refused.problems
        if problems:
            raise Refused(problems[:MOST_PROBLEMS])
        _refuse_doubles(read)
        return read

    async def patch(self, id_: str, patch: object, if_match: int | None) -> dict[str, Any]:
        """Change some fields by an RFC 7396 merge patch."""
        if not isinstance(patch, dict):
            raise Refused([FieldProblem("body", "a merge patch is an object", "give the fields to change")])
        check_text(patch)
        rules = await self._rules()
        zoned_patch = (await zoned(self.store, [patch]))[0]

        def revise(_: str, current: Schedule | None, open_run: bool, moment: Moment) -> Change:  # noqa: FBT001
            if current is None:
                raise no_such_schedule(id_)
            merged = _merge(_stored(current), zoned_patch)
            if merged.get("id") != id_:
                raise Refused([FieldProblem("id", "an id cannot change", "leave it out")])
            if patch.get("state", current.state) != current.state:
                raise Refused([FieldProblem("state", "it does not change by a patch", "POST …/pause or …/resume")])
            draft = Draft(self._read(merged, rules), self.by, if_match=if_match)
            return drafts.revise(draft, current, moment, open_run=open_run)

        view, _ = await self._change_one(Wish([id_], revise, calendars=None, secrets=None))
        return view

    async def get(self, id_: str) -> dict[str, Any]:
        """Show one schedule, or raise NotFound."""
        return await _shown(await self.store.schedule(id_))

    async def page(
        self, wanted: ScheduleFilter, *, cursor: str | None, limit: int
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Show one page in order of creation, which may end early, and the cursor of the next."""
        place = read_cursor(cursor, int)
        page, following = await self.store.schedules_page(wanted, after=int(place[0]) if place else 0, limit=limit)
        views = await asyncio.to_thread(lambda: [schedule_view(one) for one in page])
        return views, None if following is None else write_cursor(following)

    async def delete(self, id_: str, if_match: int | None) -> None:
        """Delete a schedule; its runs stay in the ledger."""
        await self.change(self._revision(id_, drafts.delete, if_match))

    async def pause(self, id_: str, note: str, if_match: int | None) -> dict[str, Any]:
        """Stop firing, with a note that says why."""
        view, _ = await self._change_one(
            self._revision(
                id_,
                lambda current, by, moment, *, open_run: drafts.pause(current, note, by, moment, open_run=open_run),
                if_match,
            )
        )
        return view

    async def resume(self, id_: str, if_match: int | None, *, catch_up: bool) -> dict[str, Any]:
        """Fire again; with `catch_up`, the misfire policy decides about the pause."""
        view, _ = await self._change_one(
            self._revision(
                id_,
                lambda current, by, moment, *, open_run: drafts.resume(
                    current, by, moment, open_run=open_run, catch_up=catch_up
                ),
                if_match,
            )
        )
        return view

    async def upcoming(self, id_: str, now: int, count: int) -> list[OccurrenceView]:
        """List the next times of a schedule: none of a completed one, of one with `max_runs` as many as are left."""
        schedule = (await self.store.schedule(id_)).schedule
        left = count if schedule.max_runs is None else min(count, schedule.max_runs - schedule.runs_made)
        if schedule.state == ScheduleState.COMPLETED or left < 1:
            return []
        after = max(now, schedule.cursor_at)

        def look() -> list[OccurrenceView]:
            try:
                return upcoming(
                    schedule.triggers,
                    after=after,
                    effective_at=schedule.effective_at,
                    count=left,
                    delay=delay_of(schedule),
                )
            except FieldError as error:
                raise Conflict(f"the next times of {id_!r} are out of reach: {error}") from None
            except ValueError:
                raise Conflict(f"the stored triggers of {id_!r} cannot be read; PUT a whole definition") from None

        # A thousand times of twenty rules take a third of a second, in which the event loop has schedules to fire.
        return await asyncio.to_thread(look)

    async def _rules(self) -> TargetRules:
        return await rules_in(self.store, self.around.rules)

    def _read(self, document: object, rules: TargetRules, at: str = "") -> ScheduleDefinition:
        definition = parse(ScheduleDefinition, self._with_defaults(document), at=at)
        if definition.namespace != self.store.namespace:
            rule = f"the namespace {definition.namespace!r} is not the one of this request"
            raise Refused([FieldProblem(joined(at, "namespace"), rule, f"use {self.store.namespace!r}")])
        try:
            definition.target.check(rules)
        except FieldError as error:
            field = joined(joined(at, "target"), error.field)
            raise Refused([FieldProblem(field, error.rule, error.fix)]) from None
        return definition

    def _with_defaults(self, document: object) -> object:
        if not isinstance(document, dict):
            return document
        document = {"namespace": self.store.namespace, **document}
        retry: object = document.get("retry", {})
        return document | {"retry": {**self.around.defaults["retry"], **retry}} if isinstance(retry, dict) else document

    def _wish(self, puts: Sequence[Draft], *, prune_source: str | None = None, dry_run: bool = False) -> Wish:
        by_id = {str(draft.definition.id): draft for draft in puts}

        def revise(id_: str, current: Schedule | None, open_run: bool, moment: Moment) -> Change:  # noqa: FBT001
            return drafts.revise(by_id[id_], current, moment, open_run=open_run)

        def drop(id_: str, current: Schedule | None, open_run: bool, moment: Moment) -> Change:  # noqa: FBT001
            assert current is not None, id_
            return drafts.delete(current, self.by, moment, open_run=open_run)

        drops = drop if prune_source else None
        calendars = calendars_of(one for draft in puts for one in draft.definition.exclusions)
        secrets = secrets_of(draft.definition for draft in puts if draft.refers)
        return Wish(list(by_id), revise, prune_source, drops, dry_run, calendars, secrets)

    def _revision(self, id_: str, change: Callable[..., Change], if_match: int | None) -> Wish:
        def revise(_: str, current: Schedule | None, open_run: bool, moment: Moment) -> Change:  # noqa: FBT001
            if current is None:
                raise no_such_schedule(id_)
            drafts.check_revision(current, if_match)
            return change(current, self.by, moment, open_run=open_run)

        return Wish([id_], revise)

    def _tell(self, changes: Sequence[Change]) -> None:
        if len(changes) > FACTS_EACH:
            verbs = Counter(change.verb for change in changes)
            self.around.events.emit(SchedulesChanged(self.store.namespace, dict(verbs), self.by))
            return
        for change in changes:
            fact = ScheduleChanged(change.schedule.namespace, change.schedule.id, change.verb, self.by)
            self.around.events.emit(fact)

    async def change(self, wish: Wish, show: Show[list[Change]] | None = None) -> list[Change]:
        """Decide and write changes, tell of them, and wake whom they concern."""
        changes = await self.store.change(wish, show or shown(len))
        if not wish.dry_run:
            self._wake(changes)
        return changes

    async def _change_one(self, wish: Wish, *, together: bool = False) -> tuple[dict[str, Any], Change]:
        """Decide and write a change of one schedule; shows the schedule as it is then."""
        alone = not together or wish.calendars or wish.secrets
        write = self.store.change_one if alone else self.store.create_one
        change, listed = await write(wish, shown(lambda seen: schedule_view(seen.listed)))
        self._wake([change])
        return await _shown(listed), change

    def _wake(self, changes: Sequence[Change]) -> None:
        self._tell([change for change in changes if change.verb != "unchanged"])
        if any(is_near(change.schedule.next_scheduled_at, change.schedule.updated_at) for change in changes):
            self.around.wake_engine()
        if any(plan.displaces for change in changes for plan in change.planned):
            self.around.check_leases()


def is_light(document: object) -> bool:
    """Tell whether a definition is read in less time than a thread takes to do it: a few rules, a few dozen values."""
    level, seen, text = [document], 0, 0
    while level and seen <= LIGHT_VALUES and text <= LIGHT_TEXT:
        seen += len(level)
        text += sum(len(value) for value in level if isinstance(value, str))
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in ((*value, *value.values()) if isinstance(value, dict) else value)
        ]
    rules = [document.get(name) for name in RULES] if isinstance(document, dict) else []
    few = sum(len(some) for some in rules if isinstance(some, list)) <= LIGHT_RULES
    return few and not level and text <= LIGHT_TEXT


async def _shown(listed: Listed) -> dict[str, Any]:
    # After a restart, reading twenty rules and a hundred exclusions again takes 100 ms.
    if len(listed.schedule.triggers) <= LIGHT_TIMING:
        return schedule_view(listed)
    return await asyncio.to_thread(schedule_view, listed)


def _items(changes: Sequence[Change]) -> list[BatchItem]:
    return list(map(_item, changes))


def _item(change: Change) -> BatchItem:
    if change.verb in {"created", "updated"}:
        return BatchItem(change.schedule.id, change.verb, summary_of(change.schedule.triggers).warnings)
    return BatchItem(change.schedule.id, change.verb)


def _named(definition: ScheduleDefinition, id_: str) -> ScheduleDefinition:
    return definition.model_copy(update={"id": id_})


def _refuse_doubles(read: Sequence[ScheduleDefinition]) -> None:
    seen: set[str] = set()
    for place, definition in enumerate(read):
        field = f"schedules[{place}].id"
        if definition.id is None:
            raise Refused([FieldProblem(field, "a schedule in a batch needs an id", "give each its own")])
        if definition.id in seen:
            raise Refused([FieldProblem(field, f"the id {definition.id!r} stands twice", "give each its own")])
        seen.add(definition.id)


def _stored(current: Schedule) -> dict[str, Any]:
    try:
        return load_definition(current.definition).model_dump(mode="json")
    except ValueError as error:
        raise Conflict(f"the stored definition cannot be read ({error}); PUT a whole one") from error


def _merge(target: Any, patch: Any) -> Any:  # noqa: ANN401 - JSON
    """Apply a merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name), value)
    return merged
