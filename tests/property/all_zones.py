"""A corpus of rules, the clock changes of all zones, and an oracle that knows only what the wall clock shows.

The oracle reads the clock of `zoneinfo` minute by minute, and the rules by an expansion of its own. Local times are
seconds since 1970-01-01T00:00 on the wall clock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache, cached_property
from itertools import pairwise, product

from backend.triggers.zones import _zone_file, zone, zone_names

DAY = 86400
REACH = 36 * 3600
MARGIN = 6 * 3600  # no overlap since 1970 is longer, so whatever has a second pass shows both
FIRST, END = 0, int(datetime(2038, 1, 1, tzinfo=UTC).timestamp())
POLICIES = tuple(product(("shift", "skip"), ("first", "second", "both")))

FIXED = (
    "0 0 * * *",
    "30 0 * * *",
    "0 1 * * *",
    "30 1 * * *",
    "0 2 * * *",
    "15 2 * * *",
    "0 3 * * *",
    "30 23 * * *",
    "59 23 * * *",
    "0-59/10 2 * * *",
    "0,30 2,3 * * *",
    "5-55/25 0-4 * * *",
    "7,37 0-23 * * *",
    "0 0-23/2 * * *",
    "45 11,12 * * *",
    "0 9 * * mon-fri",
    "0 0 1 * *",
    "30 2 L * *",
    "30 2 * * sun",
    "0 2 * 3,10 *",
    "30 2 * * 0L,sun#2",
    "0 0 */2 * sat",
    "15 0-3 13 * fri",
    "30 30 2 * * *",
    "59 59 0-3 * * *",
    "0-59/15 0,30 1 * * *",
)
WILDCARD = (
    "* * * * *",
    "*/7 * * * *",
    "*/15 * * * *",
    "0 * * * *",
    "30 * * * *",
    "*/10 2 * * *",
    "* 0 * * *",
    "0 */2 * * *",
    "45 */3 * * *",
    "*/20 0-3 * * sun",
    "0 * 1-7 * 1-5",
    "30 */10 * * * *",
    "15,45 30 */2 * * *",
)
WORDS = {word: str(number) for number, word in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}


def expanded(text: str, low: int, high: int) -> frozenset[int]:
    """Read stars, numbers, ranges and steps, as far as the corpus has them."""
    found: set[int] = set()
    for item in text.split(","):
        span, _, step = item.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        found.update(range(int(first), int(last or first) + 1, int(step or 1)))
    return frozenset(found)


@dataclass(frozen=True)
class Rule:
    expression: str

    @cached_property
    def fields(self) -> list[str]:
        texts = self.expression.split()
        return texts if len(texts) == 6 else ["0", *texts]

    @cached_property
    def wildcard(self) -> bool:
        return "*" in self.fields[1][0] + self.fields[2][0]

    @cached_property
    def times(self) -> list[int]:
        """The seconds of a day that match."""
        seconds, minutes = (expanded(text, 0, 59) for text in self.fields[:2])
        hours = expanded(self.fields[2], 0, 23)
        return sorted(h * 3600 + m * 60 + s for h, m, s in product(hours, minutes, seconds))

    @cache  # noqa: B019 (the corpus lives as long as the process)
    def on(self, day: int) -> bool:
        """Tell whether the day, counted from the epoch, matches."""
        today = date(1970, 1, 1) + timedelta(days=day)
        dates, months, weekdays = self.fields[3:]
        last = (today + timedelta(days=1)).day == 1
        by_date = last if dates == "L" else today.day in expanded(dates, 1, 31)
        by_weekday = any(_is_weekday(item, today) for item in weekdays.split(","))
        either = dates[0] != "*" and weekdays[0] != "*"
        return today.month in expanded(months, 1, 12) and (
            (by_date or by_weekday) if either else (by_date and by_weekday)
        )


def _is_weekday(item: str, today: date) -> bool:
    name, _, nth = item.partition("#")
    if nth and (today.day + 6) // 7 != int(nth):
        return False
    if name.endswith("L") and (today + timedelta(days=7)).month == today.month:
        return False
    for word, number in WORDS.items():
        name = name.replace(word, number)
    return today.isoweekday() % 7 in expanded(name.removesuffix("L"), 0, 6)


CORPUS = tuple(Rule(expression) for expression in FIXED + WILDCARD)


@dataclass(frozen=True)
class Jump:
    """At `second` the clock shows `after` instead of `due`."""

    second: int
    due: int
    after: int

    @property
    def is_gap(self) -> bool:
        return self.after > self.due

    @property
    def on_the_hour(self) -> bool:
        return self.due % 3600 == 0 and self.after % 3600 == 0

    @property
    def swallows_midnight(self) -> bool:
        return self.is_gap and (self.due - 1) // DAY != self.after // DAY


class Shown:
    """What a wall clock shows around an instant: `runs` are (first UTC second, offset), in time order."""

    def __init__(self, start: int, runs: Sequence[tuple[int, int]]) -> None:
        self.start = start
        self.runs = runs
        ends = [second for second, _ in runs[1:]] + [start + REACH + MARGIN]
        self.spans = [(second, end, offset) for (second, offset), end in zip(runs, ends, strict=True)]
        self.jumps = [Jump(second, second + before, second + after) for (_, before), (second, after) in pairwise(runs)]
        self.step = 60 if all((second + offset) % 60 == 0 for second, offset in runs) else 30
        self.passes: dict[int, list[int]] = {}
        for first, end, offset in self.spans:
            for second in range(first, end, self.step):
                self.passes.setdefault(second + offset, []).append(second)
        self.dates = {local // DAY for local in self.passes}

        self._met: dict[Rule, tuple[list[list[int]], set[int]]] = {}

    def met(self, rule: Rule) -> tuple[list[list[int]], set[int]]:
        """Meet all local times that match: the passes of those shown, and the ends of the gaps with the others."""
        if rule not in self._met:
            passes: list[list[int]] = []
            ends: set[int] = set()
            for day in range(min(self.dates), max(self.dates) + 1):
                for local in (day * DAY + time for time in rule.times) if rule.on(day) else ():
                    into = local % self.step
                    if seconds := self.passes.get(local - into):
                        passes.append([second + into for second in seconds])
                    elif day in self.dates:
                        ends.update(jump.second for jump in self.jumps if jump.due <= local < jump.after)
            self._met[rule] = passes, ends
        return self._met[rule]

    def expected(self, rule: Rule, gap: str, overlap: str) -> list[int]:
        """List the occurrences within reach of the start, by the documented rules alone."""
        passes, ends = self.met(rule)
        if rule.wildcard or overlap == "both":
            found = {second for seconds in passes for second in seconds}
        else:
            found = {seconds[0 if overlap == "first" else -1] for seconds in passes}
        if not rule.wildcard and gap == "shift":
            found |= ends
        return sorted(second for second in found if abs(second - self.start) <= REACH)


def readings(name: str, start: int) -> tuple[tuple[int, int], ...]:
    """Read a zone's clock at each minute around `start`, by zoneinfo, and keep where the offset changes."""
    tz, runs, before = zone(name), [], None
    # Monrovia once changed at half a minute; everywhere else whole minutes show all.
    step = 60 if start % 60 == 0 else 30
    for second in range(start - REACH - MARGIN, start + REACH + MARGIN, step):
        offset = datetime.fromtimestamp(second, tz).utcoffset()
        if offset != before:
            assert offset is not None
            runs.append((second, int(offset.total_seconds())))
            before = offset
    return tuple(runs)


def distinct_zones() -> dict[str, list[str]]:
    """Group all zones that have the same data, by the first name."""
    groups: dict[bytes, list[str]] = {}
    for name in sorted(zone_names()):
        if "/" in name or name == "UTC":
            groups.setdefault(_zone_file(name), []).append(name)
    return {names[0]: names for names in groups.values()}


def changes(name: str) -> Iterator[int]:
    """Find the instants 1970–2037 at which a zone's offset changes, by asking zoneinfo every three hours."""
    tz, stride = zone(name), 3 * 3600

    def offset(second: int) -> timedelta | None:
        return datetime.fromtimestamp(second, tz).utcoffset()

    before = offset(FIRST)
    for second in range(FIRST + stride, END + stride, stride):
        now = offset(second)
        if now != before:
            low, high = second - stride, second
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(middle) == before else (low, middle)
            if high < END:
                yield high
        before = now


def following(expected: Sequence[int], second: int) -> int | None:
    """Find the first expected occurrence strictly later, if it lies within reach."""
    place = bisect_right(expected, second)
    return expected[place] if place < len(expected) else None
