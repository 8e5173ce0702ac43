"""The sentence that answers "why?", one per verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from backend.duration import format_duration
from backend.engine.definition import ScheduleDefinition
from backend.engine.explain import Delayed, Rule, Verdict
from backend.engine.mismatch import Mismatch, mismatches
from backend.model.policies import MisfirePolicy, OverlapPolicy
from backend.model.run import RunState
from backend.model.schedule import ScheduleState
from backend.service.spoken_times import length_text, moment_text
from backend.store.history import Episode
from backend.store.runs import RunRow
from backend.triggers.cron import CronTrigger
from backend.triggers.describe import describe

MOST_BESIDE = 3
"""Runs that a sentence names."""


class Facts(NamedTuple):
    """What a sentence is made of. `nearest` are the occurrences before and after the instant."""

    episode: Episode
    rule: Rule
    verdict: Verdict
    at: int
    definition: ScheduleDefinition | None
    dst: str | None
    nearest: tuple[int | None, int | None]
    delayed: Delayed | None

    @property
    def mismatches(self) -> list[Mismatch]:
        """Name the fields of a single cron rule that say no."""
        triggers = self.rule.timing.triggers
        alone = triggers[0] if len(triggers) == 1 and self.verdict is Verdict.NOT_AN_OCCURRENCE else None
        return mismatches(alone, self.at) if isinstance(alone, CronTrigger) else []

    @property
    def run(self) -> RunRow:
        """The record of the instant."""
        assert self.episode.run is not None
        return self.episode.run.run


def sentence(facts: Facts) -> str:
    """Answer "why?" in plain English."""
    dst = f"{_capital(facts.dst)}." if facts.dst else ""
    return " ".join(filter(None, (SENTENCES[facts.verdict](facts), _delay(facts), dst, _beside(facts))))


def _delay(facts: Facts) -> str:
    delayed = facts.delayed
    if delayed is None:
        return ""
    length = length_text(delayed.scheduled_at - delayed.nominal_at)
    if delayed.nominal_at != facts.at:
        return (
            f"It is when the occurrence of {moment_text(delayed.nominal_at)} is due, which jitter delays by {length}."
        )
    fires = facts.verdict in {Verdict.WILL_FIRE, Verdict.PENDING, Verdict.FIRED}
    is_due = "was due" if delayed.scheduled_at <= facts.episode.now else "is due"
    return f"By its jitter it {is_due} {length} later, at {moment_text(delayed.scheduled_at)}." if fires else ""


def _beside(facts: Facts) -> str:
    """Name the runs that somebody asked for."""
    found = [f"run {run.id} ({run.trigger_type}, {run.state})" for run in facts.episode.beside]
    if not found:
        return ""
    more = len(found) - MOST_BESIDE
    named = ", ".join(found[:MOST_BESIDE]) + (f" and {more} more" if more > 0 else "")
    return f"Somebody asked for {named} at this time."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _fired(facts: Facts) -> str:
    run = facts.run
    if run.finished_at is None:
        when = f"it started at {moment_text(run.started_at)}" if run.started_at else "it waits for its next attempt"
        return f"It fired: run {run.id} is {run.state}; {when}."
    late = f", {length_text(max(run.started_at - run.scheduled_at, 0))} after its time" if run.started_at else ""
    started = f"started at {moment_text(run.started_at)}{late}, and " if run.started_at else ""
    error = f" ({run.error})" if run.error and run.state != RunState.SUCCEEDED else ""
    return f"It fired: run {run.id} {started}ended at {moment_text(run.finished_at)} as {run.state}{error}."


def _cancelled(facts: Facts) -> str:
    return f"It became run {facts.run.id}, which was ended before it began: {facts.run.error or 'cancelled'}."


def _pending(facts: Facts) -> str:
    if facts.episode.run is None:
        return "It is due, and the engine has not planned it yet."
    run = facts.run
    waits = {
        RunState.HELD: "waits until the one before it has ended",
        RunState.BUFFERED: "waits until the open run of the schedule has ended",
    }
    waiting = waits.get(RunState(run.state), f"waits for a worker since {moment_text(run.queued_at)}")
    if run.available_at > facts.episode.now:
        waiting = f"starts at {moment_text(run.available_at)}"
    if run.error is not None and run.state == RunState.RETRYING:
        waiting += f" ({run.error})"
    return f"It is recorded as run {run.id}, which {waiting}."


def _will_fire(facts: Facts) -> str:
    overlap = facts.definition.overlap_policy if facts.definition else OverlapPolicy.ALLOW_ALL
    unless = ""
    if overlap is not OverlapPolicy.ALLOW_ALL:
        unless = f", and overlap_policy {overlap} decides if the run before it is still open then"
    trigger = facts.rule.trigger or facts.rule.timing.triggers[0]
    return f"It will fire: the rule fires {describe(trigger)}{unless}."


def _not_an_occurrence(facts: Facts) -> str:
    words = "; and ".join(describe(trigger) for trigger in facts.rule.timing.triggers)
    found = facts.mismatches
    if found:
        why = "; ".join(f"the {m.field} is {m.value}, and the rule says {m.rule}" for m in found)
        return f"It is no time of the rule: {why}. The rule fires {words}."
    previous, following = (moment_text(i) if i is not None else "none" for i in facts.nearest)
    return f"It is no time of the rule, which fires {words}. The nearest are {previous} before and {following} after."


def _excluded(facts: Facts) -> str:
    exclusion = facts.rule.exclusion
    assert exclusion is not None
    document = exclusion.model_dump(mode="json", exclude={"days"})
    kind, zone = document.pop("kind"), document.pop("timezone")
    words = " ".join(f"{name} {value}" for name, value in document.items() if value is not None and name != kind)
    what = f"{kind} {document[kind]}" if kind in document else f"the {kind}"
    return f"The rule fires then, and an exclusion takes the time away: {' '.join((what, words)).rstrip()} ({zone})."


def _outside_window(facts: Facts) -> str:
    start_at, end_at = facts.rule.timing.start_at, facts.rule.timing.end_at
    if start_at is not None and facts.at < start_at:
        return f"The rule fires then, and the schedule only from its start_at on, {moment_text(start_at)}."
    return f"The rule fires then, and the schedule only until its end_at, {moment_text(end_at or 0)}."


def _before_creation(facts: Facts) -> str:
    schedule = facts.episode.schedule
    made = f"{moment_text(schedule.created_at)} by {schedule.created_by}"
    hint = "" if facts.episode.beside else " For the past, backfill."
    return f"The schedule did not exist yet: it was created at {made}.{hint}"


def _late(facts: Facts) -> str:
    run = facts.run
    if run.queued_at < facts.at:  # a range row that has grown: it tells when it began, and not when it came here
        return "nobody planned it in time"
    return f"nobody planned it until {moment_text(run.queued_at)}, {_lateness(facts)} late"


def _lateness(facts: Facts) -> str:
    """Say how long after its time, and its jitter, the occurrence was planned."""
    run = facts.run
    return length_text(run.queued_at - (run.scheduled_at if run.nominal_at == facts.at else facts.at))


def _missed(facts: Facts) -> str:
    policy = facts.definition.misfire_policy if facts.definition else MisfirePolicy.SKIP
    threshold = format_duration(facts.definition.misfire_threshold) if facts.definition else "its threshold"
    of_late = "only the newest of what is late runs" if policy is MisfirePolicy.FIRE_ONCE else "nothing late runs"
    late = f"{_late(facts)}, more than {threshold}" if facts.run.queued_at >= facts.at else _late(facts)
    return f"It was missed: {late}, and by misfire_policy {policy} {of_late}."


def _catchup_window(facts: Facts) -> str:
    window = format_duration(facts.definition.catchup_window) if facts.definition else "it"
    return f"It was missed, and too long ago to be caught up: {_late(facts)}, and catchup_window is {window}."


def _overlap(facts: Facts) -> str:
    policy = facts.definition.overlap_policy if facts.definition else OverlapPolicy.SKIP
    other = facts.episode.blocker
    if policy in {OverlapPolicy.CANCEL_OTHER, OverlapPolicy.TERMINATE_OTHER}:
        return f"It was skipped in favour of a newer one: that is overlap_policy {policy}."
    if other is not None and facts.at <= facts.run.queued_at == other.queued_at:
        return _planned_together(facts, other, policy)
    which = f"run {other.id} of {moment_text(other.nominal_at)}" if other else "an earlier run"
    return f"It was skipped because {which} was still open: that is overlap_policy {policy}."


def _planned_together(facts: Facts, other: RunRow, policy: OverlapPolicy) -> str:
    planned_at, nominal_at = moment_text(facts.run.queued_at), moment_text(other.nominal_at)
    return (
        f"It was skipped because it was planned only at {planned_at}, {_lateness(facts)} late (nobody planned "
        f"before: the server was off or behind), together with the occurrence of {nominal_at}, whose run {other.id} "
        f"therefore was open: that is overlap_policy {policy}."
    )


def _cap(facts: Facts) -> str:
    if facts.run.state == RunState.SKIPPED:
        return "It was dropped because as many occurrences waited already as may: that is a cap of 1,000."
    return f"It was dropped because {_late(facts)}, and of what is late the newest 1,000 run at most."


def _paused(facts: Facts) -> str:
    schedule, paused = facts.episode.schedule, facts.episode.paused
    by, at, note = schedule.note_by, schedule.note_at, schedule.note
    if paused is not None and paused.verb == "paused":
        by, at, note = paused.changed_by, paused.changed_at, paused.note
    who = f" by {by}" if by else ""
    since = f" since {moment_text(at)}" if at is not None else ""
    why = f" ({note})" if note else ""
    if facts.episode.run is not None:
        return f"It was skipped because the schedule was paused{who}{since}{why}."
    return f"It will be skipped unless the schedule is resumed before: it is paused{who}{since}{why}."


def _error(facts: Facts) -> str:
    schedule = facts.episode.schedule
    if facts.episode.run is not None:
        return "It did not fire because the times of the schedule could not be computed, until it was changed."
    return f"It waits: the times of the schedule cannot be computed at the moment ({schedule.error})."


def _deleted(facts: Facts) -> str:
    schedule = facts.episode.schedule
    when = f"at {moment_text(schedule.deleted_at)} by {schedule.note_by}" if schedule.deleted_at is not None else "then"
    if facts.episode.run is not None:
        return f"Its run {facts.run.id} still waited when the schedule was deleted {when}."
    return f"There is no schedule any more: it was deleted {when}."


def _completed(facts: Facts) -> str:
    schedule = facts.episode.schedule
    if facts.at <= schedule.cursor_at:
        return "The schedule had nothing left to fire then, until it was changed."
    if schedule.max_runs is None:
        return "The schedule has nothing left to fire."
    left = max(schedule.max_runs - schedule.runs_made, 0)
    none_left = not left or schedule.state == ScheduleState.COMPLETED
    if facts.at <= facts.episode.now and none_left:
        return f"It did not fire: {schedule.runs_made} of {schedule.max_runs} runs were made, and max_runs left none."
    what = f"{schedule.runs_made} of {schedule.max_runs} runs are made"
    end = "none is left" if none_left else f"{left} more come before it"
    return f"It will not fire: {what}, and {end}, by max_runs."


def _pruned(facts: Facts) -> str:
    return (
        "It was an occurrence, and what became of it is no longer known: "
        f"the ledger begins at {moment_text(facts.episode.complete_from)}."
    )


def _moved(_: Facts) -> str:
    return "It is an occurrence only by the present rules of the time zone; by the older ones it had been another time."


def _unrecorded(_: Facts) -> str:
    return "It was an occurrence and has no record. That must not happen: run an audit, and report it."


def _quota(_: Facts) -> str:
    return "It was skipped because a quota of the namespace was used up."


SENTENCES: Mapping[Verdict, Callable[[Facts], str]] = MappingProxyType(
    {
        Verdict.FIRED: _fired,
        Verdict.CANCELLED: _cancelled,
        Verdict.PENDING: _pending,
        Verdict.WILL_FIRE: _will_fire,
        Verdict.NOT_AN_OCCURRENCE: _not_an_occurrence,
        Verdict.EXCLUDED: _excluded,
        Verdict.OUTSIDE_WINDOW: _outside_window,
        Verdict.BEFORE_CREATION: _before_creation,
        Verdict.MISSED: _missed,
        Verdict.OVERLAP: _overlap,
        Verdict.PAUSED: _paused,
        Verdict.CATCHUP_WINDOW: _catchup_window,
        Verdict.CAP: _cap,
        Verdict.QUOTA: _quota,
        Verdict.ERROR: _error,
        Verdict.DELETED: _deleted,
        Verdict.COMPLETED: _completed,
        Verdict.PRUNED: _pruned,
        Verdict.MOVED: _moved,
        Verdict.UNRECORDED: _unrecorded,
    }
)
