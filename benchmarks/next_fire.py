"""What the next fire costs, here and in cronsim, over the expressions people write.

Run: python -m benchmarks.next_fire. Rounds are interleaved, so that a busy machine slows both alike; read the ratios.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import product
from statistics import median
from time import perf_counter
from typing import TypeVar

from cronsim import CronSim

from backend.model.instants import SECOND
from backend.triggers.cron import CronRule, DstGap, DstOverlap, compile_rule
from backend.triggers.zones import zone

EXPRESSIONS = (
    "* * * * *",
    "*/5 * * * *",
    "0 * * * *",
    "17 3 * * *",
    "0 9 * * mon-fri",
    "*/15 9-17 * * 1-5",
    "30 2 * * sun",
    "0 0 1 * *",
    "0 6 1,15 * *",
    "0 0 L * *",
    "0 12 * * 5#3",
    "0 0 1 1 *",
)
ZONES = ("UTC", "America/New_York", "Europe/London", "Asia/Tokyo")
START = 1_780_000_000
ROUNDS = 15
STEPS = 40

Case = tuple[str, str]
Given = TypeVar("Given")


def compiled_afresh(case: Case) -> CronRule:
    return compile_rule.__wrapped__(*case, DstGap.SHIFT, DstOverlap.FIRST)


def step_ours(rules: list[CronRule]) -> None:
    for rule in rules:
        instant: int | None = START * SECOND
        for _ in range(STEPS):
            assert instant is not None
            instant = rule.next_after(instant)


def step_cronsim(rules: list[CronSim]) -> None:
    for rule in rules:
        for _ in range(STEPS):
            next(rule)


def parse_and_step_ours(cases: list[Case]) -> None:
    for case in cases:
        compiled_afresh(case).next_after(START * SECOND)


def parse_and_step_cronsim(cases: list[Case]) -> None:
    for case in cases:
        next(asked(case))


def asked(case: Case) -> CronSim:
    return CronSim(case[0], datetime.fromtimestamp(START, zone(case[1])))


def microseconds(work: Callable[[list[Given]], None], given: list[Given], times: int = 1) -> float:
    began = perf_counter()
    work(given)
    return (perf_counter() - began) / (len(given) * times) * 1e6


def measure(cases: list[Case]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"step": [], "step cronsim": [], "parse+step": [], "parse+step cronsim": []}
    parsed = [compiled_afresh(case) for case in cases]
    for _ in range(ROUNDS):
        fresh = [asked(case) for case in cases]
        found["step"].append(microseconds(step_ours, parsed, STEPS))
        found["step cronsim"].append(microseconds(step_cronsim, fresh, STEPS))
        found["parse+step"].append(microseconds(parse_and_step_ours, cases))
        found["parse+step cronsim"].append(microseconds(parse_and_step_cronsim, cases))
    return found


def main() -> None:
    found = measure(list(product(EXPRESSIONS, ZONES)))
    for name in ("step", "parse+step"):
        ours, theirs = found[name], found[f"{name} cronsim"]
        ratio = median(a / b for a, b in zip(ours, theirs, strict=True))
        print(f"{name:11} {median(ours):7.1f} us   cronsim {median(theirs):7.1f} us   ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
