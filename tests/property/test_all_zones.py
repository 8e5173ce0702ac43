"""The cron kernel at every clock change of every zone, 1970–2037, against a walk of the clock and against cronsim.

The long version is run by `make soak`; a sample of it runs always.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import pytest
from cronsim import CronSim

from backend.model.instants import SECOND
from backend.triggers.cron import CronRule, DstGap, DstOverlap, compile_rule
from backend.triggers.zones import timeline, zone
from tests.property.all_zones import (
    CORPUS,
    END,
    FIRST,
    POLICIES,
    REACH,
    Rule,
    Shown,
    changes,
    distinct_zones,
    following,
    readings,
)

SEED = 20261122
SAMPLE = 60
MOST_TICKS = 50_000  # of cronsim, for one chain
ASKED_FROM = (-7200, -3600, -1800, -1, 0, 1, 59, 1800, 3599, 3600, 7200)
DIFFERENCES = {
    "skipped date": "a date skipped whole",
    "not on the hour": "wildcard rules at shifts of half an hour",
    "midnight in the gap": "wildcard rules where a gap swallows midnight",
    "endless": "never answers",
    "within a minute": "a gap that ends within a minute",
}
"""What decides each disagreement with cronsim, and how docs/reference/cron.md names it."""

Place = tuple[int, tuple[str, ...]]
"""An instant, and the zones whose clocks change then."""


class Endless(Exception):
    """cronsim has taken more ticks for one step than any answer needs."""


class BoundedCronSim(CronSim):
    """A cronsim that gives up instead of turning in a circle, as it does in Chatham in autumn."""

    ticks = 0

    def tick(self, seconds: int = 1) -> None:
        self.ticks += 1
        if self.ticks > MOST_TICKS:
            raise Endless
        super().tick(seconds)


@cache
def compiled(rule: Rule, name: str) -> tuple[CronRule, ...]:
    """Compile a rule for each policy; for a wildcard rule they are one."""
    rules = tuple(
        compile_rule.__wrapped__(rule.expression, name, DstGap(gap), DstOverlap(overlap)) for gap, overlap in POLICIES
    )
    if not rule.wildcard:
        return rules
    assert len(set(rules)) == 1, f"{rule.expression}: a policy changes a wildcard rule"
    return rules[:1]


def chain(rule: CronRule, start: int) -> list[int]:
    found, instant = [], (start - REACH) * SECOND - 1
    while (following := rule.next_after(instant)) is not None and following <= (start + REACH) * SECOND:
        assert following % SECOND == 0
        found.append(following // SECOND)
        instant = following
    return found


def compare(places: Iterable[Place]) -> Counter[str]:
    """Compare all rules at all places; what disagrees is counted under a sentence of its own."""
    counts: Counter[str] = Counter()
    for start, names in places:
        groups: dict[tuple[tuple[int, int], ...], list[str]] = {}
        for name in names:
            groups.setdefault(readings(name, start), []).append(name)
        for runs, alike in groups.items():
            shown = Shown(start, runs)
            counts["transitions"] += len(alike)
            for rule in CORPUS:
                compare_with_walk(rule, shown, alike, counts)
                compare_with_cronsim(rule, shown, alike[0], counts)
    return counts


def compare_with_walk(rule: Rule, shown: Shown, names: Sequence[str], counts: Counter[str]) -> None:
    for place, (gap, overlap) in enumerate(POLICIES[:1] if rule.wildcard else POLICIES):
        expected = shown.expected(rule, gap, overlap)
        for name in names:
            kernel = compiled(rule, name)[place]
            case = f"{rule.expression} {name} {gap} {overlap} at {datetime.fromtimestamp(shown.start, UTC)}"
            counts["chains"] += 1
            counts["occurrences"] += len(expected)
            if chain(kernel, shown.start) != expected:
                counts[f"WRONG chain: {case}"] += 1
            for ahead in ASKED_FROM:
                asked = shown.start + ahead
                later = following(expected, asked)
                counts["single questions"] += 1
                if later is not None and kernel.next_after(asked * SECOND) != later * SECOND:
                    counts[f"WRONG answer from {ahead:+} s: {case}"] += 1


def compare_with_cronsim(rule: Rule, shown: Shown, name: str, counts: Counter[str]) -> None:
    if len(rule.expression.split()) == 6 and not rule.wildcard:
        return  # cronsim lets six fields always follow real time
    before, until = (4 * 3600, 5 * 3600) if rule.wildcard else (30 * 3600, REACH)
    began = datetime.fromtimestamp(shown.start - before, zone(name))
    if began.utcoffset() != (began.astimezone(UTC) - timedelta(hours=26)).astimezone(began.tzinfo).utcoffset():
        counts["cronsim not asked (it forgets in which pass it begins)"] += 1
        return
    expected = [s for s in shown.expected(rule, "shift", "first") if -before < s - shown.start <= until]
    counts["chains of cronsim"] += 1
    found = chain_of_cronsim(rule, began, shown.start + until)
    if found != expected:
        why = why_cronsim_differs(rule, shown, name)
        counts[f"cronsim differs: {'endless' if found is None and why == 'not on the hour' else why}"] += 1


def chain_of_cronsim(rule: Rule, began: datetime, until: int) -> list[int] | None:
    """List what cronsim answers up to a UTC second; None when it never does."""
    found = []
    try:
        for moment in BoundedCronSim(rule.expression, began):
            second = round(moment.timestamp())
            if second > until:
                break
            found.append(second)
    except Endless:
        return None
    return found


def why_cronsim_differs(rule: Rule, shown: Shown, name: str) -> str:
    if any(jump.after - jump.due >= 86400 for jump in shown.jumps):
        return "skipped date"
    if rule.wildcard and any(jump.swallows_midnight for jump in shown.jumps):
        return "midnight in the gap"
    if rule.wildcard and not all(jump.on_the_hour for jump in shown.jumps):
        return "not on the hour"
    if any(jump.is_gap and jump.after % 60 for jump in shown.jumps):
        return "within a minute"
    return f"UNLISTED {rule.expression} {name} {shown.start}"


def gathered(zones: Iterable[tuple[str, Iterable[int]]]) -> list[Place]:
    """Bring the changes of all zones together by instant, so that what clocks show alike is walked once."""
    places: dict[int, list[str]] = {}
    for name, starts in zones:
        for start in starts:
            places.setdefault(start, []).append(name)
    return [(start, tuple(names)) for start, names in sorted(places.items())]


def tabled_changes(name: str) -> list[int]:
    return [start for start in timeline(name).starts if FIRST < start < END]


def scanned(name: str) -> tuple[str, list[int]]:
    return name, list(changes(name))


def assert_nothing_is_wrong(counts: Counter[str]) -> None:
    wrong = [text for text in counts if text.startswith("WRONG") or "UNLISTED" in text]
    assert not wrong, "\n".join([f"{len(wrong)} kinds of disagreement, such as", *wrong[:20]])


def test_a_sample_of_all_clock_changes_agrees_with_a_walk_of_the_clock():
    every = [(start, (name,)) for name in sorted(distinct_zones()) for start in tabled_changes(name)]
    counts = compare(random.Random(SEED).sample(every, SAMPLE))
    print(f"seed {SEED}: {dict(counts)}")
    assert counts["transitions"] == SAMPLE
    assert counts["chains of cronsim"] > SAMPLE * 10
    assert_nothing_is_wrong(counts)


def test_a_wrong_answer_would_be_seen():
    """Ask the oracle about New York and the kernel about London: the comparison must notice."""
    start = int(datetime(2024, 3, 10, 7, tzinfo=UTC).timestamp())
    counts: Counter[str] = Counter()
    shown = Shown(start, readings("America/New_York", start))
    for rule in CORPUS:
        compare_with_walk(rule, shown, ["Europe/London"], counts)
    assert sum(1 for text in counts if text.startswith("WRONG chain")) > 50


def test_every_kind_of_disagreement_with_cronsim_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "reference" / "cron.md").read_text()
    differences = page.partition("## Differences from cronsim")[2]
    assert all(text in differences for text in DIFFERENCES.values())


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_all_clock_changes_of_all_zones_agree_with_a_walk_of_the_clock():
    zones = distinct_zones()
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        found = dict(pool.map(scanned, zones, chunksize=8))
        assert found == {name: tabled_changes(name) for name in zones}, "the table of a zone lacks a change"
        places = gathered(found.items())
        counts: Counter[str] = Counter()
        for part in pool.map(compare, (places[at : at + 20] for at in range(0, len(places), 20))):
            counts.update(part)
    counts["zones"], counts["zones that differ"] = sum(map(len, zones.values())), len(zones)
    print("\n".join(f"{number:>12,}  {text}" for text, number in sorted(counts.items())))
    assert counts["zones"] > 500
    assert counts["transitions"] == sum(map(len, found.values())) > 17_000
    assert_nothing_is_wrong(counts)
    differences = {text.partition(": ")[2] for text in counts if text.startswith("cronsim differs")}
    assert differences <= DIFFERENCES.keys()
