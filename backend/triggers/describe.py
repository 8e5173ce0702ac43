"""Triggers in words: an exact description, warnings about what surprises, and notes on clock changes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from itertools import islice

from backend.duration import format_duration
from backend.model.instants import SECOND, from_datetime, rfc3339, to_datetime
from backend.triggers.base import Trigger
from backend.triggers.cron import CronRule, CronTrigger, DstGap, DstOverlap
from backend.triggers.cron_fields import DATE, HOUR, MINUTE, MONTH, WEEKDAY, CronFields, Unit
from backend.triggers.cron_fields import SECOND as SECONDS
from backend.triggers.interval import IntervalTrigger
from backend.triggers.once import OnceTrigger, parse_moment
from backend.triggers.rrule import RecurrenceTrigger
from backend.triggers.rrule_words import describe_rule, rule_warnings
from backend.triggers.words import MONTHS, ORDINALS, WEEKDAYS, clock, join, months, plural, weekdays
from backend.triggers.zones import Timeline, timeline

MOST_TIMES = 6
MOST_SKIPPED = 3


def describe(trigger: Trigger) -> str:
    """Say in English, and exactly, when a trigger fires.

    >>> describe(CronTrigger(expression="0 9 * * mon-fri", timezone="Europe/London"))
    'at 09:00 on Monday to Friday (Europe/London)'
    >>> describe(CronTrigger(expression="*/45 * * * *"))
    'at minutes 0 and 45 of every hour (UTC)'
    """
    if isinstance(trigger, CronTrigger):
        fields = trigger.rule().fields
        parts = (_times(fields), _days(fields), _months(fields))
        return " ".join(part for part in parts if part) + f"{_clock_changes(trigger)} ({trigger.timezone})"
    if isinstance(trigger, IntervalTrigger):
        anchor = "its creation" if trigger.anchor is None else rfc3339(trigger.anchor)
        return f"every {format_duration(trigger.every)}, counted from {anchor}"
    if isinstance(trigger, OnceTrigger):
        return f"once, at {rfc3339(trigger.instant)} ({trigger.timezone})"
    if isinstance(trigger, RecurrenceTrigger):
        return describe_rule(trigger)
    raise TypeError(f"no words for {type(trigger).__name__}")


def _clock_changes(trigger: CronTrigger) -> str:
    """Say what is not the default where the zone's clock jumps over a fixed time, or reads it twice."""
    rule = trigger.rule()
    if rule.fields.wildcard or len(rule.timeline.starts) <= 2:
        return ""
    words = {
        DstGap.SKIP: ", not on days when the clock jumps over it",
        DstOverlap.SECOND: ", the second time only when the clock reads it twice",
        DstOverlap.BOTH: ", both times when the clock reads it twice",
    }
    return words.get(trigger.dst_gap, "") + words.get(trigger.dst_overlap, "")


def _times(fields: CronFields) -> str:
    seconds, minutes, hours = _values(fields.seconds), _values(fields.minutes), _values(fields.hours)
    if len(minutes) * len(hours) * len(seconds) <= MOST_TIMES:
        return "at " + join([clock((h * 60 + m) * 60 + s) for h in hours for m in minutes for s in seconds])
    of_hours = _of_hours(fields)
    if seconds == [0]:
        return _each(minutes, MINUTE.name, 60) + (of_hours or _every_hour(minutes))
    if fields.minutes == MINUTE.full:
        # `at second 5 of hours 1 and 2` would be heard as two seconds, `every 5 seconds of hour 1` is as it is.
        return _each(seconds, SECONDS.name, 60) + ("" if _stride(seconds, 60) else " of every minute") + of_hours
    return f"{_each(seconds, SECONDS.name, 60)} of {plural(minutes, MINUTE.name)}{of_hours or ' of every hour'}"


def _every_hour(minutes: Sequence[int]) -> str:
    return "" if _stride(minutes, 60) else " of every hour"


