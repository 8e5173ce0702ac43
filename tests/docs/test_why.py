"""The examples of the guide "Why did it (not) run?" are what a real store answers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from backend.engine.explain import Verdict
from backend.model.ids import DEFAULT_NAMESPACE
from backend.model.instants import parse_instant
from backend.service.explain import Explanations
from backend.store.open import open_store
from tests.databases import url_in
from tests.store.world import StillClock, World

pytestmark = pytest.mark.anyio
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "why.md"
FIRST_OF_DECEMBER = parse_instant("2026-12-01T00:00:00Z")
EXAMPLES = re.findall(r"```json\n(.*?)```\n```text\n(.*?)```", GUIDE.read_text(), re.DOTALL)


async def answers(folder: Path, definition: str, instants: list[str]) -> list[str]:
    """Write answers as the guide does."""
    clock, url = StillClock(FIRST_OF_DECEMBER), url_in(folder)
    store = await open_store(url, clock=clock)
    try:
        await World(store, clock, url).put(**json.loads(definition))
        explanations = Explanations(store.namespace(DEFAULT_NAMESPACE))
        views = [await explanations.explain("job", at) for at in instants]
        return [f"{at}  {view.verdict}\n  {view.sentence}" for at, view in zip(instants, views, strict=True)]
    finally:
        store.close()


@pytest.mark.parametrize(("definition", "text"), EXAMPLES, ids=range(len(EXAMPLES)))
async def test_an_example_is_answered_as_the_guide_says(tmp_path, definition, text):
    instants = re.findall(r"^(\d\S+)  \w+$", text, re.MULTILINE)
    assert instants
    assert "\n".join(await answers(tmp_path, definition, instants)) == text.strip()


def test_the_guide_has_examples_and_names_every_verdict():
    assert len(EXAMPLES) == 3
    named = set(re.findall(r"`(\w+)`", GUIDE.read_text()))
    assert {verdict.value for verdict in Verdict} <= named
