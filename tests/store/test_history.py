"""The ledger, audited: honest histories give no false alarm, and what is planted is found."""

from __future__ import annotations

import asyncio
import gc
import itertools
import tempfile
from datetime import timedelta
from functools import _lru_cache_wrapper
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from backend.engine import auditor
from backend.engine.audit import COUNTS_MORE, NO_OCCURRENCE, TWICE, Findings
from backend.engine.auditor import Audit, Auditor, Bookmark
from backend.engine.tzdata import REST, Tzdata
from backend.errors import SchedulerError
from backend.events import Events, Fact, LedgerAudited
from backend.model.history import LedgerPage, LedgerRow
from backend.model.ids import DEFAULT_NAMESPACE
from backend.model.instants import DAY, MINUTE, SECOND, rfc3339
from backend.model.policies import OverlapPolicy
from backend.model.run import AttemptState
from backend.store.history import HistoryStore
from backend.store.open import open_store
from backend.store.retention import Retention
from backend.triggers import zones
from backend.triggers.zones import tzdata_version
from tests.store.test_calendar_change import put_days, put_user
from tests.store.world import START, StillClock, World

pytestmark = pytest.mark.anyio
CRON = {"kind": "cron", "expression": "*/2 * * * *", "timezone": "Europe/London"}
KEEP = Retention(timedelta(days=30), timedelta(days=90), timedelta(days=30), 1000)


async def audited(world: World, from_at: int = 0, until_at: int | None = None, left: int = 10**9) -> Findings:
    """Audit in as many requests as it takes, `left` occurrences each."""
    history = world.store.namespace(DEFAULT_NAMESPACE).history()
    audit = Audit(history, from_at, world.clock.at if until_at is None else until_at)
    place: Bookmark | None = Bookmark()
    while place is not None:
        audit.left = left
        place = await audit.batch(place)
    return audit.found


def clean(found: Findings) -> bool:
    return not (found.missing or found.doubled or found.unverified) and found.recorded == found.expected


def at(minutes: float) -> int:
    return START + int(minutes * MINUTE)


# What is planted is found


async def test_an_honest_ledger_has_nothing_missing_and_nothing_doubled(world: World) -> None:
    await world.put()
    for _ in range(5):
        world.clock.go(minutes=1)
        await world.turn()
        await world.work()
    found = await audited(world)
    assert clean(found)
    assert (found.schedules, found.expected) == (1, 5)


async def test_a_missing_row_is_found(world: World) -> None:
    await world.put(overlap_policy="allow_all")
    for _ in range(5):
        world.clock.go(minutes=1)
        await world.turn()
    world.sql("delete from runs where nominal_at = ?", at(3))
    found = await audited(world)
    assert [(one.schedule_id, one.nominal_at, one.number) for one in found.missing] == [("job", at(3), 1)]
    assert (found.expected, found.recorded, found.missing_count, found.doubled_count) == (5, 4, 1, 0)


async def plant(world: World, nominal_at: int) -> None:
    """Copy a row of the ledger to another nominal time."""
    world.sql(
        "insert into runs (key, id, schedule_key, namespace, nominal_at, backfill_id, trigger_type, state, "
        "scheduled_at, queued_at, available_at, finished_at, retry_until_at, chained, revision) "
        f"select (select max(key) + 1 from runs), 'planted', key, namespace, {nominal_at}, '', 'schedule', "
        f"'succeeded', {nominal_at}, {nominal_at}, {nominal_at}, {nominal_at}, {nominal_at}, 0, 1 from schedules "
        "where key = 1"
    )


async def test_a_doubled_row_is_found(world: World) -> None:
    await world.put(overlap_policy="allow_all")
    for _ in range(3):
        world.clock.go(minutes=1)
        await world.turn()
    await plant(world, at(2) + SECOND)
    found = await audited(world)
    assert [(one.nominal_at, one.run_id, one.why) for one in found.doubled] == [
        (at(2) + SECOND, "planted", NO_OCCURRENCE)
    ]
    assert (found.missing_count, found.doubled_count) == (0, 1)


async def test_a_row_beside_a_range_row_that_stands_for_it_is_doubled(world: World) -> None:
    await world.put(misfire_policy="skip")
    world.clock.go(minutes=60)
    await world.turn()
    assert clean(await audited(world))
    await plant(world, at(30))
    found = await audited(world)
    assert [(one.nominal_at, one.why) for one in found.doubled] == [(at(30), TWICE)]


