"""Why? For every reason that the ledger knows, and for what has no record: a verdict and a sentence that says it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backend.engine import due
from backend.engine.explain import Verdict
from backend.errors import NotFound, Refused
from backend.model.ids import DEFAULT_NAMESPACE
from backend.model.instants import MINUTE, SECOND, parse_instant, rfc3339
from backend.model.plan import NewRun
from backend.model.run import AttemptState
from backend.model.schedule import Schedule
from backend.service import drafts
from backend.service.explain import Explanations
from backend.service.explain_views import ExplanationView
from backend.store.retention import Retention
from backend.triggers.zones import tzdata_version
from tests.store.world import START, World, manual_run

pytestmark = pytest.mark.anyio
MINUTELY = [{"kind": "cron", "expression": "* * * * *", "timezone": "Europe/London"}]


async def why(world: World, at: int | str, id_: str = "job") -> ExplanationView:
    text = at if isinstance(at, str) else rfc3339(at)
    return await Explanations(world.store.namespace(DEFAULT_NAMESPACE)).explain(id_, text)


def at(minutes: float) -> int:
    return START + int(minutes * MINUTE)


async def pass_minutes(world: World, number: int) -> None:
    for _ in range(number):
        world.clock.go(minutes=1)
        await world.turn()


# What has a record


async def test_an_occurrence_that_fired_names_its_run_and_how_it_ended(world: World) -> None:
    await world.put()
    world.clock.go(seconds=61)
    await world.turn()
    await world.work()
    view = await why(world, at(1))
    assert view.verdict == "fired"
    assert view.run is not None
    assert view.run.id in view.sentence
    assert "as succeeded" in view.sentence
    assert "1s after its time" in view.sentence


async def test_a_failure_fired_too_and_says_the_error(world: World) -> None:
    await world.put(retry={"max_attempts": 1})
    await pass_minutes(world, 1)
    assert (await why(world, at(1))).verdict == "pending"
    await world.claim()
    view = await why(world, at(1))
    assert (view.verdict, "is running" in view.sentence) == ("fired", True)
    world.clock.go(minutes=1)
    await world.reap()
    await world.work(AttemptState.FAILED, permanent=True, error="the target said no")
    assert "as failed (the target said no)" in (await why(world, at(1))).sentence


async def test_a_run_cancelled_before_it_began(world: World) -> None:
    await world.put()
    await pass_minutes(world, 1)
    await world.cancel((await world.runs())[0].id)
    view = await why(world, at(1))
    assert (view.verdict, "cancelled on request by tester" in view.sentence) == ("cancelled", True)


async def test_missed_says_how_late_it_was_found_and_which_policy_decided(world: World) -> None:
    await world.put()
    world.clock.go(minutes=10)
    await world.turn()
    view = await why(world, at(3))
    assert view.verdict == Verdict.MISSED
    assert f"until {rfc3339(at(10))}, 7m late, more than 1m, and by misfire_policy fire_once" in view.sentence


async def test_overlap_names_the_run_that_was_open(world: World) -> None:
    await world.put()
    await pass_minutes(world, 3)
    first = (await world.runs())[-1].id
    view = await why(world, at(2))
    assert view.verdict == Verdict.OVERLAP
    assert f"run {first} of {rfc3339(at(1))} was still open: that is overlap_policy skip" in view.sentence


async def test_paused_names_who_when_and_why(world: World) -> None:
    await world.put()
    await world._revise(
        "job", lambda s, moment, open_run: drafts.pause(s, "moving house", "ann", moment, open_run=open_run)
    )
    await pass_minutes(world, 40)
    await world.resume()
    for minutes in (2, 33):  # one recorded by itself, one in a range row
        view = await why(world, at(minutes))
        assert view.verdict == Verdict.PAUSED
        assert view.pause is not None
        assert (view.pause.by, view.pause.at, view.pause.note) == ("ann", rfc3339(START), "moving house")
        assert "was paused by ann" in view.sentence
        assert "moving house" in view.sentence
    in_range = (await why(world, at(33))).run
    assert in_range is not None
    assert in_range.missed.count == 20


async def test_a_range_row_answers_only_for_the_occurrences_in_it(world: World) -> None:
    five, seven = ({"kind": "cron", "expression": f"*/{n} * * * *", "timezone": "UTC"} for n in (5, 7))
    at_nine = {"kind": "cron", "expression": "* 9 * * *", "timezone": "UTC"}
    await world.put(misfire_policy="skip", triggers=[five], exclusions=[at_nine])
    world.clock.go(hours=6)
    await world.put(misfire_policy="skip", triggers=[five], exclusions=[at_nine], name="renamed")
    await world.put(misfire_policy="skip", triggers=[seven])
    world.clock.go(hours=6)
    await world.turn()
    verdicts = [(await why(world, f"2027-01-15T{time}Z")).verdict for time in ("08:25:00", "08:26:00", "09:30:00")]
    assert verdicts == ["missed", "not_an_occurrence", "excluded"]
    beside = await why(world, "2027-01-15T10:25:00.000001Z")
    assert (beside.verdict, beside.run) == ("not_an_occurrence", None)
    after_the_change = await why(world, "2027-01-15T19:07:00Z"), await why(world, "2027-01-15T19:10:00Z")
    assert [view.verdict for view in after_the_change] == ["missed", "not_an_occurrence"]


async def test_a_range_row_that_has_grown_tells_nothing_of_when_it_came_to_the_rest(world: World) -> None:
    await world.put(misfire_policy="skip", misfire_threshold="1s")
    for _ in range(2):
        world.clock.go(minutes=30.5)
        await world.turn()
    assert "nobody planned it in time, and by misfire_policy skip" in (await why(world, at(45))).sentence


async def test_too_old_for_the_catchup_window(world: World) -> None:
    await world.put(catchup_window="5m")
    world.clock.go(minutes=10)
    await world.turn()
    view = await why(world, at(2))
    assert (view.verdict, "catchup_window is 5m" in view.sentence) == (Verdict.CATCHUP_WINDOW, True)


async def test_beyond_the_cap_of_what_is_caught_up(world: World) -> None:
    await world.put(misfire_policy="fire_all")
    world.clock.go(minutes=1100)
    await world.turn()
    view = await why(world, at(50))
    assert (view.verdict, "newest 1,000" in view.sentence) == (Verdict.CAP, True)


async def test_what_was_late_is_not_said_to_have_found_the_buffer_full(world: World) -> None:
    await world.put(misfire_policy="fire_all", overlap_policy="buffer_all")
    world.clock.go(minutes=1100)
    await world.turn()
    assert "of what is late the newest 1,000" in (await why(world, at(50))).sentence


async def test_what_finds_a_thousand_waiting_is_dropped_and_the_sentence_says_so(world: World) -> None:
    await world.put(overlap_policy="buffer_all", misfire_threshold="1d")
    world.clock.go(minutes=1010)
    await world.turn()
    view = await why(world, at(1009))
    assert (view.verdict, "waited already as may" in view.sentence) == (Verdict.CAP, True)


async def test_error_says_that_the_times_could_not_be_computed(world: World) -> None:
    await world.put()
    world.sql('update schedules set triggers = \'[{"kind":"tide"}]\'')
    world.clock.go(minutes=5)
    await world.turn()
    waiting = await why(world, at(3))
    assert (waiting.verdict, "cannot be computed at the moment" in waiting.sentence) == (Verdict.ERROR, True)
    await world.put(name="mended", triggers=[{"kind": "interval", "every": "2m"}])
    view = await why(world, at(1))
    assert (view.verdict, "could not be computed" in view.sentence) == (Verdict.ERROR, True)


async def test_a_run_that_waited_when_the_schedule_was_deleted(world: World) -> None:
    await world.put()
    await pass_minutes(world, 1)
    await world.delete()
    view = await why(world, at(1))
    assert view.verdict == Verdict.DELETED
    assert f"deleted at {rfc3339(at(1))} by tester" in view.sentence


async def test_what_was_planned_late_together_with_the_run_before_it_says_so(world: World) -> None:
    await world.put(triggers=[{"kind": "interval", "every": "10s"}])
    world.clock.go(seconds=45.5)
    await world.turn()
    first = (await world.runs())[-1]
    view = await why(world, START + 20 * SECOND)
    assert view.verdict == Verdict.OVERLAP
    assert "only at 2027-01-15T08:00:45.500Z, 25s late (nobody planned before: the server was off" in view.sentence
    assert f"occurrence of {rfc3339(START + 10 * SECOND)}, whose run {first.id} therefore was open" in view.sentence
    world.clock.go(seconds=4.5)
    await world.turn()
    assert f"because run {first.id}" in (await why(world, START + 50 * SECOND)).sentence


async def backfill(world: World, minutes: float) -> str:
    """Record a run of a backfill, as if somebody had asked for it."""
    schedule = await world.schedule()

    def make(_: Schedule, now: int) -> list[NewRun]:
        run = manual_run(schedule, f"backfilled-{minutes}", now)
        return [run._replace(nominal_at=at(minutes), backfill_id="b1", trigger_type="backfill")]

    await world.store.namespace(DEFAULT_NAMESPACE).start_backfill("job", make)
    return f"backfilled-{minutes}"


async def test_runs_that_somebody_asked_for_are_named_beside_the_occurrence(world: World) -> None:
    await world.put()
    await pass_minutes(world, 2)
    ids = [await backfill(world, 2), await backfill(world, -3)]
    beside, before = await why(world, at(2)), await why(world, at(-3))
    assert [view.verdict for view in (beside, before)] == ["overlap", "before_creation"]
    for view, id_ in zip((beside, before), ids, strict=True):
        assert [(run.id, run.trigger_type, run.state) for run in view.other_runs] == [(id_, "backfill", "queued")]
        assert view.sentence.endswith(f"Somebody asked for run {id_} (backfill, queued) at this time.")
    assert "For the past, backfill" not in before.sentence
    assert "For the past, backfill" in (await why(world, at(-4))).sentence
    assert (await why(world, at(1))).other_runs == []


async def test_a_run_started_by_hand_is_named_for_the_second_in_which_it_was(world: World) -> None:
    await world.put()
    world.clock.go(seconds=90.25)
    started = await world.trigger()
    view = await why(world, START + 90 * SECOND)
    assert view.verdict == "not_an_occurrence"
    assert [run.id for run in view.other_runs] == [started.id]
    assert f"run {started.id} (manual, queued)" in view.sentence
    await world.delete()
    assert "manual, skipped" in (await why(world, START + 90 * SECOND)).sentence


# What has none


async def test_after_its_deletion_a_schedule_fires_no_more_and_can_still_be_asked_about(world: World) -> None:
    await world.put()
    await pass_minutes(world, 1)
    await world.work()
    await world.delete()
    assert (await why(world, at(1))).verdict == "fired"
    view = await why(world, at(2))
    assert (view.verdict, "no schedule any more" in view.sentence) == ("deleted", True)
    world.clock.go(minutes=5)
    await world.put()
    assert (await why(world, at(7))).verdict == "will_fire"
    assert (await why(world, at(3))).verdict == "deleted"


async def test_before_its_creation(world: World) -> None:
    await world.put()
    view = await why(world, at(-1))
    assert (view.verdict, "created at" in view.sentence) == ("before_creation", True)
    assert view.nearest.next == rfc3339(at(1))


async def test_what_is_to_come_will_fire_by_the_rule(world: World) -> None:
    await world.put(triggers=[{"kind": "cron", "expression": "0 9 * * mon-fri", "timezone": "Europe/London"}])
    view = await why(world, "2027-01-18T09:00")
    assert (view.verdict, view.local_time, view.at) == (
        "will_fire",
        "2027-01-18T09:00:00+00:00",
        "2027-01-18T09:00:00Z",
    )
    assert view.rule is not None
    assert view.rule.description == "at 09:00 on Monday to Friday (Europe/London)"
    assert (view.nearest.previous, view.nearest.next) == ("2027-01-15T09:00:00Z", "2027-01-19T09:00:00Z")


async def test_local_time_without_an_offset_is_read_in_the_schedules_zone(world: World) -> None:
    await world.put(triggers=[{"kind": "cron", "expression": "0 9 * * *", "timezone": "America/New_York"}])
    view = await why(world, "2027-07-01T09:00:00")
    assert (view.at, view.verdict, view.timezone) == ("2027-07-01T13:00:00Z", "will_fire", "America/New_York")


async def test_due_and_not_yet_planned(world: World) -> None:
    await world.put()
    world.clock.go(minutes=2)
    view = await why(world, at(1))
    assert (view.verdict, "has not planned it yet" in view.sentence) == ("pending", True)


async def test_what_a_paused_schedule_will_do(world: World) -> None:
    await world.put()
    await world.pause()
    view = await why(world, at(5))
    assert view.verdict == "paused"
    assert "unless the schedule is resumed before: it is paused by tester" in view.sentence
    assert view.pause is not None
    assert view.pause.by == "tester"


async def test_outside_the_window(world: World) -> None:
    await world.put(start_at=rfc3339(at(10)), end_at=rfc3339(at(20)))
    early, within, late = [await why(world, at(minutes)) for minutes in (5, 15, 25)]
    assert [view.verdict for view in (early, within, late)] == ["outside_window", "will_fire", "outside_window"]
    assert f"from its start_at on, {rfc3339(at(10))}" in early.sentence
    assert f"until its end_at, {rfc3339(at(20))}" in late.sentence
    assert late.window is not None
    assert (late.window.start_at, late.window.end_at) == (rfc3339(at(10)), rfc3339(at(20)))


async def test_an_exclusion_is_named(world: World) -> None:
    excluded = {"kind": "date", "date": "2027-01-18", "timezone": "Europe/London"}
    await world.put(triggers=MINUTELY, exclusions=[excluded, {"kind": "date", "date": "2027-01-20"}])
    view = await why(world, "2027-01-18T12:00:00Z")
    assert (view.verdict, view.exclusion) == ("excluded", excluded)
    assert "date 2027-01-18" in view.sentence
    assert view.nearest.next == "2027-01-19T00:00:00Z"


async def test_max_runs_says_how_many_are_made(world: World) -> None:
    await world.put(max_runs=2, overlap_policy="allow_all")
    assert [(await why(world, at(minutes))).verdict for minutes in (1, 2, 3)] == ["will_fire", "will_fire", "completed"]
    await pass_minutes(world, 2)
    await world.work()
    assert (await world.schedule()).state == "completed"
    view = await why(world, at(3))
    assert (view.verdict, "2 of 2 runs are made" in view.sentence) == ("completed", True)
    world.clock.go(minutes=10)
    await world.put(max_runs=3, overlap_policy="allow_all")
    view = await why(world, at(5))
    assert (view.verdict, "until it was changed" in view.sentence) == ("completed", True)


async def test_after_the_last_run_that_max_runs_allows_it_did_not_fire_and_nothing_comes(world: World) -> None:
    await world.put(max_runs=3, overlap_policy="allow_all")
    assert (await why(world, at(4))).nearest.model_dump() == {"previous": None, "next": None}
    await pass_minutes(world, 3)
    await world.work()
    world.clock.go(minutes=10)
    gone, to_come, between = [await why(world, at(minutes)) for minutes in (5, 50, 5.5)]
    assert (gone.verdict, to_come.verdict, between.verdict) == ("completed", "completed", "not_an_occurrence")
    assert gone.sentence == "It did not fire: 3 of 3 runs were made, and max_runs left none."
    assert to_come.sentence == "It will not fire: 3 of 3 runs are made, and none is left, by max_runs."
    for view in (gone, to_come, between):
        assert (view.nearest.previous, view.nearest.next) == (rfc3339(at(3)), None)
    assert (await why(world, at(2))).nearest.next == rfc3339(at(3))


async def test_a_one_shot_that_is_over_is_completed(world: World) -> None:
    await world.put(triggers=[{"kind": "once", "at": rfc3339(at(1))}])
    await pass_minutes(world, 1)
    await world.work()
    assert (await why(world, at(1))).verdict == "fired"
    view = await why(world, at(2))
    assert (view.verdict, view.nearest.previous) == ("not_an_occurrence", rfc3339(at(1)))


async def test_a_one_shot_of_the_past_that_was_accepted_fired(world: World) -> None:
    await world.put(triggers=[{"kind": "once", "at": rfc3339(at(-5)), "allow_past": True}])
    await world.turn()
    await world.work()
    assert (await why(world, at(-5))).verdict == "fired"


async def test_what_was_pruned_is_no_longer_known(world: World) -> None:
    await world.put(overlap_policy="allow_all")
    await pass_minutes(world, 5)
    await world.work()
    world.clock.go(days=40)
    month = timedelta(days=30)
    assert (await world.store.engine().prune(Retention(month, month, month, 1000), 0, 500)).runs == 5
    view = await why(world, at(3))
    assert (view.verdict, "ledger begins at" in view.sentence) == ("pruned", True)


async def test_a_record_that_is_gone_without_pruning_is_said_to_be_a_defect(world: World) -> None:
    await world.put(overlap_policy="allow_all")
    await pass_minutes(world, 3)
    world.sql("delete from runs where nominal_at = ?", at(2))
    view = await why(world, at(2))
    assert (view.verdict, "run an audit" in view.sentence) == ("unrecorded", True)


async def test_the_revision_in_force_then_answers_not_the_one_of_today(world: World) -> None:
    await world.put(overlap_policy="allow_all")
    await pass_minutes(world, 3)
    await world.put(overlap_policy="allow_all", triggers=[{"kind": "interval", "every": "1h"}])
    await pass_minutes(world, 3)
    old, new = await why(world, at(2)), await why(world, at(5))
    assert (old.verdict, new.verdict) == ("pending", "not_an_occurrence")
    assert old.revision is not None
    assert new.revision is not None
    assert (old.revision.number, new.revision.number) == (1, 2)
    assert (old.revision.changed_at, new.revision.changed_at) == (rfc3339(START), rfc3339(at(3)))
    assert old.rule is not None
    assert "every 1m" in old.rule.description


async def test_jitter_says_when_it_is_due(world: World) -> None:
    await world.put(jitter="50s", overlap_policy="allow_all")
    to_come = await why(world, at(1))
    assert to_come.jitter is not None
    assert 0 < to_come.jitter.delay_seconds <= 50
    world.clock.go(minutes=1)
    world.clock.at = at(1) + SECOND // 10
    assert (await why(world, at(1))).verdict == "pending"
    world.clock.go(minutes=1)
    await world.turn()
    assert (await why(world, at(1))).jitter == to_come.jitter


async def test_the_sentence_tells_of_the_delay_and_the_delayed_start_of_its_occurrence(world: World) -> None:
    await world.put(jitter="50s", overlap_policy="allow_all", misfire_policy="skip")
    to_come = await why(world, at(2))
    assert to_come.jitter is not None
    due_at = parse_instant(to_come.jitter.scheduled_time)
    delay, due = int(to_come.jitter.delay_seconds), to_come.jitter.scheduled_time[:19]
    assert f"By its jitter it is due {delay}s later, at {due}" in to_come.sentence
    for asked in (due_at, due_at // SECOND * SECOND):
        view = await why(world, asked)
        assert view.verdict == "not_an_occurrence"
        assert view.jitter == to_come.jitter
        assert view.jitter.nominal_time == rfc3339(at(2))
        assert f"It is when the occurrence of {rfc3339(at(2))} is due, which jitter delays" in view.sentence
    assert (await why(world, due_at + SECOND)).jitter is None


async def test_instants_and_lengths_are_told_as_a_person_reads_them(world: World) -> None:
    world.clock.go(seconds=0.123456)
    await world.put(misfire_policy="skip")
    world.clock.go(days=30)
    await world.turn()
    view = await why(world, at(5))
    assert "created at" not in view.sentence
    assert "nobody planned it until 2027-02-14T08:00:00.123Z, 29d23h late, more than 1m" in view.sentence
    assert "created at 2027-01-15T08:00:00.123Z by" in (await why(world, at(-5))).sentence


async def test_a_rule_that_cannot_be_read_is_said_to_be_so(world: World) -> None:
    await world.put()
    world.sql('update schedule_revisions set triggers = \'[{"kind":"tide"}]\'')
    view = await why(world, at(5))
    assert (view.verdict, "cannot be computed" in view.sentence) == ("error", True)


async def test_exclusions_that_leave_nothing_within_reach_are_said_to_be_the_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due, "MOST_ASKED", 100)
    every_second = [{"kind": "cron", "expression": "* * * * * *", "timezone": "UTC"}]
    in_june = [{"kind": "cron", "expression": f"{s} * * * 6 *", "timezone": "UTC"} for s in ("*/2", "1-59/2")]
    await world.put(triggers=every_second, exclusions=in_june)
    view = await why(world, "2027-06-10T00:00:00Z")
    assert (view.verdict, "leave no occurrence within reach" in view.sentence) == ("error", True)


async def test_the_last_day_of_the_calendar_is_refused_where_no_clock_could_show_it(world: World) -> None:
    await world.put(triggers=[{"kind": "cron", "expression": "0 9 * * *", "timezone": "Pacific/Apia"}])
    for text in ("9999-12-31T23:59:59Z", "9999-12-31T23:00:00"):
        with pytest.raises(Refused, match="last day"):
            await why(world, text)
    assert (await why(world, "9999-12-30T09:00:00")).verdict == "will_fire"


async def test_what_only_the_present_rules_of_a_zone_make_an_occurrence_is_no_defect(world: World) -> None:
    history = world.store.engine().history()
    await history.note_tzdata("2020a")
    await world.put(triggers=MINUTELY, overlap_policy="allow_all")
    await pass_minutes(world, 3)
    world.sql("delete from runs where nominal_at = ?", at(2))  # the older rules had no occurrence there
    await history.note_tzdata(tzdata_version())
    view = await why(world, at(2))
    assert (view.verdict, "by the present rules of the time zone" in view.sentence) == ("moved", True)
    await pass_minutes(world, 3)
    world.sql("delete from runs where nominal_at = ?", at(5))
    assert (await why(world, at(5))).verdict == "unrecorded"


async def test_an_unknown_schedule_and_a_bad_instant_are_refused(world: World) -> None:
    with pytest.raises(NotFound):
        await why(world, at(1), "nobody")
    await world.put()
    with pytest.raises(Refused) as refused:
        await why(world, "yesterday")
    assert refused.value.problems[0].field == "at"


async def test_the_cause_of_each_instant_around_a_spring_night(world: World) -> None:
    daily = {"kind": "cron", "expression": "30 2 * * *", "timezone": "America/New_York"}
    await world.put("shifts", triggers=[daily])
    await world.put("skips", triggers=[daily | {"dst_gap": "skip"}])
    gap = rfc3339(parse_instant("2027-03-14T07:00:00Z"))  # 03:00, the first instant after the gap
    shifted, skipped = await why(world, gap, "shifts"), await why(world, gap, "skips")
    assert (shifted.verdict, skipped.verdict) == ("will_fire", "not_an_occurrence")
    assert shifted.dst == "02:30 does not exist that day; fires at 03:00"
    assert skipped.dst is not None
    assert "02:30 does not exist on 2027-03-14" in skipped.dst
    assert "dst_gap is skip" in skipped.sentence
    asked_local = await why(world, "2027-03-14T02:30", "shifts")
    assert (asked_local.verdict, asked_local.at) == ("will_fire", gap)


async def test_the_passes_of_an_autumn_night(world: World) -> None:
    daily = {"kind": "cron", "expression": "30 1 * * *", "timezone": "America/New_York"}
    await world.put(triggers=[daily])
    first, second = await why(world, "2027-11-07T05:30:00Z"), await why(world, "2027-11-07T06:30:00Z")
    assert (first.verdict, second.verdict) == ("will_fire", "not_an_occurrence")
    assert first.dst is not None
    assert "this is the first" in first.dst
    assert second.dst == "01:30 occurs twice on 2027-11-07; this is the second, and dst_overlap is first"
    assert second.mismatch == []
