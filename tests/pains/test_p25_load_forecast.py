"""P25: the herd at the top of the hour is seen before it comes, and what to do about it is tried out first."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.api_client import Client, api_on, draft

pytestmark = pytest.mark.anyio
DAY = {"from": "2098-12-01T00:00:00Z", "to": "2098-12-02T00:00:00Z"}
HERD = 400


def herd(expression: str, **fields: Any) -> list[dict[str, Any]]:
    trigger = {"kind": "cron", "expression": expression, "timezone": "UTC"}
    return [draft(f"digest-{n}", triggers=[trigger], **fields) for n in range(HERD)]


async def peak(api: Client, **fields: Any) -> dict[str, Any]:
    answer = await api.post("/simulate", DAY | fields)
    assert answer.status == 200
    assert answer.json["total"] == HERD
    found: dict[str, Any] = answer.json
    return found


async def test_the_herd_is_foreseen_with_its_minute_and_its_members(tmp_path):
    async with api_on(tmp_path) as api:
        await api.post("/schedules/batch", {"schedules": herd("0 9 * * *")})
        found = await peak(api)
        assert found["peak"] == {"starts": HERD, "minutes": ["2098-12-01T09:00:00Z"]}
        assert len(found["peak_schedules"]) == 100


@pytest.mark.parametrize(
    ("expression", "fields"), [("H 9 * * *", {}), ("0 9 * * *", {"jitter": "1h"})], ids=["H", "jitter"]
)
async def test_that_a_minute_of_its_own_or_jitter_spreads_the_herd_is_seen_before_it_is_applied(
    tmp_path, expression, fields
):
    async with api_on(tmp_path) as api:
        found = await peak(api, schedules=herd(expression, **fields))
        assert found["peak"]["starts"] < HERD / 10  # a sixtieth on average
        assert all(at.startswith("2098-12-01T09:") for at, _ in found["minutes"])
        assert (await api.get("/schedules")).json["items"] == []