@pytest.mark.parametrize(("change", "missing", "doubled"), [(-3, 3, 0), (2, 0, 2)])
async def test_a_range_row_that_counts_wrong_is_found(world: World, change: int, missing: int, doubled: int) -> None:
    await world.put(misfire_policy="skip")
    world.clock.go(minutes=60)
    await world.turn()
    world.sql("update runs set missed_count = missed_count + ? where missed_count > 20", change)
    found = await audited(world)
    assert (found.missing_count, found.doubled_count) == (missing, doubled)
    assert [one.why for one in found.doubled] == [COUNTS_MORE] * bool(doubled)
    assert found.recorded == found.expected - missing


async def test_a_fire_that_an_update_swallowed_would_be_found(world: World) -> None:
    await world.put(overlap_policy="allow_all")
    world.clock.go(minutes=3)
    await world.put(overlap_policy="allow_all", triggers=[{"kind": "interval", "every": "5m"}])
    world.clock.go(minutes=10)
    await world.turn()
    assert clean(await audited(world))
    world.sql("delete from runs where nominal_at = ?", at(2))
    assert [one.nominal_at for one in (await audited(world)).missing] == [at(2)]


async def test_runs_beside_the_rule_are_no_occurrences_and_no_doubles(world: World) -> None:
    await world.put()
    world.clock.go(minutes=1)
    await world.turn()
    await world.trigger()
    found = await audited(world)
    assert clean(found)
    assert found.expected == 1


# What is honest gives no alarm


async def test_a_pause_caught_up_is_compared_as_it_was_planned_again(world: World) -> None:
    await world.put(misfire_policy="fire_all", overlap_policy="allow_all")
    world.clock.go(minutes=2)
    await world.pause()
    world.clock.go(minutes=40)
    await world.turn()
    await world.put(name="renamed", misfire_policy="fire_all", overlap_policy="allow_all")
    await world.resume(catch_up=True)
    assert clean(await audited(world))
    world.clock.go(minutes=1)
    await world.turn()
    found = await audited(world)
    assert clean(found)
    assert found.expected == 43


async def test_after_the_last_run_of_max_runs_nothing_is_expected_until_more_are_allowed(world: World) -> None:
    await world.put(max_runs=2, overlap_policy="allow_all")
    world.clock.go(minutes=10)
    await world.turn()
    await world.work()
    world.clock.go(minutes=10)
    await world.put(max_runs=4, overlap_policy="allow_all")
    world.clock.go(minutes=3)
    await world.turn()
    found = await audited(world)
    assert clean(found)
    assert 0 < found.expected < 20


async def test_a_pause_caught_up_within_max_runs_expects_nothing_after_the_last(world: World) -> None:
    await world.put(max_runs=1, misfire_policy="fire_all", overlap_policy="allow_all")
    await world.pause()
    world.clock.go(minutes=10)
    await world.put(name="renamed", max_runs=1, misfire_policy="fire_all", overlap_policy="allow_all")
    world.clock.go(minutes=10)
    await world.turn()
    await world.resume(catch_up=True)
    await world.turn()
    found = await audited(world)
    assert clean(found)
    assert found.expected == 1


async def test_a_schedule_that_pauses_itself_is_compared_and_the_pause_is_kept(world: World) -> None:
    await world.put(pause_after_failures=1, retry={"max_attempts": 1})
    world.clock.go(minutes=1)
    await world.turn()
    await world.work(AttemptState.FAILED, permanent=True)
    assert (await world.schedule()).state == "paused"
    world.clock.go(minutes=30)
    await world.turn()
    assert clean(await audited(world))
    kept = world.sql("select verb, state, changed_by, note from schedule_revisions order by key desc limit 1")[0]
    assert kept[:3] == ("paused", "paused", "scheduler")
    assert "failed" in kept[3]


async def test_a_deleted_schedule_is_still_compared_and_its_successor_apart(world: World) -> None:
    await world.put(overlap_policy="allow_all")
    world.clock.go(minutes=3)
    await world.delete()
    world.clock.go(minutes=3)
    await world.put(overlap_policy="allow_all")
    world.clock.go(minutes=3)
    await world.turn()
    found = await audited(world)
    assert clean(found)
    assert (found.schedules, found.expected) == (2, 6)


