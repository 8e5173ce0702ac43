"""The audit log: each change has its line, written in the same transaction, and no line ever changes."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import apsw
import asyncpg
import pytest

from backend.errors import Conflict
from backend.model.ids import DEFAULT_NAMESPACE, NamespaceId
from backend.model.run import AttemptState
from backend.service import drafts
from backend.service.audit_log import VERBS, AuditLog
from backend.store import audit_log
from backend.store.audit_log import AT_ONCE, AuditFilter, AuditRow, AuditStore
from backend.store.calendars import Replacement
from backend.store.keys import NewKey, Successor
from backend.store.retention import Retention
from backend.store.schedules import Wish
from tests.store.world import World

pytestmark = pytest.mark.anyio
DAY = timedelta(days=1)


async def log(world: World, *, reach: NamespaceId | None = DEFAULT_NAMESPACE, **wanted: Any) -> list[AuditRow]:
    """Read the whole log, oldest first."""
    page = await world.store.audit(reach).page(AuditFilter(**wanted), after=None, limit=10_000)
    assert page.following is None
    return page.rows[::-1]


def told(rows: list[AuditRow]) -> list[tuple[str, str, str]]:
    return [(row.kind, row.object_id, row.verb) for row in rows]


async def test_every_change_of_a_schedule_has_a_line_with_what_differs(world: World) -> None:
    await world.put()
    world.clock.go(seconds=1)
    await world.put(owner="ann")
    await world.put(owner="ann")
    await world.pause()
    await world.resume()
    await world.delete()
    rows = await log(world)
    assert [row.verb for row in rows] == ["created", "updated", "paused", "resumed", "deleted"]
    assert {row.changed_by for row in rows} == {"tester"}
    assert rows[1].changed_at == world.clock.at
    assert (json.loads(rows[1].was or ""), json.loads(rows[1].became or "")) == ({"owner": None}, {"owner": "ann"})
    assert json.loads(rows[0].became or "")["target"]["argv"] == ["true"]
    assert (rows[0].was, rows[4].became) == (None, None)


async def test_a_created_schedule_is_told_as_it_is_compared_with_later(world: World) -> None:
    note = 'a "quoted" – note, {"definition":{'
    schedule = (await world.put(name=note, tags={"team": "ä"}, source="file.yaml"))._replace(note=note)
    assert json.loads(audit_log._snapshot_text(schedule)) == audit_log._snapshot(schedule)
    [line] = await log(world)
    told = json.loads(line.became or "")
    assert told == audit_log._snapshot(schedule._replace(note=""))
    assert (told["name"], told["state"], told["note"], told["source"]) == (note, "active", "", "file.yaml")
    unreadable = schedule._replace(definition="{}")
    assert json.loads(audit_log._snapshot_text(unreadable)) == audit_log._snapshot(unreadable)


async def test_what_may_be_a_secret_is_masked(world: World) -> None:
    headers = {"Authorization": "Bearer 7f3a", "X-Team": "growth"}
    await world.put(target={"kind": "http", "url": "https://example.org/?token=7f3a", "headers": headers})
    text = (await log(world))[0].became or ""
    assert "7f3a" not in text
    assert "growth" in text


async def test_a_change_that_is_refused_or_rehearsed_leaves_no_line(world: World) -> None:
    await world.put()

    def refuse(*_: object) -> Any:
        raise Conflict("no")

    with pytest.raises(Conflict):
        await world.change(Wish(["job"], refuse))
    act = lambda _id, s, open_run, moment: drafts.delete(s, "tester", moment, open_run=open_run)  # noqa: E731
    await world.change(Wish(["job"], act, dry_run=True))
    assert [row.verb for row in await log(world)] == ["created"]


async def test_what_is_done_with_runs_is_noted_with_who_asked_and_by_which_request(world: World) -> None:
    await world.put()
    world.store = world.store.signed("key:ann", "request-1")
    run = await world.trigger()
    await world.cancel(run.id)
    rows = await log(world, kind="run")
    assert told(rows) == [("run", run.id, "triggered"), ("run", run.id, "cancelled")]
    assert [(row.changed_by, row.request_id) for row in rows] == [("key:ann", "request-1"), ("tester", "request-1")]


async def test_a_schedule_that_pauses_itself_is_noted_as_the_server_s_doing(world: World) -> None:
    await world.put(pause_after_failures=1, retry={"max_attempts": 1})
    await world.trigger()
    await world.work(AttemptState.FAILED, permanent=True)
    paused = (await log(world, verb="paused"))[0]
    assert (paused.object_id, paused.changed_by) == ("job", "scheduler")
    assert "boom" in json.loads(paused.became or "")["note"]


async def test_keys_namespaces_and_calendars_are_noted_without_what_lets_anybody_in(world: World) -> None:
    growth = (await world.store.namespaces().create(NamespaceId("growth"), "UTC", "{}")).id
    await world.store.namespaces().change("growth", lambda row: row._replace(timezone="Europe/London"))
    keys = world.store.keys(growth)
    key = await keys.create(NewKey("k1", growth, "n", "hash-1", "read", "key:a", None))
    await keys.rotate(key.id, Successor("k2", "hash-2", "key:a", 1))
    await keys.revoke("k2")
    calendars = world.store.namespace(growth).calendars()
    await calendars.put(Replacement("uk", '["2026-12-25"]', "key:a", drafts_unused))
    await calendars.delete("uk")
    rows = await log(world, reach=growth)
    assert told(rows) == [
        ("namespace", "growth", "created"),
        ("namespace", "growth", "updated"),
        ("key", "k1", "created"),
        ("key", "k1", "rotated"),
        ("key", "k2", "created"),
        ("key", "k2", "revoked"),
        ("calendar", "uk", "created"),
        ("calendar", "uk", "deleted"),
    ]
    assert "hash-" not in repr(rows)
    assert await log(world) == []
    assert len(await log(world, reach=None)) == len(rows)


def drafts_unused(*_: object) -> Any:
    raise AssertionError("nothing uses the calendar")


async def test_the_log_is_read_page_by_page_and_by_time(world: World) -> None:
    for number in range(5):
        world.clock.go(seconds=number % 2)
        await world.put(f"job-{number}")
    whole = await log(world)
    store = world.store.audit(DEFAULT_NAMESPACE)
    pages = await pages_of(store, limit=2)
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [row for page in pages for row in page] == whole[::-1]
    last = whole[-1].changed_at
    assert await log(world, to_at=last) == [row for row in whole if row.changed_at < last]
    assert await log(world, from_at=last) == [row for row in whole if row.changed_at >= last]
    assert told(await log(world, id="job-3")) == [("schedule", "job-3", "created")]


async def pages_of(store: AuditStore, *, limit: int) -> list[list[AuditRow]]:
    page = await store.page(AuditFilter(), after=None, limit=limit)
    pages = [page.rows]
    while page.following:
        page = await store.page(AuditFilter(), after=page.following, limit=limit)
        pages.append(page.rows)
    return pages


@pytest.mark.parametrize("lines", [AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE])
async def test_pages_have_as_many_lines_as_were_asked_for_whatever_is_read_at_a_time(world: World, lines: int) -> None:
    for number in range(lines):
        await world.put(f"job-{number}")
    for limit in (AT_ONCE - 1, AT_ONCE, 2 * AT_ONCE, 500):
        pages = await pages_of(world.store.audit(DEFAULT_NAMESPACE), limit=limit)
        assert [len(page) for page in pages[:-1]] == [limit] * ((lines - 1) // limit)
        assert [row.object_id for page in pages for row in page] == [f"job-{n}" for n in reversed(range(lines))]


async def test_a_page_ends_early_when_its_documents_are_long(world: World) -> None:
    for number in range(AT_ONCE + 2):
        await world.put(f"job-{number}", input={"text": "x" * 900_000})
    pages = await pages_of(world.store.audit(DEFAULT_NAMESPACE), limit=500)
    assert [len(page) for page in pages] == [4, 4, 4]
    assert [row.object_id for page in pages for row in page] == [f"job-{n}" for n in reversed(range(AT_ONCE + 2))]


async def test_a_page_has_a_line_however_long_it_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_log, "MOST_BYTES", 1)
    for number in range(3):
        await world.put(f"job-{number}")
    assert [len(page) for page in await pages_of(world.store.audit(DEFAULT_NAMESPACE), limit=2)] == [1, 1, 1]
    texts = [text async for text in AuditLog(world.store.audit(DEFAULT_NAMESPACE)).lines(AuditFilter())]
    assert [json.loads(text)["id"] for text in texts] == ["job-2", "job-1", "job-0"]


async def test_no_line_can_be_changed_and_only_age_deletes_one(world: World) -> None:
    await world.put()
    with pytest.raises((apsw.Error, asyncpg.PostgresError), match="only ever added to"):
        world.sql("update audit set changed_by = 'nobody'")
    keep = Retention(DAY, DAY, DAY, keep=10, audit=DAY)
    await world.store.engine().prune(keep, 0, 100)
    assert len(await log(world)) == 1
    world.clock.go(days=2)
    await world.store.engine().prune(keep, 0, 100)
    assert await log(world) == []


def test_every_kind_and_verb_that_is_noted_may_be_asked_for() -> None:
    source = "".join(path.read_text() for path in Path(audit_log.__file__).parent.glob("*.py"))
    noted = re.findall(r'\bEntry\([\w.]+, "(\w+)", [\w.]+, (?:"(\w+)")?', source)
    assert {kind for kind, _ in noted} == set(VERBS)
    assert all(verb in ("", *VERBS[kind]) for kind, verb in noted)
