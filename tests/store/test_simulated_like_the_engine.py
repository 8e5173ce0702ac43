"""What a simulation foresees is what happens: the real engine, a worker with runs of one length, a clock that jumps."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from backend.engine.simulate import Forecast, Line, simulate
from backend.engine.track import Range
from backend.model.instants import MINUTE, SECOND, rfc3339
from backend.model.policies import MisfirePolicy, OverlapPolicy
from backend.model.run import ClaimedRun
from backend.store.leasing import Claim
from tests.store.world import START, World

pytestmark = pytest.mark.anyio
SPAN = Range(START, START + 240 * MINUTE)


@dataclass
class Worker:
    """Starts what waits, and ends it after so many microseconds, or when it is told to stop."""

    world: World
    length: int
    starts: list[int] = field(default_factory=list)
    open: list[tuple[int, ClaimedRun, Claim]] = field(default_factory=list)

    async def settle(self) -> None:
        """Do all that is to do at this instant."""
        busy = True
        while busy:
            await self._end()
            turn, claim = await self.world.turn(), await self.world.claim()
            self.starts += [self.world.clock.at] * len(claim.runs)
            self.open += [(self.world.clock.at + self.length, run, claim) for run in claim.runs]
            busy = bool(turn.runs or claim.runs or await self._end())

    async def _end(self) -> int:
        over = [one for one in self.open if one[0] <= self.world.clock.at or self._is_to_stop(one[1].id)]
        self.open = [one for one in self.open if one not in over]
        for _, run, claim in over:
            await self.world.finish(claim._replace(runs=[run]))
        return len(over)

    def _is_to_stop(self, id_: str) -> bool:
        state, asked = self.world.sql("select state, cancel_requested from runs where id = ?", id_)[0]
        return bool(asked) or state != "running"

    def following(self) -> int:
        """Find the next instant at which anything can happen."""
        due = self.world.sql("select next_scheduled_at from schedules union all select available_at from runs")
        instants = [*(at for (at,) in due if at is not None), *(one[0] for one in self.open), SPAN.to_at]
        found: int = min(at for at in instants if at > self.world.clock.at)
        return found


def foreseen(line: Line, outage: Range | None) -> Forecast:
    replay = simulate([line], SPAN, outage)
    while True:
        try:
            next(replay)
        except StopIteration as finished:
            forecast: Forecast = finished.value
            return forecast


def drawn(seed: int) -> tuple[dict[str, Any], int, Range | None]:
    """Draw a definition, how long its runs take, and an outage."""
    chance = random.Random(seed)
    begin = START + chance.randint(5, 100) * MINUTE + chance.choice([0, 30]) * SECOND
    outage = Range(begin, begin + chance.randint(1, 100) * MINUTE) if chance.random() < 0.7 else None
    expression = chance.choice(["*/5 * * * *", "*/7 * * * *", "0,1,2,30 * * * *", "*/13 * * * *"])
    fields = {
        "triggers": [{"kind": "cron", "expression": expression, "timezone": "UTC"}],
        "overlap_policy": chance.choice(list(OverlapPolicy)),
        "misfire_policy": chance.choice(list(MisfirePolicy)),
        "jitter": chance.choice(["0s", "2m", "10m"]),
        "max_runs": chance.choice([None, 4, 9]),
        "start_at": rfc3339(START),
    }
    return fields, chance.choice([0, 1, 4, 8, 12, 30]) * MINUTE + chance.choice([0, 17]) * SECOND, outage


# Among them: a run limit that ends within what is caught up, and a chain that is replaced before it has begun.
@pytest.mark.parametrize("seed", [1, 14, 23, 29, 39, 141, *range(100, 106)])
async def test_a_simulation_starts_what_the_engine_starts(world: World, seed: int) -> None:
    fields, length, outage = drawn(seed)
    world.clock.at = START - 1
    await world.put(**fields, pause_after_failures=0)
    schedule = await world.schedule()
    line = Line(
        id="job",
        timing=schedule.triggers,
        seed="default/job",
        jitter=schedule.jitter,
        misfire_policy=fields["misfire_policy"],
        misfire_threshold=schedule.misfire_threshold,
        catchup_window=schedule.catchup_window,
        overlap_policy=fields["overlap_policy"],
        runs_left=schedule.max_runs,
        duration=length,
    )
    worker = Worker(world, length)
    while (at := worker.following()) < SPAN.to_at:
        world.clock.at = outage.to_at if outage is not None and outage.covers(at) else at
        await worker.settle()
    seen = {minute: count for minute, count in enumerate(foreseen(line, outage).counts) if count}
    assert seen == Counter((at - START) // MINUTE for at in worker.starts if at < SPAN.to_at)
