"""P21: day of month AND weekday, 30 February stored as if paused, one-shots of the past that fire at once."""

from __future__ import annotations

from typing import Any

import pytest

from backend.clock import SystemClock
from backend.model.instants import DAY, rfc3339
from tests.acceptance.api_client import api_on

pytestmark = pytest.mark.anyio
TARGET = {"kind": "http", "url": "https://example.com/hook"}


def cron(expression: str, **more: Any) -> dict[str, Any]:
    return {"kind": "cron", "expression": expression, **more}


def schedule(trigger: dict[str, Any]) -> dict[str, Any]:
    return {"id": "job", "triggers": [trigger], "target": TARGET}


async def test_a_day_of_month_and_a_weekday_mean_either(tmp_path):
    async with api_on(tmp_path) as api:
        answer = await api.post("/preview", {"triggers": [cron("0 0 13 * fri")], "count": 10})
    assert answer.status == 200
    days = [one["nominal_time"] for one in answer.json["occurrences"]]
    assert len({day[:10] for day in days}) == 10
    assert sum(day[8:10] != "13" for day in days) >= 6, "the Fridays are missing"


@pytest.mark.parametrize(
    ("expression", "rule"),
    [
        ("0 0 30 2 *", "day 30 never occurs in month 2"),
        ("0 0 31 4,6,9,11 *", "day 31 never occurs in month 4,6,9,11"),
        ("0 0 29 2 */6", "the rule leaves more than 10 years between two occurrences"),
        ("0 0 31W 2 *", "day 31W never occurs in month 2"),
        ("*/90 * * * *", "minute: step 90 is larger than its range of 60"),
    ],
)
async def test_a_rule_that_never_fires_is_refused_and_nothing_is_stored(tmp_path, expression, rule):
    async with api_on(tmp_path) as api:
        refused = await api.post("/schedules", schedule(cron(expression)))
        assert refused.status == 422
        [error] = refused.json["errors"]
        assert (error["field"], error["rule"]) == ("triggers[0].expression", rule)
        assert error["fix"]
        assert (await api.get("/schedules/job")).status == 404


async def test_a_rule_that_daylight_saving_silences_is_refused(tmp_path):
    trigger = cron("30 2 8-14 3 */7", timezone="America/New_York", dst_gap="skip")
    async with api_on(tmp_path) as api:
        assert (await api.post("/schedules", schedule(trigger))).status == 422
        assert (await api.post("/schedules", schedule(trigger | {"dst_gap": "shift"}))).status == 201


async def test_a_one_shot_of_the_past_is_refused_unless_asked_for(tmp_path):
    once = {"kind": "once", "at": rfc3339(SystemClock().now() - DAY)}
    async with api_on(tmp_path) as api:
        refused = await api.post("/schedules", schedule(once))
        assert refused.status == 422
        assert refused.json["errors"][0]["field"] == "triggers[0].at"
        assert (await api.get("/schedules/job")).status == 404
        assert (await api.post("/schedules", schedule(once | {"allow_past": True}))).status == 201
