"""Explains one instant of a schedule to a person."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from backend.engine.definition import ScheduleDefinition, load_definition
from backend.engine.due import next_nominal
from backend.engine.explain import Rule, Verdict, concerning, in_force, judge, previous_nominal, rule_at
from backend.engine.mismatch import clock_note
from backend.engine.plan import delay_of
from backend.errors import FieldError, FieldProblem, Refused
from backend.model.instants import DAY, LATEST, micros, parse_instant, rfc3339, rfc3339_or_none, to_datetime
from backend.service.explain_words import Facts, sentence
from backend.service.views import RunView, View, run_view
from backend.store.history import Episode
from backend.store.port import NamespaceStore
from backend.triggers.cron import CronTrigger
from backend.triggers.describe import describe, note_at
from backend.triggers.once import instant_of, parse_moment
from backend.triggers.zones import tzdata_version, zone


class RuleView(View):
    """The timing in force, as stored and in words."""

    triggers: list[dict[str, Any]]
    description: str


class MismatchView(View):
    """A field of a cron rule that says no."""

    field: str
    value: str = Field(description="What the clock showed.")
    rule: str = Field(description="What the rule says.")


class WindowView(View):
    """Between which instants the schedule fires."""

    start_at: str | None
    end_at: str | None


class PauseView(View):
    """Who paused the schedule, when, and why."""

    by: str | None
    at: str | None
    note: str


class RevisionView(View):
    """The version of the schedule that was in force."""

    number: int
    changed_at: str
    changed_by: str


class NearestView(View):
    """The occurrences around the instant, by the timing in force."""

    previous: str | None
    next: str | None


class JitterView(View):
    """When the occurrence is due, after its delay."""

    delay_seconds: float
    scheduled_time: str


class ExplanationView(View):
    """Why a schedule did, did not, will or will not fire at an instant."""

    schedule_id: str
    at: str
    verdict: Verdict
    sentence: str
    timezone: str
    local_time: str
    rule: RuleView | None = Field(description="Null when this program cannot read it.")
    trigger: dict[str, Any] | None = Field(description="The trigger that fires then.")
    mismatch: list[MismatchView] = Field(description="Of a single cron trigger that does not fire then.")
    dst: str | None = Field(description="What a clock change has to do with it.")
    exclusion: dict[str, Any] | None
    window: WindowView | None
    pause: PauseView | None
    revision: RevisionView | None
    nearest: NearestView
    run: RunView | None = Field(description="The run, or the record of why there is none; it may stand for many.")
    jitter: JitterView | None


@dataclass(frozen=True, slots=True)
class Explanations:
    """The past and the future of one namespace's schedules, explained."""

    store: NamespaceStore

    async def explain(self, id_: str, at: str) -> ExplanationView:
        """Explain an instant: RFC 3339, or local time in the schedule's own zone when it has no offset."""
        instant = await self._instant(id_, at)
        episode = await self.store.history().episode(id_, instant, tzdata_version())
        # In a thread: looking for the nearest occurrences takes a while for rare rules.
        return await asyncio.to_thread(explained, episode, instant)

    async def _instant(self, id_: str, at: str) -> int:
        try:
            if parse_moment(at.replace(" ", "T")).tzinfo is not None:
                return _shown(parse_instant(at), at)
            definition = await self._definition(id_)
            zones = [trigger.display_timezone for trigger in definition.triggers] if definition else []
            return _shown(instant_of(at, next(iter(zones), "UTC")), at)
        except FieldError as error:
            raise Refused([FieldProblem("at", error.rule, error.fix)]) from None

    async def _definition(self, id_: str) -> ScheduleDefinition | None:
        history = self.store.history()
        episode = await history.episode(id_, await history.now(), tzdata_version())
        return _readable(episode.definition)


def _shown(instant: int, text: str) -> int:
    # East of Greenwich, the wall clock of the last day reads a year that no calendar here has.
    if instant > LATEST - DAY:
        raise FieldError(f"{text!r} is on the last day that there is", "give an earlier time")
    return instant


def _readable(text: str) -> ScheduleDefinition | None:
    try:
        return load_definition(text)
    except ValueError:
        return None


def explained(episode: Episode, at: int) -> ExplanationView:
    """Put what is known of an instant into words and a view."""
    try:
        return _explained(episode, at)
    except ValueError as error:
        return _unreadable(episode, at, str(error))