def _each(values: Sequence[int], unit: str, size: int) -> str:
    """Say `every 15 minutes` only where the last step into the next round is as long as the others."""
    stride = _stride(values, size)
    if stride:
        return f"every {unit}" if stride == 1 else f"every {stride} {unit}s"
    return f"at {plural(values, unit)}"


def _stride(values: Sequence[int], size: int) -> int:
    """Find the step of values that divide a round evenly from 0; 0 when they don't."""
    step = values[1] - values[0] if len(values) > 1 else 0
    return step if step and list(values) == list(range(0, size, step)) and size % step == 0 else 0


def _of_hours(fields: CronFields) -> str:
    if fields.hours == HOUR.full:
        return ""
    return f" of {plural(_values(fields.hours), HOUR.name)}"


def _days(fields: CronFields) -> str:
    dates = "" if fields.dates == DATE.full else _date_words(fields)
    weekdays = "" if fields.weekdays == WEEKDAY.full else _weekday_words(fields)
    words = [part for part in (dates, weekdays) if part]
    # With a star in one field, the other alone decides, or both must match; without one, either may.
    if fields.both_days:
        return "on " + " if that is ".join(words) if words else ""
    return f"on {dates} or on {weekdays}" if len(words) == 2 else ""


def _date_words(fields: CronFields) -> str:
    words = [plural(_values(fields.dates), "day")] if fields.dates else []
    for text in fields.special_dates:
        if text == "L":
            words.append("the last day")
        elif text == "LW":
            words.append("the last working day")
        else:
            words.append(f"the working day nearest to day {text[:-1]}")
    return f"{join(words)} of the month"


def _weekday_words(fields: CronFields) -> str:
    words = [f"the {ORDINALS[nth]} {WEEKDAYS[day]} of the month" for day, nth in fields.special_weekdays]
    return join(weekdays(_values(fields.weekdays)) + words)


def _months(fields: CronFields) -> str:
    if fields.months == MONTH.full:
        return ""
    return "in " + months(_values(fields.months))


def _values(bits: int) -> list[int]:
    return [value for value in range(bits.bit_length()) if bits >> value & 1]


def warnings(trigger: Trigger) -> list[str]:
    """List what a trigger does that its author may not expect."""
    if isinstance(trigger, RecurrenceTrigger):
        return rule_warnings(trigger)
    if not isinstance(trigger, CronTrigger):
        return []
    fields = trigger.rule().fields
    return [*_day_warnings(fields), *_step_warnings(fields), *_month_warnings(fields), *_policy_warnings(trigger)]


def _policy_warnings(trigger: CronTrigger) -> list[str]:
    given = {"dst_gap": trigger.dst_gap != DstGap.SHIFT, "dst_overlap": trigger.dst_overlap != DstOverlap.FIRST}
    names = [name for name, differs in given.items() if differs]
    if not names or not trigger.rule().fields.wildcard:
        return []
    verb = "has" if len(names) == 1 else "have"
    return [f"{join(names)} {verb} no effect: a rule whose minute or hour begins with * follows real time"]


def _day_warnings(fields: CronFields) -> list[str]:
    date, weekday = fields.texts[3].lower(), fields.texts[5].lower()
    if "*" in {date, weekday} or "?" in {date, weekday}:
        return []
    if fields.both_days:
        if fields.dates == DATE.full or fields.weekdays == WEEKDAY.full:
            return []
        rule = "a field that begins with * counts as unrestricted"
        return [f"day-of-month {date} and day-of-week {weekday} must both match, because {rule}"]
    return [f"fires when either day-of-month {date} or day-of-week {weekday} matches, not only when both do"]


def _step_warnings(fields: CronFields) -> list[str]:
    found = []
    for text, unit in zip(fields.texts, (SECONDS, MINUTE, HOUR), strict=False):
        for item in dict.fromkeys(text.split(",")):
            base, _, step = item.partition("/")
            if base == "*" and step and (unit.last + 1) % int(step):
                found.append(_uneven(item, unit, int(step)))
    return found