async def test_pruning_moves_the_start_of_what_is_compared(world: World) -> None:
    few = KEEP._replace(keep=5)
    await world.put(overlap_policy="allow_all")
    await world.put("other", misfire_policy="skip")
    for _ in range(20):
        world.clock.go(minutes=1)
        await world.turn()
    await world.work()
    world.clock.go(days=2)
    await world.turn()
    before = (await audited(world)).expected
    pruned = await world.store.engine().prune(few, 0, 500)
    assert pruned.runs > 0
    found = await audited(world)
    assert clean(found)
    assert 0 < found.expected < before
    floors = world.sql("select complete_from from ledger_floors")
    assert floors
    assert all(at(10) < floor <= world.clock.at for (floor,) in floors)


async def test_a_manual_run_that_is_pruned_leaves_the_ledger_complete(world: World) -> None:
    await world.put(triggers=[{"kind": "interval", "every": "365d"}])
    await world.trigger()
    await world.work()
    world.clock.go(days=31)
    assert (await world.store.engine().prune(KEEP, 0, 500)).runs == 1
    assert world.sql("select * from ledger_floors") == []


async def test_the_ledger_begins_with_the_store_and_not_with_its_next_start(world: World) -> None:
    assert await world.store.engine().history().ledger_from() == START
    again = await open_store(world.url, clock=StillClock(START + DAY))
    try:
        assert await again.engine().history().ledger_from() == START
    finally:
        again.close()


async def test_times_of_other_zone_rules_are_left_out_and_named(world: World) -> None:
    history = world.store.engine().history()
    await history.note_tzdata("2020a")
    await world.put(triggers=[CRON], overlap_policy="allow_all")
    await world.put("utc", triggers=[CRON | {"timezone": "UTC"}], overlap_policy="allow_all")
    world.clock.go(minutes=4)
    await world.turn()
    await plant(world, at(3))  # what the older rules made of it
    found = await audited(world)
    assert [schedule_id for schedule_id, _ in found.unverified] == ["job"]
    assert (found.missing_count, found.doubled_count) == (0, 0)
    await history.note_tzdata(tzdata_version())
    world.clock.go(minutes=4)
    await world.turn()
    found = await audited(world)
    assert (found.missing_count, found.doubled_count) == (0, 0)
    assert found.expected == 2 + 4
    assert found.unverified_count == 1, "a part was left out"


async def test_while_times_are_planned_anew_by_other_zone_rules_nothing_is_said_about_them(world: World) -> None:
    history = world.store.engine().history()
    await history.note_tzdata("2020a")
    world.sql("insert into store_info values ('tzdata_version', '2020a')")
    await world.put(triggers=[CRON])
    world.clock.go(minutes=4)
    await world.turn()
    await history.note_tzdata(tzdata_version())
    assert world.sql("select value from store_info where key = 'tzdata_since'") == [('["2020a", 0]',)]
    assert (await audited(world)).unverified_count == 1


# In parts


