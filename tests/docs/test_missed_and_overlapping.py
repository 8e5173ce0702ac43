"""The tables of the guide about missed and overlapping runs are what a real store does."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backend.engine.definition import ScheduleDefinition
from backend.model.instants import MINUTE, SECOND, to_datetime
from backend.model.policies import MisfirePolicy, OverlapPolicy, Reason
from backend.model.run import AttemptState
from backend.store.leasing import Claim, Lessee
from backend.store.open import open_store
from backend.store.runs import RunRow
from tests.databases import url_in
from tests.store.world import START, StillClock, World

pytestmark = pytest.mark.anyio
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "missed-and-overlapping-runs.md"
TAKES = 150 * SECOND
LONG = timedelta(hours=2)
Table = dict[str, list[str]]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock, url = StillClock(), url_in(tmp_path)
    store = await open_store(url, clock=clock)
    try:
        yield World(store, clock, url)
    finally:
        store.close()


def tables() -> Iterator[Table]:
    """Read the tables whose other columns are times of day."""
    for block in re.findall(r"(?:^\|.*\n)+", GUIDE.read_text(), re.MULTILINE):
        rows = [[cell.strip(" `") for cell in line.strip("|\n").split("|")] for line in block.splitlines()]
        if re.fullmatch(r"\d\d:\d\d", rows[0][-1]):
            yield {row[0]: row[1:] for row in [rows[0], *rows[2:]]}


MISFIRES, OVERLAPS = tables()


def told(run: RunRow) -> str:
    """Write what became of an occurrence as the tables do."""
    if run.started_at is None:
        return run.state
    started = to_datetime(run.started_at).strftime("%H:%M:%S").removesuffix(":00")
    return f"{started}, cancelled" if run.state == "cancelled" else started


class Day:
    """A worker at whose hands each run takes its time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.at_work: list[tuple[int, Claim]] = []

    async def go_on(self, at: int) -> None:
        self.world.clock.at = at
        await self._end(at)
        await self.world.turn()
        pairs = [(run.key, "t1") for _, claim in self.at_work for run in claim.runs]
        to_stop = (await self.world.store.worker().extend(pairs, LONG)).to_stop
        for began, claim in list(self.at_work):
            if any(run.key in to_stop for run in claim.runs):
                await self.world.finish(claim, AttemptState.CANCELLED)
                self.at_work.remove((began, claim))
        await self._claim(at)

    async def _end(self, at: int) -> None:
        for began, claim in list(self.at_work):
            if at - began >= TAKES:
                await self.world.finish(claim)
                self.at_work.remove((began, claim))

    async def _claim(self, at: int) -> None:
        while (claim := await self.world.store.worker().claim(Lessee("w1", "t1", LONG), 1)).runs:
            self.at_work.append((at, claim))


@pytest.mark.parametrize("policy", OverlapPolicy)
async def test_the_table_of_overlap_policies_is_what_happens(world: World, policy: str) -> None:
    await world.put(overlap_policy=policy)
    day = Day(world)
    for half in range(2, 60):
        if half == 14:  # after six occurrences
            await world.pause()
        await day.go_on(START + half * MINUTE // 2)
    runs = [run for run in reversed(await world.runs()) if run.reason != "paused"]
    assert [to_datetime(run.nominal_at).strftime("%H:%M") for run in runs] == OVERLAPS["policy"]
    assert [told(run) for run in runs] == OVERLAPS[policy]


@pytest.mark.parametrize("policy", MisfirePolicy)
async def test_the_table_of_misfire_policies_is_what_happens(world: World, policy: str) -> None:
    await world.put(triggers=[{"kind": "interval", "every": "10m"}], misfire_policy=policy)
    world.clock.at = START + 45 * MINUTE
    await world.turn()
    for _ in range(10):
        await world.work()
        world.clock.go(seconds=1)
    runs = list(reversed(await world.runs()))
    assert [to_datetime(run.nominal_at).strftime("%H:%M") for run in runs] == MISFIRES["policy"]
    assert [told(run) for run in runs] == MISFIRES[policy]


def test_every_policy_and_reason_is_in_the_guide():
    text = GUIDE.read_text()
    assert set(OVERLAPS) == {"policy", *OverlapPolicy}
    assert set(MISFIRES) == {"policy", *MisfirePolicy}
    assert [reason for reason in Reason if f"`{reason}`" not in text and reason != Reason.QUOTA] == []


def definitions() -> list[dict[str, Any]]:
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", GUIDE.read_text(), re.DOTALL)]


@pytest.mark.parametrize("document", definitions())
def test_the_definitions_of_the_guide_are_accepted(document: dict[str, Any]):
    assert (
        ScheduleDefinition.model_validate(document).model_dump(mode="json").items()
        >= {name: value for name, value in document.items() if isinstance(value, str)}.items()
    )
