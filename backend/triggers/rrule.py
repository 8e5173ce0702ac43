"""Calendar rules of RFC 5545 in a time zone."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from backend.errors import FieldError
from backend.model.instants import LATEST, SECOND, from_datetime
from backend.triggers.base import Trigger
from backend.triggers.cron import STEP_DAYS
from backend.triggers.rrule_kernel import Recurrence, recurrence
from backend.triggers.rrule_parts import LONGEST, Parts, Until, parse_rule, refused
from backend.triggers.zones import CYCLE, DAY, HORIZON, Timeline, timeline

FIX = 'give local time without an offset, such as "2026-01-05T09:00:00"'


@dataclass(frozen=True, slots=True)
class RecurrenceRule:
    """A rule in a zone. `until` is the last UTC second in which it may fire."""

    recurrence: Recurrence
    timeline: Timeline
    until: int

    def next_after(self, instant: int) -> int | None:
        """Find the first occurrence strictly after `instant` and within ten years, both in microseconds."""
        second = instant // SECOND + 1
        local: int | None = self._local_from(second)
        # Only dates that a zone skips whole, and passes that come thrice, ask for another turn.
        for _ in range(10):
            local = None if local is None else self.recurrence.next_local(local)
            if local is None:
                return None
            found = self.second_of(local)
            if found is not None and found >= second:
                return found * SECOND if found <= self.until else None
            local = local + 1 if found is not None else (local // DAY + 1) * DAY
        return None

    def second_of(self, local: int) -> int | None:
        """Find the UTC second of a local one: in an overlap the first, in a gap its end; None on a skipped date."""
        seconds = self.timeline.seconds_at(local)
        if seconds:
            return seconds[0]
        morning = local // DAY * DAY
        if self.timeline.seconds_at(morning) or self.timeline.seconds_at(morning + DAY - 1):
            return self.timeline.end_of_gap(local)
        return None

    def match_in_gap(self, second: int) -> int | None:
        """Find the first local second, of those jumped over at a UTC second, for which the rule fires then."""
        period = self.timeline.period_at(second)
        if self.timeline.starts[period] != second:
            return None
        match = self.recurrence.next_local(self._local_from(second))
        swallowed = match is not None and match < self.timeline.local(second)
        return match if match is not None and swallowed and self.second_of(match) == second else None

    def _local_from(self, second: int) -> int:
        """Find the first local second whose first pass, or whose gap's end, is not before a UTC second."""
        moved = 0 if second < HORIZON else ((second - HORIZON) // CYCLE + 1) * CYCLE
        folded = second - moved
        starts, offsets = self.timeline.starts, self.timeline.offsets
        period = self.timeline.period_at(folded)
        before = starts[period] + offsets[max(period - 1, 0)]
        return moved + (before if folded == starts[period] else max(folded + offsets[period], before))


@lru_cache(maxsize=10_000)
def compile_recurrence(rule: str, dtstart: str, timezone: str) -> RecurrenceRule:
    """Compile and check a rule; FieldError names `rule`, `dtstart` or `timezone` and what is wrong with it."""
    offsets = timeline(timezone)
    parts = parse_rule(rule)
    found = recurrence(parts, parse_dtstart(dtstart))
    first = found.next_local(found.start)
    if first is None:
        raise refused(
            "the rule has no occurrence within 10 years of dtstart",
            "check that its days exist in its months, and often",
        )
    compiled = RecurrenceRule(found, offsets, LATEST // SECOND)
    compiled = replace(compiled, until=min(_last_second(compiled, parts), compiled.until))
    begun = compiled.next_after(_before(found.start))
    if begun is None:
        raise refused("the rule ends before its first occurrence", "let UNTIL be later")
    more = parts.count != 1 and compiled.until > begun // SECOND + STEP_DAYS * DAY
    if more and compiled.next_after(begun) is None:
        raise refused("the rule leaves more than 10 years between two occurrences", "choose days that come more often")
    return compiled


def _before(start: int) -> int:
    return (start - 2 * DAY) * SECOND


def _last_second(rule: RecurrenceRule, parts: Parts) -> int:
    """Turn COUNT and UNTIL into the last UTC second, once, so that asking costs the same with and without."""
    until = parts.until
    if parts.count is not None:
        last = rule.recurrence.last_of(parts.count)
        if last is None:
            years = rule.recurrence.count_years
            raise refused(f"COUNT={parts.count} is not reached within {years} years", "use UNTIL, or a smaller COUNT")
        until = Until(last, utc=False)
    if until is None:
        return rule.until
    if until.utc:
        return until.second
    second = rule.second_of(until.second)
    return rule.timeline.end_of_gap(until.second) - 1 if second is None else second


@lru_cache(maxsize=10_000)
def parse_dtstart(text: str) -> int:
    """Read local time in whole seconds as seconds since 1970; FieldError (field `dtstart`) for other notations."""
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2})?", text) is None:
        raise FieldError(f"{text[:80]!r} is not a local time in whole seconds", FIX, "dtstart")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise FieldError(f"{text!r} is not a time: {error}", FIX, "dtstart") from error
    if moment.year < 1970:
        raise FieldError(f"{text!r} is before 1970", FIX, "dtstart")
    return from_datetime(moment.replace(tzinfo=UTC)) // SECOND


def _as_text(value: object) -> object:
    # YAML reads an unquoted time as a datetime.
    return value.isoformat() if isinstance(value, datetime) else value


class RecurrenceTrigger(Trigger):
    """A recurrence rule of RFC 5545 in a time zone."""

    kind: Literal["rrule"] = "rrule"
    rule: str = Field(
        description=f"FREQ=YEARLY, MONTHLY, WEEKLY, DAILY or HOURLY and more parts; at most {LONGEST} characters.",
        examples=["FREQ=MONTHLY;BYDAY=1MO"],
    )
    dtstart: Annotated[str, BeforeValidator(_as_text)] = Field(
        description="Local time from which the rule counts, and which says what it leaves open.",
        examples=["2026-01-05T09:00:00"],
    )
    timezone: str = Field(default="UTC", description="IANA name.", examples=["Europe/London"])

    @model_validator(mode="after")
    def _compiles(self) -> RecurrenceTrigger:
        self.compiled()
        return self

    def compiled(self) -> RecurrenceRule:
        """Compile the rule, or find it compiled."""
        return compile_recurrence(self.rule, self.dtstart, self.timezone)

    def next_after(self, instant: int) -> int | None:
        return self.compiled().next_after(instant)

    @property
    def display_timezone(self) -> str:
        return self.timezone
