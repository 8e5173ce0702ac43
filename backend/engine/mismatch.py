"""Why a cron rule does not fire at an instant: which field says no, and what the clocks of its zone do. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from backend.model.instants import SECOND as MICROSECONDS
from backend.model.instants import rfc3339, to_datetime
from backend.triggers.cron import CronRule, CronTrigger, month_length
from backend.triggers.cron_fields import DATE, HOUR, MINUTE, MONTH, SECOND, WEEKDAY, CronFields
from backend.triggers.zones import DAY

WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
NEAR = 2 * DAY


class Mismatch(NamedTuple):
    """A field of a rule, what the clock showed there, and what the rule says."""

    field: str
    value: str
    rule: str


def mismatches(trigger: CronTrigger, instant: int) -> list[Mismatch]:
    """Name the fields that do not match the wall clock at an instant; none where only a clock change decides."""
    rule = trigger.rule()
    second, fraction = divmod(instant, MICROSECONDS)
    found = [Mismatch("fraction", f"{fraction} µs", "0")] if fraction else []
    return [*found, *_times(rule.fields, rule.timeline.local(second)), *_days(rule.fields, rule.timeline.local(second))]


def _times(fields: CronFields, local: int) -> Iterator[Mismatch]:
    values = (local % 60, local // 60 % 60, local // 3600 % 24)
    sets = (fields.seconds, fields.minutes, fields.hours)
    for unit, value, numbers, text in zip((SECOND, MINUTE, HOUR), values, sets, fields.texts[:3], strict=True):
        if not numbers >> value & 1:
            yield Mismatch(unit.name, str(value), text.lower())


def _days(fields: CronFields, local: int) -> Iterator[Mismatch]:
    today = to_datetime(local * MICROSECONDS)
    if not fields.months >> today.month & 1:
        yield Mismatch(MONTH.name, str(today.month), fields.texts[4].lower())
    first = (today.replace(day=1).weekday() + 1) % 7
    length = month_length(today.year, today.month)
    if fields.days_of_month(first, length) >> today.day & 1:
        return
    # Where either of two day fields may match, neither does; where both must, at least one does not.
    dates = fields._replace(weekdays=WEEKDAY.full, special_weekdays=(), both_days=True)
    weekdays = fields._replace(dates=DATE.full, special_dates=(), both_days=True)
    if not dates.days_of_month(first, length) >> today.day & 1:
        yield Mismatch(DATE.name, str(today.day), fields.texts[3].lower())
    if not weekdays.days_of_month(first, length) >> today.day & 1:
        yield Mismatch("weekday", WEEKDAYS[(today.weekday() + 1) % 7], fields.texts[5].lower())


def clock_note(trigger: CronTrigger, instant: int) -> str | None:
    """Tell what a clock change on that day does to the rule, if it is why there is nothing at the instant."""
    rule = trigger.rule()
    return _pass_note(rule, trigger, instant) or next(_gap_notes(rule, instant // MICROSECONDS), None)


def _pass_note(rule: CronRule, trigger: CronTrigger, instant: int) -> str | None:
    local = rule.timeline.local(instant // MICROSECONDS)
    seconds = rule.timeline.seconds_at(local)
    if len(seconds) < 2 or mismatches(trigger, instant):
        return None
    which = "first" if seconds[0] == instant // MICROSECONDS else "second"
    return (
        f"{_clock(local)} occurs twice on {_date(local)}; this is the {which}, and dst_overlap is {trigger.dst_overlap}"
    )


def _gap_notes(rule: CronRule, second: int) -> Iterator[str]:
    starts, offsets = rule.timeline.starts, rule.timeline.offsets
    today = rule.timeline.local(second) // DAY
    for period in range(rule.timeline.period_at(second - NEAR) + 1, rule.timeline.period_at(second + NEAR) + 1):
        first, last = starts[period] + offsets[period - 1], starts[period] + offsets[period]
        match = rule.match_in_gap(period) if first < last else None
        if match is not None and today in {first // DAY, (last - 1) // DAY}:
            jump = f"the clock jumps from {_clock(first)} to {_clock(last)}"
            consequence = _consequence(rule, starts[period])
            yield f"{_clock(match)} does not exist on {_date(match)}: {jump}; {consequence}"


def _consequence(rule: CronRule, end: int) -> str:
    if rule.shifts:
        return f"it fires at the end of the gap, {rfc3339(end * MICROSECONDS)}"
    if rule.fields.wildcard:
        return "a rule with * in minute or hour skips what a gap removes"
    return "dst_gap is skip, so nothing fires for it"


def _clock(local: int) -> str:
    return f"{local // 3600 % 24:02}:{local // 60 % 60:02}"


def _date(local: int) -> str:
    return f"{to_datetime(local * MICROSECONDS):%Y-%m-%d}"
