"""What the next fire costs, here and in cronsim, croniter and APScheduler, over the expressions people write.

Run: python -m benchmarks.next_fire. Rounds are interleaved, so that a busy machine slows all alike; read the ratios.
Each library is compared over the expressions it knows (APScheduler has no `L` and no `#`). The last line counts how
often the kernel is asked while 100,000 schedules that share 200 expressions are planned.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import product
from statistics import median
from time import perf_counter
from typing import Any, TypeVar
from unittest.mock import patch

from apscheduler.triggers.cron import CronTrigger
from croniter import croniter
from cronsim import CronSim

from backend.engine.definition import ScheduleDefinition
from backend.engine.plan import plan_all
from backend.model.change import Moment
from backend.model.instants import MINUTE, SECOND
from backend.model.plan import Planned, Standing
from backend.model.schedule import Schedule
from backend.service.drafts import Draft, revise
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
SCHEDULES, SHARED, TURN = 100_000, 200, 1000

Case = tuple[str, str]
Given = TypeVar("Given")


class Library(ABC):
    """One way to parse an expression and to step through its times."""

    lacks: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return type(self).__name__.lower()

    def knows(self, case: Case) -> bool:
        return not self.lacks & set(case[0])

    @abstractmethod
    def parse(self, case: Case) -> Any: ...

    @abstractmethod
    def step(self, parsed: Any, times: int) -> None: ...


class Kernel(Library):
    def parse(self, case: Case) -> CronRule:
        return compile_rule.__wrapped__(*case, DstGap.SHIFT, DstOverlap.FIRST)

    def step(self, parsed: CronRule, times: int) -> None:
        instant: int | None = START * SECOND
        for _ in range(times):
            assert instant is not None
            instant = parsed.next_after(instant)


class Cronsim(Library):
    def parse(self, case: Case) -> CronSim:
        return CronSim(case[0], start_in(case[1]))

    def step(self, parsed: CronSim, times: int) -> None:
        for _ in range(times):
            next(parsed)


class Croniter(Library):
    def parse(self, case: Case) -> croniter:
        return croniter(case[0], start_in(case[1]))

    def step(self, parsed: croniter, times: int) -> None:
        for _ in range(times):
            parsed.get_next(datetime)


class Apscheduler(Library):
    lacks = frozenset("L#")

    def parse(self, case: Case) -> tuple[CronTrigger, datetime]:
        return CronTrigger.from_crontab(case[0], zone(case[1])), start_in(case[1])

    def step(self, parsed: tuple[CronTrigger, datetime], times: int) -> None:
        trigger, moment = parsed
        for _ in range(times):
            moment = trigger.get_next_fire_time(moment, moment)


def start_in(timezone: str) -> datetime:
    return datetime.fromtimestamp(START, zone(timezone))


def microseconds(work: Callable[[Given], None], given: Sequence[Given], times: int = 1) -> float:
    began = perf_counter()
    for one in given:
        work(one)
    return (perf_counter() - began) / (len(given) * times) * 1e6


def measure(library: Library, cases: Sequence[Case]) -> dict[str, float]:
    """Measure one round: what a step costs, and what parsing with a first step costs, in microseconds."""
    parsed = [library.parse(case) for case in cases]
    return {
        "step": microseconds(lambda one: library.step(one, STEPS), parsed, STEPS),
        "parse+step": microseconds(lambda case: library.step(library.parse(case), 1), cases),
    }


def compare(other: Library) -> None:
    ours = Kernel()
    cases = [case for case in product(EXPRESSIONS, ZONES) if other.knows(case)]
    rounds = [(measure(ours, cases), measure(other, cases)) for _ in range(ROUNDS)]
    for what in ("step", "parse+step"):
        ratio = median(mine[what] / theirs[what] for mine, theirs in rounds)
        print(
            f"{what:11} {median(mine[what] for mine, _ in rounds):7.1f} us   "
            f"{other.name:11} {median(theirs[what] for _, theirs in rounds):7.1f} us   ratio {ratio:.2f}"
        )


@contextmanager
def counted_questions() -> Iterator[Counter[tuple[CronRule, int]]]:
    """Count how often the kernel is asked for the next time of (expression, zone, policies) after an instant."""
    asked: Counter[tuple[CronRule, int]] = Counter()
    answer = CronRule.next_after

    def counted(rule: CronRule, instant: int) -> int | None:
        asked[rule, instant] += 1
        return answer(rule, instant)

    with patch.object(CronRule, "next_after", counted):
        yield asked


def shared_schedules(size: int, expressions: int, now: int) -> list[Schedule]:
    """Make schedules that share expressions and zones, as if each had been created at `now`."""
    made = []
    for number in range(expressions):
        # A minute and one of seven zones each: no two are alike.
        timezone = ("UTC", *ZONES[1:], "Europe/Paris", "Africa/Cairo", "Asia/Kolkata")[number % 7]
        trigger = {"kind": "cron", "expression": f"{number // 7 % 60} * * * *", "timezone": timezone}
        document = {"id": "x", "triggers": [trigger], "target": {"kind": "command", "argv": ["true"]}}
        draft = Draft(ScheduleDefinition.model_validate(document), "benchmark")
        made.append(revise(draft, None, Moment(now, "benchmark"), open_run=False).schedule)
    return [made[n % expressions]._replace(key=n + 1, id=f"s{n}") for n in range(size)]


def turns_over(schedules: Sequence[Schedule], now: int) -> list[Planned]:
    """Plan schedules as the engine does, turn by turn."""
    planned: list[Planned] = []
    for start in range(0, len(schedules), TURN):
        turn = [Standing(schedule, open_run=False, buffered=0) for schedule in schedules[start : start + TURN]]
        planned += plan_all(turn, now, "benchmark")
    return planned


def plan_shared(size: int, expressions: int) -> tuple[int, int, int, float]:
    """Plan one hour of schedules that share expressions: runs, kernel calls, distinct questions, seconds."""
    now = START * SECOND
    schedules = shared_schedules(size, expressions, now)
    with counted_questions() as asked:
        began = perf_counter()
        planned = turns_over(schedules, now + 60 * MINUTE)
        seconds = perf_counter() - began
    return sum(len(one.runs) for one in planned), asked.total(), len(asked), seconds


def main() -> None:
    for library in (Cronsim(), Croniter(), Apscheduler()):
        compare(library)
    runs, calls, distinct, seconds = plan_shared(SCHEDULES, SHARED)
    print(
        f"{SCHEDULES:,} schedules sharing {SHARED} expressions: {runs:,} runs planned in {seconds:.1f} s "
        f"by {calls:,} kernel calls for {distinct:,} distinct questions"
    )
    assert calls == distinct, "the same (expression, zone, instant) was computed again"


if __name__ == "__main__":
    main()