async def test_an_audit_in_small_parts_finds_what_one_in_a_whole_finds(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, policy in (("a", "skip"), ("b", "fire_once"), ("c", "fire_all")):
        await world.put(name, misfire_policy=policy)
    for minutes in (1, 1, 30, 1, 2, 60):
        world.clock.go(minutes=minutes)
        await world.turn()
        await world.work()
    whole = await audited(world)
    assert clean(whole)
    monkeypatch.setattr(auditor, "OCCURRENCES", 7)
    monkeypatch.setattr(auditor, "SCHEDULES", 2)
    assert await audited(world) == whole
    broken_off = await audited(world, left=10)
    assert (broken_off.schedules, broken_off.expected, clean(broken_off)) == (3, whole.expected, True)


async def test_one_read_of_many_schedules_takes_few_rows_of_each(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditor, "AT_FIRST", 3)
    most: list[int] = []
    read = HistoryStore.ledger_pages

    async def counting(self: HistoryStore, *given: Any) -> list[LedgerPage]:
        pages = await read(self, *given)
        most.extend(len(page.rows) for page in pages)
        return pages

    monkeypatch.setattr(HistoryStore, "ledger_pages", counting)
    for name in ("a", "b"):
        await world.put(name, overlap_policy="allow_all")
    for _ in range(8):
        world.clock.go(minutes=1)
        await world.turn()
    found = await audited(world)
    assert (clean(found), found.expected, most) == (True, 16, [3, 3])


async def test_only_the_asked_time_is_compared(world: World) -> None:
    await world.put(overlap_policy="allow_all")
    for _ in range(10):
        world.clock.go(minutes=1)
        await world.turn()
    assert (await audited(world, at(3), at(5))).expected == 3
    assert (await audited(world, at(11))).expected == 0


async def test_a_rule_that_cannot_be_read_is_named_and_the_others_are_compared(world: World) -> None:
    await world.put("bad")
    await world.put("good")
    world.clock.go(minutes=2)
    await world.turn()
    world.sql('update schedule_revisions set triggers = \'[{"kind":"tide"}]\' where schedule_key = 1')
    found = await audited(world)
    assert [schedule_id for schedule_id, _ in found.unverified] == ["bad"]
    assert (found.schedules, found.expected) == (2, 2)


# The engine's own loop


async def test_the_loop_compares_the_last_hour_and_tells_the_result(world: World) -> None:
    told: list[Fact] = []
    events = Events()
    events.subscribe(told.append)
    loop = Auditor(world.store.engine().history(), world.clock, events)
    await world.put(overlap_policy="allow_all")
    for _ in range(12):
        world.clock.go(minutes=10)
        await world.turn()
    world.sql("delete from runs where nominal_at in (?, ?)", at(2), at(110))
    assert await loop.turn() == auditor.EVERY
    (fact,) = told
    assert isinstance(fact, LedgerAudited)
    assert (fact.missing, fact.doubled, fact.schedules) == (1, 0, 1)
    assert "job at" in fact.examples


async def test_the_loop_takes_a_breath_between_batches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditor, "SCHEDULES", 2)
    told: list[Fact] = []
    events = Events()
    events.subscribe(told.append)
    for name in "abc":
        await world.put(name)
    world.clock.go(minutes=1)
    await world.turn()
    loop = Auditor(world.store.engine().history(), world.clock, events)
    assert [await loop.turn(), await loop.turn()] == [auditor.BREATH, auditor.EVERY]
    assert [fact.schedules for fact in told if isinstance(fact, LedgerAudited)] == [3]


async def test_where_nothing_is_due_the_loop_rests_long_after_a_batch(world: World, busy: Busy) -> None:
    for name in "abc":
        await world.put(name)
    assert await busy.loop.turn() == auditor.IDLE_REST * busy.took
    assert await busy.loop.turn() == auditor.EVERY


async def test_where_something_was_due_it_rests_shorter(world: World, busy: Busy) -> None:
    for name in "abc":
        await world.put(name)
    world.clock.go(minutes=1)
    await world.turn()
    assert await busy.loop.turn() == auditor.REST * busy.took


async def test_an_audit_goes_on_where_the_last_one_ended(world: World, busy: Busy) -> None:
    await world.put(overlap_policy="allow_all")
    await busy.loop.turn()
    for _ in range(3 * 60):
        world.clock.go(minutes=1)
        await world.turn()
    await busy.loop.turn()
    audits = [fact for fact in busy.told if isinstance(fact, LedgerAudited)]
    assert [fact.expected for fact in audits] == [0, 180]


class Busy:
    """The loop of an engine that compares two schedules at a time, and takes a second for each look at its clock."""

    took = 1.0

    def __init__(self, world: World) -> None:
        self.told: list[Fact] = []
        events = Events()
        events.subscribe(self.told.append)
        clock = StillClock()
        seconds = itertools.count()
        clock.monotonic = lambda: float(next(seconds))  # type: ignore[method-assign]
        self.loop = Auditor(world.store.engine().history(), clock, events)


@pytest.fixture
def busy(world: World, monkeypatch: pytest.MonkeyPatch) -> Busy:
    monkeypatch.setattr(auditor, "SCHEDULES", 2)
    return Busy(world)


def test_a_run_that_reports_missed_ones_is_no_range_row() -> None:
    row = LedgerRow("r", at(5), "skipped", "deleted", 4, at(1), at(4))
    assert (row.last_at, row.stands_for) == (at(5), 1)


# Random histories