def _explained(episode: Episode, at: int) -> ExplanationView:
    definition = _readable(episode.definition)
    rule = rule_at(episode, at)
    episode = concerning(episode, rule, at)
    verdict = judge(episode, rule, at)
    display = rule.trigger or rule.timing.triggers[0]
    cron = _only_cron(rule) if verdict is Verdict.NOT_AN_OCCURRENCE else None
    nearest = _nearest(rule, at)
    facts = Facts(episode, rule, verdict, at, definition, _dst(rule, cron, at), nearest)
    return ExplanationView(
        schedule_id=episode.schedule.id,
        at=rfc3339(at),
        verdict=verdict,
        sentence=sentence(facts),
        timezone=display.display_timezone,
        local_time=to_datetime(at).astimezone(zone(display.display_timezone)).isoformat(),
        rule=_rule_view(rule),
        trigger=rule.trigger.model_dump(mode="json") if rule.trigger else None,
        mismatch=[MismatchView(field=m.field, value=m.value, rule=m.rule) for m in facts.mismatches],
        dst=facts.dst,
        exclusion=rule.exclusion.model_dump(mode="json") if rule.exclusion else None,
        window=_window(rule),
        pause=_pause(episode, verdict),
        revision=_revision(episode, at),
        nearest=NearestView(previous=rfc3339_or_none(nearest[0]), next=rfc3339_or_none(nearest[1])),
        run=run_view(episode.run) if episode.run else None,
        jitter=_jitter(episode, rule, definition, at),
    )


def _unreadable(episode: Episode, at: int, why: str) -> ExplanationView:
    return ExplanationView(
        schedule_id=episode.schedule.id,
        at=rfc3339(at),
        verdict=Verdict.ERROR,
        sentence=f"Nobody can say: the times of the schedule cannot be computed ({why[:300]}). Give it new triggers.",
        timezone="UTC",
        local_time=to_datetime(at).isoformat(),
        rule=None,
        trigger=None,
        mismatch=[],
        dst=None,
        exclusion=None,
        window=None,
        pause=None,
        revision=_revision(episode, at),
        nearest=NearestView(previous=None, next=None),
        run=run_view(episode.run) if episode.run else None,
        jitter=None,
    )


def _only_cron(rule: Rule) -> CronTrigger | None:
    first = rule.timing.triggers[0]
    return first if len(rule.timing.triggers) == 1 and isinstance(first, CronTrigger) else None


def _nearest(rule: Rule, at: int) -> tuple[int | None, int | None]:
    previous = previous_nominal(rule.text, at, rule.effective_at)
    return previous, next_nominal(rule.text, at, rule.effective_at)


def _dst(rule: Rule, cron: CronTrigger | None, at: int) -> str | None:
    if rule.trigger is not None:
        return note_at(rule.trigger, at)
    return clock_note(cron, at) if cron is not None else None


def _rule_view(rule: Rule) -> RuleView:
    triggers = rule.timing.triggers
    description = "; and ".join(describe(trigger) for trigger in triggers)
    return RuleView(triggers=[trigger.model_dump(mode="json") for trigger in triggers], description=description)


def _window(rule: Rule) -> WindowView | None:
    start_at, end_at = rule.timing.start_at, rule.timing.end_at
    if start_at is None and end_at is None:
        return None
    return WindowView(start_at=rfc3339_or_none(start_at), end_at=rfc3339_or_none(end_at))


def _pause(episode: Episode, verdict: Verdict) -> PauseView | None:
    paused = episode.paused
    if verdict is not Verdict.PAUSED:
        return None
    if paused is not None and paused.verb == "paused":
        return PauseView(by=paused.changed_by, at=rfc3339(paused.changed_at), note=paused.note)
    schedule = episode.schedule
    return PauseView(by=schedule.note_by, at=rfc3339_or_none(schedule.note_at), note=schedule.note)


def _revision(episode: Episode, at: int) -> RevisionView | None:
    revision = in_force(episode, at)
    if revision is None:
        return None
    defined = episode.defined
    named = defined if defined is not None and defined.revision == revision.revision else revision
    return RevisionView(number=named.revision, changed_at=rfc3339(named.changed_at), changed_by=named.changed_by)


def _jitter(episode: Episode, rule: Rule, definition: ScheduleDefinition | None, at: int) -> JitterView | None:
    if episode.run is not None and episode.run.run.nominal_at == at:
        scheduled_at = episode.run.run.scheduled_at
    elif rule.is_occurrence and definition is not None:
        schedule = episode.schedule._replace(jitter=micros(definition.jitter))
        scheduled_at = at + delay_of(schedule)(at, next_nominal(rule.text, at, rule.effective_at))
    else:
        return None
    if scheduled_at == at:
        return None
    return JitterView(delay_seconds=(scheduled_at - at) / 1_000_000, scheduled_time=rfc3339(scheduled_at))
