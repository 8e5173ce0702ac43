"""Explains one instant of a schedule to a person."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from backend.engine.definition import ScheduleDefinition, load_definition
from backend.engine.due import next_nominal
from backend.engine.explain import Delayed, Rule, Verdict, concerning, in_force, judge, nearest, rule_at
from backend.engine.mismatch import clock_note
from backend.engine.plan import delay_of
from backend.errors import FieldError, FieldProblem, Refused
from backend.model.instants import DAY, LATEST, SECOND, micros, parse_instant, rfc3339, rfc3339_or_none, to_datetime
from backend.service.explain_views import (
    ExplanationView,
    JitterView,
    MismatchView,
    NearestView,
    OtherRunView,
    PauseView,
    RevisionView,
    RuleView,
    WindowView,
)
from backend.service.explain_words import Facts, sentence
from backend.service.views import run_view
from backend.store.history import Episode
from backend.store.port import NamespaceStore
from backend.triggers.cron import CronTrigger
from backend.triggers.describe import describe, note_at
from backend.triggers.once import instant_of, parse_moment
from backend.triggers.zones import tzdata_version, zone


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
    around = nearest(episode, rule, verdict, at)
    delayed = _delayed(episode, rule, definition, (at, around[0] if verdict is Verdict.NOT_AN_OCCURRENCE else None))
    facts = Facts(episode, rule, verdict, at, definition, _dst(rule, cron, at), around, delayed)
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
        nearest=NearestView(previous=rfc3339_or_none(around[0]), next=rfc3339_or_none(around[1])),
        run=run_view(episode.run) if episode.run else None,
        other_runs=_other_runs(episode),
        jitter=_jitter(delayed),
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
        other_runs=_other_runs(episode),
        jitter=None,
    )


def _only_cron(rule: Rule) -> CronTrigger | None:
    first = rule.timing.triggers[0]
    return first if len(rule.timing.triggers) == 1 and isinstance(first, CronTrigger) else None


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


def _other_runs(episode: Episode) -> list[OtherRunView]:
    return [
        OtherRunView(id=run.id, trigger_type=run.trigger_type, state=run.state, nominal_time=rfc3339(run.nominal_at))
        for run in episode.beside
    ]


def _delayed(
    episode: Episode, rule: Rule, definition: ScheduleDefinition | None, instants: tuple[int, int | None]
) -> Delayed | None:
    """Find the delay of the occurrence at the first instant, else of the one at the second that is due at the first."""
    at, before = instants
    if episode.run is not None and episode.run.run.nominal_at == at:
        found = Delayed(at, episode.run.run.scheduled_at)
    elif definition is None:
        return None
    elif rule.is_occurrence:
        found = _due(episode, rule, definition, at)
    elif before is not None and _due(episode, rule, definition, before).scheduled_at // SECOND == at // SECOND:
        found = _due(episode, rule, definition, before)
    else:
        return None
    return found if found.scheduled_at != found.nominal_at else None


def _due(episode: Episode, rule: Rule, definition: ScheduleDefinition, nominal_at: int) -> Delayed:
    schedule = episode.schedule._replace(jitter=micros(definition.jitter))
    following = next_nominal(rule.text, nominal_at, rule.effective_at)
    return Delayed(nominal_at, nominal_at + delay_of(schedule)(nominal_at, following))


def _jitter(delayed: Delayed | None) -> JitterView | None:
    if delayed is None:
        return None
    return JitterView(
        nominal_time=rfc3339(delayed.nominal_at),
        delay_seconds=(delayed.scheduled_at - delayed.nominal_at) / 1_000_000,
        scheduled_time=rfc3339(delayed.scheduled_at),
    )