TRIGGERS: list[list[dict[str, Any]]] = [
    [{"kind": "interval", "every": "1m"}],
    [{"kind": "interval", "every": "7m"}, {"kind": "interval", "every": "90s"}],
    [{"kind": "cron", "expression": "*/3 * * * *", "timezone": "America/New_York"}],
    [{"kind": "cron", "expression": "H * * * *"}, {"kind": "interval", "every": "20m"}],
    [{"kind": "once", "at": rfc3339(START + 25 * MINUTE), "allow_past": True}, {"kind": "interval", "every": "30m"}],
]
HALF_HOURS = {"kind": "cron", "expression": "30-59 * * * *", "timezone": "Europe/London"}
SOON = Retention(timedelta(minutes=40), timedelta(hours=1), timedelta(days=30), 5)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "triggers": st.sampled_from(TRIGGERS),
    "misfire_policy": st.sampled_from(["fire_once", "skip", "fire_all"]),
    "overlap_policy": st.sampled_from(OverlapPolicy),
    "jitter": st.sampled_from(["0s", "50s"]),
    "max_runs": st.sampled_from([None, None, 3, 10]),
    "catchup_window": st.sampled_from(["10m", "365d"]),
    "end_at": st.sampled_from([None, rfc3339(START + 100 * MINUTE)]),
    "start_at": st.sampled_from([None, rfc3339(START + 10 * MINUTE)]),
    "name": st.sampled_from(["a", "b"]),
    "pause_after_failures": st.sampled_from([0, 1]),
    "exclusions": st.sampled_from([[], [HALF_HOURS]]),
}
ACTS = st.one_of(
    st.tuples(st.just("go"), st.integers(1, 45 * 60)),
    st.tuples(st.just("turn"), st.just(0)),
    st.tuples(st.just("work"), st.sampled_from([AttemptState.SUCCEEDED, AttemptState.FAILED])),
    st.tuples(st.just("put"), st.fixed_dictionaries(FIELDS)),
    st.tuples(st.just("pause"), st.just(0)),
    st.tuples(st.just("resume"), st.booleans()),
    st.tuples(st.just("delete"), st.just(0)),
    st.tuples(st.just("trigger"), st.just(0)),
    st.tuples(st.just("prune"), st.just(0)),
)


async def act(world: World, verb: str, value: Any) -> None:
    match verb:
        case "go":
            world.clock.go(seconds=value)
        case "turn":
            await world.turn()
        case "work":
            await world.work(value, permanent=True)
        case "put":
            await world.put(**value)
        case "resume":
            await world.resume(catch_up=value)
        case "prune":
            await world.store.engine().prune(SOON, 0, 500)
        case _:
            await getattr(world, verb)()


