"""Calendar rules against dateutil, against a search through the zone, and against a bound on what an answer costs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice, takewhile
from types import FrameType, ModuleType
from typing import Any, TypeVar

import pytest
from dateutil import rrule as dateutil_rrule
from hypothesis import HealthCheck, assume, event, example, given, settings
from hypothesis import strategies as st

from backend.errors import FieldError
from backend.model.instants import LATEST, SECOND, to_datetime
from backend.triggers import rrule, rrule_kernel, rrule_parts
from backend.triggers.rrule import RecurrenceRule, compile_recurrence
from backend.triggers.rrule_kernel import Recurrence, recurrence
from backend.triggers.rrule_parts import LONGEST, LONGEST_INTERVALS, Frequency, parse_rule
from backend.triggers.zones import timeline

R = TypeVar("R")
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # the wall clock has no zone
WEEKDAYS = ("SU", "MO", "TU", "WE", "TH", "FR", "SA")
ZONES = ("UTC", "America/New_York", "Africa/Cairo", "Australia/Lord_Howe", "Pacific/Apia", "America/Sao_Paulo")

MOST = 100
OURS = (rrule, rrule_kernel, rrule_parts)
COMPILE_LINES = 40_000
ANSWER_LINES = 15_000
"""Lines of Python that compiling and one answer may run: some 3 and 1 ms, but no wall clock decides."""


class TooManySteps(Exception):
    """The limit of a `Steps` is reached."""


class Steps:
    """Counts the lines that run in some modules, and stops at a limit."""

    def __init__(self, *modules: ModuleType, limit: int = 1_000_000) -> None:
        self.count = 0
        self._limit = limit
        self._files = {module.__file__ for module in modules}

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Steps | None:
        if frame.f_code.co_filename not in self._files:
            return None
        self.count += event == "line"
        if self.count > self._limit:
            raise TooManySteps
        return self

    def of(self, action: Callable[[], R]) -> R:
        before = sys.gettrace()
        sys.settrace(self)
        try:
            return action()
        finally:
            sys.settrace(before)


@st.composite
def numbers(draw: st.DrawFn, low: int, high: int, *, signed: bool = False, most: int = 4) -> str:
    values = st.integers(low, high)
    if signed:
        values = values | values.map(lambda value: -value)
    return ",".join(map(str, draw(st.lists(values, min_size=1, max_size=most, unique=True))))


@st.composite
def weekdays(draw: st.DrawFn, nth: int) -> str:
    # All or none are numbered: of a mixture, dateutil asks both to match, and the RFC either.
    days = draw(st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=4, unique=True))
    if not nth or draw(st.booleans()):
        return ",".join(days)
    ordinals = st.integers(1, nth) | st.integers(-nth, -1)
    return ",".join(f"{draw(ordinals)}{day}" for day in days)


@st.composite
def rules(draw: st.DrawFn) -> str:
    """Rules that the RFC allows, sparse and dense, each part often absent."""
    frequency = draw(st.sampled_from(Frequency))
    longest = LONGEST_INTERVALS[frequency]
    interval = draw(st.integers(1, 5) | st.integers(1, longest))
    parts = {"FREQ": str(frequency), "INTERVAL": str(interval)}

    def maybe(name: str, values: st.SearchStrategy[str], chance: int = 3) -> None:
        if draw(st.integers(1, chance)) == 1:
            parts[name] = draw(values)

    maybe("BYMONTH", numbers(1, 12))
    if frequency == Frequency.YEARLY:
        maybe("BYWEEKNO", numbers(1, 53, signed=True), 5)
    if frequency in {Frequency.YEARLY, Frequency.HOURLY}:
        maybe("BYYEARDAY", numbers(1, 366, signed=True), 5)
    if frequency != Frequency.WEEKLY:
        maybe("BYMONTHDAY", numbers(1, 31, signed=True))
    monthly = frequency == Frequency.MONTHLY or "BYMONTH" in parts
    numbered = frequency in {Frequency.YEARLY, Frequency.MONTHLY} and "BYWEEKNO" not in parts
    maybe("BYDAY", weekdays((5 if monthly else 53) if numbered else 0), 2)
    maybe("BYHOUR", numbers(0, 23))
    maybe("BYMINUTE", numbers(0, 59))
    maybe("BYSECOND", numbers(0, 59, most=2), 6)
    if any(name.startswith("BY") for name in parts):
        maybe("BYSETPOS", numbers(1, 6, signed=True) | numbers(1, 366, signed=True))
    maybe("WKST", st.sampled_from(WEEKDAYS))
    return ";".join(f"{name}={value}" for name, value in parts.items())


moments = st.datetimes(datetime(1970, 1, 2), datetime(2090, 1, 1)).map(lambda moment: moment.replace(microsecond=0))  # noqa: DTZ001


def local(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(seconds=1)


def prepared(rule: str, start: datetime) -> Recurrence:
    found = None
    with suppress(FieldError):
        found = recurrence(parse_rule(rule), local(start))
    # The only rules refused here choose none of their times.
    assert found is not None or "BYSETPOS" in rule
    assume(found is not None)
    assert found is not None
    return found


def found_here(rule: Recurrence, until: int, most: int) -> list[datetime]:
    found: list[datetime] = []
    second = rule.next_local(rule.start)
    while second is not None and second < until and len(found) < most:
        found.append(EPOCH + timedelta(seconds=second))
        second = rule.next_local(second + 1)
    return found


def found_by_dateutil(rule: str, start: datetime, end: datetime) -> tuple[list[datetime], bool]:
    """List what dateutil finds before `end`, and tell whether it got there.

    Nothing else stops it: where a rule is silent it goes on to the year 9999, and UNTIL does not hold it back.
    """
    found: list[datetime] = []

    def collect() -> None:
        theirs = dateutil_rrule.rrulestr(rule, dtstart=start)
        found.extend(islice(takewhile(lambda moment: moment < end, theirs), MOST))

    try:
        Steps(dateutil_rrule, limit=250_000).of(collect)
    except TooManySteps:
        return found, False
    except ValueError as error:
        # It sees at once that the hours of an interval never meet BYHOUR.
        if "generates an empty set" not in str(error):
            raise
    return found, True


SLOW = (HealthCheck.filter_too_much, HealthCheck.too_slow)


@settings(max_examples=80, deadline=None, suppress_health_check=SLOW)
@given(rule=rules(), start=moments)
def test_a_rule_fires_when_dateutil_says(rule: str, start: datetime) -> None:
    compare(rule, start)


@pytest.mark.soak
@settings(max_examples=5000, deadline=None, suppress_health_check=SLOW)
@given(rule=rules(), start=moments)
def test_thousands_of_rules_fire_when_dateutil_says(rule: str, start: datetime) -> None:
    compare(rule, start)


def compare(rule: str, start: datetime) -> None:
    # A week number alone leaves the weekday to DTSTART (RFC 5545), dateutil takes the whole week.
    assume("BYWEEKNO" not in rule or "BYDAY" in rule or "DAY=" in rule)
    here = prepared(rule, start)
    end = start + timedelta(days=300 if here.parts.frequency == Frequency.HOURLY else 3600)
    theirs, whole = found_by_dateutil(rule, start, end)
    ours = found_here(here, local(end), MOST)
    if "FREQ=WEEKLY" in rule and "BYSETPOS" in rule:
        # dateutil lets the first week begin on DTSTART's day, and so chooses among fewer occurrences.
        after = start + timedelta(days=7)
        ours, theirs = ([moment for moment in found if moment > after][: MOST - 50] for found in (ours, theirs))
    event("compared whole" if whole else "dateutil gave up")
    assert (ours if whole else ours[: len(theirs)]) == theirs


@settings(max_examples=60, deadline=None)
@given(rule=rules(), start=moments, count=st.integers(1, 200))
def test_a_count_ends_where_counting_ends(rule: str, start: datetime, count: int) -> None:
    here = prepared(rule, start)
    last = here.last_of(count)
    found = found_here(here, local(datetime(2130, 1, 1)), count)  # noqa: DTZ001
    if last is not None and len(found) == count:
        assert found[-1] == EPOCH + timedelta(seconds=last)
    elif len(found) == count:
        assert found[-1] > start + timedelta(days=here.count_years * 365)


def clear_caches() -> None:
    compile_recurrence.cache_clear()
    for cached in ("_every", "_resolved", "_numbered_bits", "_weekday_bits", "_week_bits", "_times_of"):
        getattr(rrule_kernel, cached).cache_clear()


@st.composite
def hostile(draw: st.DrawFn) -> str:
    """Rules as `rules` makes them, with an end, with long lists, or plain noise."""
    rule = draw(rules())
    ending = draw(st.sampled_from(["", "COUNT={}", "UNTIL=20991231", "UNTIL=99991231T235959Z"]))
    if ending:
        rule += ";" + ending.format(draw(st.sampled_from([1, 2, 100, 9_999, 10_000])))
    return draw(st.just(rule) | st.text("FREQ=DAILYBYMONTHSETPOS;,0123456789-+", max_size=600))


POSITIONS = ",".join(str(position) for position in range(-110, 0))
MINUTES = ",".join(map(str, range(60)))


@settings(max_examples=150, deadline=None)
@given(
    rule=hostile(), start=moments, zone=st.sampled_from(ZONES), after=st.integers(0, 4_000_000_000) | st.just(LATEST)
)
@example("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=31", datetime(2000, 1, 1), "UTC", 0)  # noqa: DTZ001
@example("FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=29", datetime(2000, 1, 1), "UTC", 4_000_000_000)  # noqa: DTZ001
@example("FREQ=HOURLY;INTERVAL=23;BYHOUR=3;BYMONTHDAY=31;BYDAY=MO", datetime(2000, 1, 1, 2), "UTC", 0)  # noqa: DTZ001
@example("FREQ=HOURLY;INTERVAL=25;BYHOUR=3", datetime(2000, 1, 1, 2), "UTC", 0)  # noqa: DTZ001
@example("FREQ=HOURLY;INTERVAL=24;COUNT=10000", datetime(2000, 1, 1, 2), "UTC", 0)  # noqa: DTZ001
@example("FREQ=HOURLY;INTERVAL=4;COUNT=10000", datetime(2000, 1, 1, 2), "UTC", 0)  # noqa: DTZ001
@example("FREQ=WEEKLY;BYMONTH=3,5;COUNT=10000", datetime(2000, 1, 1), "UTC", 0)  # noqa: DTZ001
@example("FREQ=WEEKLY;BYSECOND=0;BYSETPOS=1;COUNT=9999", datetime(2000, 1, 1), "UTC", LATEST)  # noqa: DTZ001
@example("FREQ=WEEKLY;BYMONTH=1,3;BYSETPOS=1;BYDAY=SU;COUNT=9999", datetime(2000, 1, 1), "UTC", LATEST)  # noqa: DTZ001
@example("FREQ=DAILY;COUNT=10000", datetime(2000, 1, 1), "UTC", 4_000_000_000)  # noqa: DTZ001
@example(f"FREQ=YEARLY;BYDAY=MO,TU;BYMINUTE={MINUTES};BYSETPOS=-1", datetime(2000, 1, 1), "UTC", 0)  # noqa: DTZ001
@example(f"FREQ=MONTHLY;BYDAY=1MO;BYSETPOS={POSITIONS},3", datetime(2000, 1, 1), "UTC", 0)  # noqa: DTZ001
@example("FREQ=YEARLY;BYWEEKNO=53;BYDAY=MO;BYMONTH=5", datetime(2000, 1, 1), "UTC", 0)  # noqa: DTZ001
def test_no_rule_costs_more_than_a_bounded_number_of_steps(rule: str, start: datetime, zone: str, after: int) -> None:
    clear_caches()
    timeline(zone)
    compiling = Steps(*OURS)
    compiled = None
    with suppress(FieldError):
        compiled = compiling.of(lambda: compile_recurrence(rule, start.isoformat(), zone))
    assert compiling.count <= COMPILE_LINES
    if compiled is None:
        return
    assert len(rule) <= LONGEST
    instant: int | None = after * SECOND if after < LATEST else LATEST
    for _ in range(3):
        asking = Steps(*OURS)
        instant = asking.of(lambda asked=instant: compiled.next_after(asked))  # type: ignore[misc]
        assert asking.count <= ANSWER_LINES
        if instant is None:
            break


@st.composite
def around_changes(draw: st.DrawFn) -> tuple[str, int]:
    zone = draw(st.sampled_from(ZONES[1:]))
    starts = [start for start in timeline(zone).starts if 0 < start < 4_000_000_000]
    return zone, draw(st.sampled_from(starts)) + draw(st.integers(-100_000, 100_000))


@settings(max_examples=100, deadline=None)
@given(
    place=around_changes(),
    rule=st.sampled_from(
        [
            "FREQ=DAILY",
            "FREQ=HOURLY;BYMINUTE=0,15,30,45",
            "FREQ=DAILY;BYHOUR=0,1,2,3,23;BYMINUTE=0,10,30,50",
            "FREQ=HOURLY;INTERVAL=5",
            "FREQ=WEEKLY",
        ]
    ),
    clock=st.integers(0, 86_399),
)
def test_around_clock_changes_the_answer_is_the_first_of_all_carried_to_utc(
    place: tuple[str, int], rule: str, clock: int
) -> None:
    zone, second = place
    day = EPOCH + timedelta(days=second // 86_400 - 10, seconds=clock)
    assume(day.year >= 1970)
    compiled = compile_recurrence(rule, day.isoformat(), zone)
    candidates = [carried for wall in walls(compiled, second) if (carried := carry(zone, wall)) is not None]
    expected = min(candidate for candidate in candidates if candidate > second)
    answer = compiled.next_after(second * SECOND)
    assert answer is not None
    assert to_datetime(answer) == to_datetime(expected * SECOND)


def walls(rule: RecurrenceRule, second: int) -> list[int]:
    """List the local seconds of a rule from three days before a UTC second to ten days after it."""
    found, wall = [], rule.recurrence.next_local(second - 3 * 86_400)
    while wall is not None and wall < second + 10 * 86_400:
        found.append(wall)
        wall = rule.recurrence.next_local(wall + 1)
    return found


def carry(zone: str, wall: int) -> int | None:
    """Carry a local second to UTC by trying every offset of the zone; None on a date without a single second."""
    offsets = timeline(zone)

    def passes(of: int) -> list[int]:
        return [of - offset for offset in set(offsets.offsets) if offsets.local(of - offset) == of]

    if exact := passes(wall):
        return min(exact)
    morning = wall // 86_400 * 86_400
    if not any(passes(minute) for minute in range(morning, morning + 86_400, 900)):
        return None
    return next(start for start in offsets.starts if offsets.local(start) > wall > offsets.local(start - 1))
