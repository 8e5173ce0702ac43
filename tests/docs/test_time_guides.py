"""The guides about time say what happens: each trigger they show is asked for the times that they list.

A block ```` ```json ```` with a trigger, a list of them, or a schedule's id and timing, is followed by a block
```` ```text ````. Its first line says `after INSTANT`; then come local times with their offsets and, behind two spaces,
the note that they carry. Lines `says …` and `warns …` are the description and the warnings, and `refused: FIELD: RULE`
is why it is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import ValidationError

from backend.errors import FieldError
from backend.service.times import Preview, PreviewRequest, preview

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
PAGES = ("time-zones-and-daylight-saving.md", "choosing-a-trigger.md")
BLOCKS = re.compile(r"^```json\n(.*?)^```\n+^```text\n(.*?)^```", re.DOTALL | re.MULTILINE)


class Example(NamedTuple):
    draft: dict[str, Any]
    expected: list[str]


def examples(page: str) -> Iterator[Example]:
    for given, text in BLOCKS.findall((GUIDES / page).read_text()):
        yield Example(draft_of(json.loads(given)), text.splitlines())


def draft_of(document: Any) -> dict[str, Any]:
    if isinstance(document, dict) and "triggers" in document:
        return document
    return {"triggers": document if isinstance(document, list) else [document]}


def every_example() -> list[Any]:
    return [
        pytest.param(example, id=f"{page}-{number}")
        for page in PAGES
        for number, example in enumerate(examples(page), 1)
    ]


def asked(example: Example) -> Preview:
    after = example.expected[0].removeprefix("after ")
    count = sum(not line.startswith(("after ", "says ", "warns ")) for line in example.expected)
    return preview(PreviewRequest.model_validate(example.draft | {"from": after, "count": count}), 0)


def shown(found: Preview) -> Iterator[str]:
    for one in found.occurrences:
        local = datetime.fromisoformat(one.local_time).strftime("%a %Y-%m-%d %H:%M:%S %z")
        yield f"{local}  {one.note}" if one.note else local


def refusal(example: Example) -> str:
    with pytest.raises(ValidationError) as refused:
        PreviewRequest.model_validate(example.draft)
    error = refused.value.errors()[0]["ctx"]["error"]
    assert isinstance(error, FieldError)
    return f"refused: {error.field}: {error.rule}"


@pytest.mark.parametrize("example", every_example())
def test_an_example_of_a_guide_fires_when_the_guide_says(example):
    if example.expected[0].startswith("refused: "):
        assert [refusal(example)] == example.expected
        return
    found = asked(example)
    texts = {
        "says": [f"says {found.description}"],
        "warns": [f"warns {warning}" for warning in found.warnings],
        "times": list(shown(found)),
    }
    listed: dict[str, list[str]] = {}
    for line in example.expected[1:]:
        first = line.partition(" ")[0]
        listed.setdefault(first if first in texts else "times", []).append(line)
    assert listed == {kind: texts[kind] for kind in listed}
    assert "times" in listed


def test_the_guides_have_examples_for_all_they_explain():
    assert len(every_example()) >= 25
    for page in PAGES:
        blocks = re.findall(r"^```json\n", (GUIDES / page).read_text(), re.MULTILINE)
        assert len(blocks) == len(list(examples(page))), f"{page}: a trigger without its times"
