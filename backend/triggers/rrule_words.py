"""Calendar rules in words: exact, and with a warning where their author may be surprised."""

from __future__ import annotations

from collections.abc import Sequence

from backend.model.instants import SECOND, to_datetime
from backend.triggers.rrule import RecurrenceTrigger, parse_dtstart
from backend.triggers.rrule_parts import Frequency, Parts, parse_rule
from backend.triggers.words import MONTHS, ORDINALS, WEEKDAYS, clock, join, months, plural, weekdays

UNITS = {
    Frequency.YEARLY: "year",
    Frequency.MONTHLY: "month",
    Frequency.WEEKLY: "week",
    Frequency.DAILY: "day",
    Frequency.HOURLY: "hour",
}
MOST_TIMES = 6


def describe_rule(trigger: RecurrenceTrigger) -> str:
    """Say in English, and exactly, when a rule fires.

    >>> describe_rule(RecurrenceTrigger(rule="FREQ=MONTHLY;BYDAY=1MO", dtstart="2026-01-05T09:00:00"))
    'every month on the first Monday of the month at 09:00, from 2026-01-05 09:00 (UTC)'
    """
    written = parse_rule(trigger.rule)
    rule = trigger.compiled().recurrence
    words = [_every(written), _days(rule.parts), _in_months(rule.parts), _times(rule.parts)]
    text = " ".join(word for word in words if word)
    limits = [_positions(rule.parts), f"from {_local(rule.start)}", _end(written)]
    return ", ".join([text, *(limit for limit in limits if limit)]) + f" ({trigger.timezone})"


def _every(parts: Parts) -> str:
    unit = UNITS[parts.frequency]
    if parts.interval == 1:
        return f"every {unit}"
    begin = f" (weeks begin on {WEEKDAYS[parts.week_start]})" if parts.frequency == Frequency.WEEKLY else ""
    return f"every {parts.interval} {unit}s{begin}"


def _days(parts: Parts) -> str:
    words = []
    if parts.weeks:
        words.append(f"in {_numbered(parts.weeks, 'week')} of the year (weeks begin on {WEEKDAYS[parts.week_start]})")
    if parts.year_days:
        words.append(f"on {_numbered(parts.year_days, 'day')} of the year")
    if parts.month_days:
        words.append(f"on {_numbered(parts.month_days, 'day')} of the month")
    if parts.weekdays:
        # Beside another rule for days, weekdays only choose among them.
        words.append(("if that is " if parts.year_days or parts.month_days else "on ") + _weekdays(parts))
    return " ".join(words)


def _numbered(numbers: Sequence[int], unit: str) -> str:
    """Name numbers that may count from the end."""
    plain = [number for number in numbers if number > 0]
    words = [plural(plain, unit)] if plain else []
    return join(words + [f"the {_from_end(number)}{unit}" for number in numbers if number < 0])


def _from_end(number: int) -> str:
    return "last " if number == -1 else f"{_nth(-number)}-last "


def _nth(number: int) -> str:
    if number < len(ORDINALS):
        return ORDINALS[number]
    endings = {1: "st", 2: "nd", 3: "rd"}
    return f"{number}{'th' if 10 < number % 100 < 14 else endings.get(number % 10, 'th')}"


def _weekdays(parts: Parts) -> str:
    words = weekdays([day for day, nth in parts.weekdays if nth == 0])
    within = "year" if parts.frequency == Frequency.YEARLY and not parts.months else "month"
    for day, nth in parts.weekdays:
        if nth:
            ordinal = _from_end(nth) if nth < 0 else f"{_nth(nth)} "
            words.append(f"the {ordinal}{WEEKDAYS[day]} of the {within}")
    return join(words)


def _in_months(parts: Parts) -> str:
    return f"in {months(parts.months)}" if parts.months else ""


def _times(parts: Parts) -> str:
    hours, minutes, seconds = parts.hours, parts.minutes, parts.seconds
    if len(hours) * len(minutes) * len(seconds) <= MOST_TIMES:
        return "at " + join([clock((h * 60 + m) * 60 + s) for h in hours for m in minutes for s in seconds])
    words = [plural(minutes, "minute")]
    if seconds != (0,):
        words.insert(0, plural(seconds, "second"))
    if len(hours) < 24:
        words.append(plural(hours, "hour"))
    return "at " + " of ".join(words)


def _positions(parts: Parts) -> str:
    if not parts.positions:
        return ""
    words = [_from_end(number).strip() if number < 0 else _nth(number) for number in parts.positions]
    return f"of these only the {join(words)} in each {UNITS[parts.frequency]}"


def _end(parts: Parts) -> str:
    if parts.count:
        return "once" if parts.count == 1 else f"{parts.count} times"
    if parts.until:
        return f"until {_local(parts.until.second)}{' UTC' if parts.until.utc else ''}"
    return ""


def _local(second: int) -> str:
    return f"{to_datetime(second * SECOND):%Y-%m-%d} {clock(second)}"


def rule_warnings(trigger: RecurrenceTrigger) -> list[str]:
    """List what a rule does that its author may not expect."""
    rule = trigger.compiled().recurrence
    found = []
    if rule.next_local(rule.start) != rule.start:
        found.append(f"dtstart {_local(parse_dtstart(trigger.dtstart))} does not match the rule, so nothing fires then")
    if rule.parts.frequency == Frequency.HOURLY:
        found.append(
            "FREQ=HOURLY counts hours of the wall clock: an hour that comes twice fires in its first pass only"
        )
    return found + _missing_days(rule.parts)


def _missing_days(parts: Parts) -> list[str]:
    shortest = min(map(abs, parts.month_days), default=0)
    if shortest < 29:
        return []
    lengths = {month: 29 if month == 2 else 30 if month in {4, 6, 9, 11} else 31 for month in range(1, 13)}
    chosen = parts.months or tuple(lengths)
    missing = [MONTHS[month - 1] for month in chosen if lengths[month] < shortest]
    found = [f"day {shortest} does not exist in {join(missing)}; BYMONTHDAY=-1 means the last day"] if missing else []
    if shortest == 29 and 2 in chosen:
        found.append("day 29 exists in February only in leap years; BYMONTHDAY=-1 means the last day")
    return found