def _uneven(item: str, unit: Unit, step: int) -> str:
    rest = unit.last + 1 - unit.last // step * step
    return f"{item} is uneven: the last step of each round is {rest} {unit.name}{'s' if rest > 1 else ''}, not {step}"


def _month_warnings(fields: CronFields) -> list[str]:
    dates = _values(fields.dates)
    only_by_date = fields.weekdays == WEEKDAY.full and not fields.special_dates
    if not only_by_date or not dates or dates[0] < 29:
        return []
    shortest = {29: 29, 30: 30, 31: 31}[dates[0]]
    lengths = {month: 29 if month == 2 else 30 if month in {4, 6, 9, 11} else 31 for month in _values(fields.months)}
    skipped = [MONTHS[month - 1] for month, length in lengths.items() if length < shortest]
    found = [f"day {dates[0]} does not exist in {join(skipped)}; L means the last day"] if skipped else []
    if shortest == 29 and 2 in lengths:
        found.append("day 29 exists in February only in leap years; L means the last day")
    return found


def note_at(trigger: Trigger, instant: int) -> str | None:
    """Tell how a clock change touches the occurrence at `instant` (microseconds); None when it doesn't."""
    if isinstance(trigger, CronTrigger):
        rule = trigger.rule()
        return _shift_note(_shifted(rule, instant), rule.timeline, instant) or _repeat_note(rule.timeline, instant)
    if isinstance(trigger, RecurrenceTrigger):
        recurring = trigger.compiled()
        missing = recurring.match_in_gap(instant // SECOND)
        return _shift_note(missing, recurring.timeline, instant) or _repeat_note(recurring.timeline, instant)
    if isinstance(trigger, OnceTrigger):
        offsets = timeline(trigger.timezone)
        return _shift_note(_skipped(trigger, offsets), offsets, instant) or _repeat_note(offsets, instant)
    return None


def skipped_times(trigger: Trigger, after: int, until: int) -> list[str]:
    """Name times that the clock jumps over and the rule skips, in (after, until]; a few, and only of this table."""
    if not isinstance(trigger, CronTrigger) or trigger.dst_gap != DstGap.SKIP or trigger.rule().fields.wildcard:
        return []
    rule = trigger.rule()
    offsets = rule.timeline
    periods = range(offsets.period_at(after // SECOND) + 1, offsets.period_at(until // SECOND) + 1)
    gaps = (rule.match_in_gap(period) for period in periods if offsets.offsets[period] > offsets.offsets[period - 1])
    missing = islice((gap for gap in gaps if gap is not None), MOST_SKIPPED)
    return [f"{clock(one)} on {to_datetime(one * SECOND):%Y-%m-%d} does not exist, and is skipped" for one in missing]


def _shifted(rule: CronRule, instant: int) -> int | None:
    """Find the local second, swallowed by a gap, for which a cron rule fires at `instant`."""
    second = instant // SECOND
    period = rule.timeline.period_at(second)
    return rule.match_in_gap(period) if rule.shifts and rule.timeline.starts[period] == second else None


def _skipped(trigger: OnceTrigger, offsets: Timeline) -> int | None:
    moment = parse_moment(trigger.at)
    if moment.tzinfo is not None:
        return None
    local = from_datetime(moment.replace(tzinfo=UTC)) // SECOND
    return None if offsets.seconds_at(local) else local


def _shift_note(missing: int | None, offsets: Timeline, instant: int) -> str | None:
    if missing is None:
        return None
    local = offsets.local(instant // SECOND)
    return f"{clock(missing)} does not exist that day; fires at {clock(local)}"


def _repeat_note(offsets: Timeline, instant: int) -> str | None:
    second = instant // SECOND
    local = offsets.local(second)
    seconds = offsets.seconds_at(local)
    if len(seconds) < 2:
        return None
    which = ORDINALS[1 + seconds.index(second)]
    return f"{clock(local)} occurs twice on {to_datetime(local * SECOND):%Y-%m-%d}; this is the {which}"