async def live(acts: list[tuple[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, clock = Path(folder) / "scheduler.db", StillClock()
        store = await open_store(f"sqlite:///{path}", clock=clock)
        try:
            world = World(store, clock, f"sqlite:///{path}")
            await world.put()
            for verb, value in acts:
                try:
                    await act(world, verb, value)
                except (AssertionError, SchedulerError):
                    continue  # what is deleted or completed refuses some acts
                found = await audited(world)
                assert clean(found), (verb, value, found)
        finally:
            store.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example([("go", 600), ("pause", 0), ("go", 3600), ("turn", 0), ("resume", True), ("turn", 0), ("go", 60), ("turn", 0)])
@example(
    [("put", {"max_runs": 2}), ("go", 600), ("turn", 0), ("work", AttemptState.SUCCEEDED), ("go", 600), ("put", {})]
)
@example(
    [("put", {"jitter": "50s"}), ("go", 61), ("turn", 0), ("put", {"name": "b"}), ("turn", 0), ("go", 60), ("turn", 0)]
)
@given(st.lists(ACTS, min_size=4, max_size=16))
def test_no_history_of_honest_acts_gives_a_false_alarm(acts: list[tuple[str, Any]]) -> None:
    asyncio.run(live(acts))


# Random histories in which clocks and calendars change

ZONED: list[list[dict[str, Any]]] = [
    [{"kind": "cron", "expression": "5 * * * *", "timezone": "Europe/London"}],
    [{"kind": "cron", "expression": "*/20 8-12 * * *", "timezone": "Europe/London"}],
    [
        {
            "kind": "rrule",
            "rule": "FREQ=DAILY;BYHOUR=8,9,10,13;BYMINUTE=0,30",
            "dtstart": "2027-01-15T08:00:00",
            "timezone": "Europe/London",
        }
    ],
]
BY_CALENDAR = {"kind": "calendar", "calendar": "uk"}
ZONED_FIELDS = FIELDS | {
    "triggers": st.sampled_from(ZONED + TRIGGERS),
    "end_at": st.sampled_from([None, rfc3339(START + 30 * 60 * MINUTE)]),
    "exclusions": st.sampled_from([[], [HALF_HOURS], [BY_CALENDAR]]),
}
DAYS = [rfc3339(START + number * DAY)[:10] for number in range(3)]
ACTS_ON_TIME = st.one_of(
    ACTS,
    st.tuples(st.just("go"), st.sampled_from([3 * 3600, 12 * 3600, 50 * 3600])),
    st.tuples(st.just("put"), st.fixed_dictionaries(ZONED_FIELDS)),
    st.tuples(st.just("calendar"), st.lists(st.sampled_from(DAYS), unique=True).map(sorted)),
    # Under its own name, London keeps the rules of another zone.
    st.tuples(st.just("tzdata"), st.sampled_from(["Europe/London", "Europe/Berlin", "Asia/Kathmandu"])),
)


class Rules:
    """The rules of London, which change with the releases of a time zone database of our own."""

    def __init__(self) -> None:
        self.number = 0
        self.london = "Europe/London"
        self._read = zones._zone_file

    @property
    def release(self) -> str:
        return f"r{self.number}"

    def zone_file(self, name: str) -> bytes:
        return self._read(self.london if name == "Europe/London" else name)

    async def change(self, world: World, london: str) -> None:
        """Come back with another release, as a server that was started again does."""
        self.number, self.london = self.number + 1, london
        forget()
        engine = world.store.engine()
        walk = Tzdata(engine.timezones(), Events(), self.release)
        while await walk.turn() < REST:
            pass
        await engine.history().note_tzdata(self.release)


def forget() -> None:
    """Empty all that a program remembers of zones and rules, which never change while it runs."""
    for one in gc.get_objects():
        if isinstance(one, _lru_cache_wrapper) and str(one.__module__).startswith("backend."):
            one.cache_clear()


async def act_on_time(world: World, rules: Rules, verb: str, value: Any) -> None:
    match verb:
        case "put":
            await put_user(world, **({"triggers": TRIGGERS[0], "exclusions": []} | value))
        case "calendar":
            await put_days(world, *value)
        case "tzdata":
            await rules.change(world, value)
        case _:
            await act(world, verb, value)


async def live_through_changes(acts: list[tuple[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        rules = Rules()
        patch.setattr(zones, "_zone_file", rules.zone_file)
        patch.setattr(auditor, "tzdata_version", lambda: rules.release)
        path, clock = Path(folder) / "scheduler.db", StillClock()
        store = await open_store(f"sqlite:///{path}", clock=clock)
        try:
            world = World(store, clock, f"sqlite:///{path}")
            world.sql("insert or replace into store_info values ('tzdata_version', 'r0')")
            await store.engine().history().note_tzdata("r0")
            await put_days(world)
            await put_user(world, triggers=ZONED[0])
            for verb, value in acts:
                try:
                    await act_on_time(world, rules, verb, value)
                except (AssertionError, SchedulerError):
                    continue
                found = await audited(world)
                # What other rules decided may be left out, and is named.
                wrong = [*found.missing, *found.doubled]
                assert (wrong, found.recorded) == ([], found.expected), (verb, value, found)
        finally:
            store.close()
            forget()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example([("go", 7200), ("turn", 0), ("tzdata", "Asia/Kathmandu"), ("go", 7200), ("turn", 0), ("go", 60), ("turn", 0)])
@example(
    [
        ("put", {"triggers": ZONED[1], "exclusions": [BY_CALENDAR], "misfire_policy": "fire_all"}),
        ("go", 3600),
        ("calendar", DAYS[:1]),
        ("go", 3600),
        ("turn", 0),
        ("tzdata", "Europe/Berlin"),
        ("calendar", DAYS[1:]),
        ("go", 50 * 3600),
        ("turn", 0),
    ]
)
@given(st.lists(ACTS_ON_TIME, min_size=4, max_size=16))
def test_no_history_in_which_clocks_and_calendars_change_gives_a_false_alarm(acts: list[tuple[str, Any]]) -> None:
    asyncio.run(live_through_changes(acts))
