"""P14: bad input gives 500: here one validator stands at every entrance, and names field, rule and fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.api_client import api_on, draft

pytestmark = pytest.mark.anyio
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("triggers[0].expression", {"triggers": [{"kind": "cron", "expression": "0 25 * * *"}]}),
    ("triggers[0].timezone", {"triggers": [{"kind": "cron", "expression": "@daily", "timezone": "Mars/Olympus"}]}),
    ("name", {"name": "a\0b"}),
    ("timeout", {"timeout": "soon"}),
    ("input.a", {"input": {"a": 2**63}}),
    ("nmae", {"nmae": "x"}),
]


@pytest.mark.each_database
async def test_bad_input_is_422_with_the_same_words_at_every_entrance(tmp_path: Path) -> None:
    async with api_on(tmp_path) as api:
        await api.put("/schedules/x", draft())
        for field, wrong in WRONG:
            document = draft("x") | wrong
            answers = [
                await api.post("/schedules", document),
                await api.put("/schedules/x", document),
                await api.patch("/schedules/x", wrong),
                await api.post("/schedules/batch", {"schedules": [document]}),
            ]
            assert [answer.status for answer in answers] == [422] * 4, field
            told = [{one.removeprefix("schedules[0]."): text for one, text in a.errors.items()} for a in answers]
            assert all(set(one) == {field} for one in told), told
            assert all(one == told[0] for one in told), told
        assert (await api.get("/schedules/x")).json["revision"] == 1, "nothing was changed"
