"""Why a schedule did, did not, will or will not fire at an instant: one pure decision over what is known of it."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from backend.engine.audit import is_zoned, spans_of
from backend.engine.due import next_nominal
from backend.engine.timing import Timing, load_timing
from backend.model.history import Revision
from backend.model.run import RunState
from backend.model.schedule import Schedule, ScheduleState
from backend.store.history import Episode
from backend.triggers.base import Trigger
from backend.triggers.exclusions import Exclusion, skip_excluded

MOST_AHEAD = 10_000
"""Occurrences counted ahead to see whether `max_runs` ends before an instant."""


class Verdict(StrEnum):
    """What became, or will become, of an instant of a schedule. A closed set."""

    FIRED = "fired"
    CANCELLED = "cancelled"
    PENDING = "pending"
    WILL_FIRE = "will_fire"
    NOT_AN_OCCURRENCE = "not_an_occurrence"
    EXCLUDED = "excluded"
    OUTSIDE_WINDOW = "outside_window"
    BEFORE_CREATION = "before_creation"
    MISSED = "missed"
    OVERLAP = "overlap"
    PAUSED = "paused"
    CATCHUP_WINDOW = "catchup_window"
    CAP = "cap"
    QUOTA = "quota"
    ERROR = "error"
    DELETED = "deleted"
    COMPLETED = "completed"
    PRUNED = "pruned"
    MOVED = "moved"
    UNRECORDED = "unrecorded"


class Rule(NamedTuple):
    """The timing in force at an instant, and what it says of it."""

    text: str
    timing: Timing
    effective_at: int
    trigger: Trigger | None
    """The one that fires then; None: none does."""
    exclusion: Exclusion | None
    """What takes the instant away."""
    in_window: bool

    @property
    def is_occurrence(self) -> bool:
        """Tell whether the schedule fires then, as far as its timing decides."""
        return self.trigger is not None and self.exclusion is None and self.in_window


def rule_at(episode: Episode, at: int) -> Rule:
    """Find the timing in force at an instant; ValueError if this program cannot read it."""
    revision = in_force(episode, at)
    text, effective_at = episode.schedule.triggers, episode.schedule.effective_at
    if revision is not None:
        text, effective_at = revision.triggers, revision.effective_at
    timing = load_timing(text)
    trigger = next((one for one in timing.triggers if one.next_after(at - 1) == at), None)
    exclusion = next((one for one in timing.exclusions if trigger and skip_excluded((one,), at) is not None), None)
    in_window = (timing.start_at is None or at >= timing.start_at) and (timing.end_at is None or at <= timing.end_at)
    return Rule(text, timing, effective_at, trigger, exclusion, in_window)


def in_force(episode: Episode, at: int) -> Revision | None:
    """Find the change that decided the instant: that of the run, else the last before; else the first there is."""
    # A range row goes on through changes that came after its first occurrence.
    if episode.run is not None and episode.run.run.nominal_at == at:
        number = episode.run.run.revision
        found = next((revision for revision in episode.revisions if revision.revision == number), None)
        if found is not None:
            return found
    return next(iter(episode.revisions), None)


def concerning(episode: Episode, rule: Rule, at: int) -> Episode:
    """Leave a range row out that reaches over the instant, if none of its occurrences is there."""
    if episode.run is None or episode.run.run.nominal_at == at or rule.is_occurrence:
        return episode
    return episode._replace(run=None, blocker=None)


class Delayed(NamedTuple):
    """An occurrence, and when it is due after the delay that jitter gives it."""

    nominal_at: int
    scheduled_at: int


def nearest(episode: Episode, rule: Rule, verdict: Verdict, at: int) -> tuple[int | None, int | None]:
    """Find the occurrences before and after an instant, by the timing in force; what an end took away is none."""
    schedule = episode.schedule
    end = schedule.deleted_at
    if end is None and schedule.next_nominal_at is None:
        end = schedule.cursor_at
    if verdict is Verdict.COMPLETED and (end is None or at <= end):
        return None, None  # the last one that a run was left for is not the rule's last
    before = at if end is None else min(at, end + 1)
    following = next_nominal(rule.text, at, rule.effective_at)
    if following is not None and end is not None and following > end:
        following = None
    return previous_nominal(rule.text, before, rule.effective_at), following


def judge(episode: Episode, rule: Rule, at: int) -> Verdict:
    """Decide why there is, or is not, or will be a run at the instant."""
    if episode.run is not None:
        return _of_run(episode.run.run.state, episode.run.run.reason, started=episode.run.run.started_at is not None)
    if at <= episode.schedule.created_at:
        return Verdict.BEFORE_CREATION
    if episode.schedule.deleted_at is not None and at > episode.schedule.deleted_at:
        return Verdict.DELETED
    if not rule.is_occurrence:
        return _of_rule(rule)
    if at > episode.schedule.cursor_at:
        return _to_come(episode, at)
    return _gone_by(episode, at)


def _of_run(state: str, reason: str | None, *, started: bool) -> Verdict:
    if state in {RunState.SKIPPED, RunState.MISSED}:
        return Verdict(reason or state)
    if started or state not in {RunState.CANCELLED, RunState.QUEUED, RunState.HELD, RunState.BUFFERED}:
        return Verdict.FIRED
    return Verdict.CANCELLED if state == RunState.CANCELLED else Verdict.PENDING


def _of_rule(rule: Rule) -> Verdict:
    if rule.trigger is None:
        return Verdict.NOT_AN_OCCURRENCE
    return Verdict.EXCLUDED if rule.exclusion is not None else Verdict.OUTSIDE_WINDOW


def _to_come(episode: Episode, at: int) -> Verdict:
    schedule = episode.schedule
    if schedule.next_nominal_at is None or not _allowed(schedule, at):
        return Verdict.COMPLETED
    if schedule.state == ScheduleState.ERROR:
        return Verdict.ERROR
    if schedule.state == ScheduleState.PAUSED:
        return Verdict.PAUSED
    return Verdict.WILL_FIRE if at > episode.now else Verdict.PENDING


def _allowed(schedule: Schedule, at: int) -> bool:
    """Tell whether `max_runs` leaves a run for the instant, if all before it run."""
    if schedule.max_runs is None:
        return True
    left = schedule.max_runs - schedule.runs_made
    instant = schedule.next_nominal_at
    for _ in range(min(left, MOST_AHEAD)):
        if instant is None or instant >= at:
            return True
        instant = next_nominal(schedule.triggers, instant, schedule.effective_at)
    return left > MOST_AHEAD


def _gone_by(episode: Episode, at: int) -> Verdict:
    if at < episode.complete_from:
        return Verdict.PRUNED
    spans = spans_of(episode.revisions, episode.schedule.cursor_at)
    if any(span.after_at < at <= span.until_at for span in spans):
        by_older_rules = at < episode.zoned_from and is_zoned(episode.revisions)
        return Verdict.MOVED if by_older_rules else Verdict.UNRECORDED
    if any(r.changed_by.startswith("tzdata:") and r.cursor_at >= at for r in episode.revisions):
        return Verdict.MOVED
    return Verdict.COMPLETED


def previous_nominal(timing: str, before: int, effective_at: int) -> int | None:
    """Find the last occurrence before an instant, by doubling steps back and halving them again."""
    back = 1_000_000
    while True:
        start = max(before - back, 0)
        if _comes_before(timing, start, before, effective_at):
            break
        if start == 0:
            return None
        back *= 2
    low, high = start, before - 1
    while low < high:
        middle = (low + high) // 2
        # What follows `middle` still comes before: the occurrence looked for lies behind it.
        low, high = (middle + 1, high) if _comes_before(timing, middle, before, effective_at) else (low, middle)
    return low


def _comes_before(timing: str, after: int, before: int, effective_at: int) -> bool:
    found = next_nominal(timing, after, effective_at)
    return found is not None and found < before
