"""P12: a schedule is switched off after failures and nobody is told. Here it pauses with a reason and a notice.

One request resumes it, and the notice says which.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.api_client import Client, api_on
from tests.acceptance.sink import Sink, listening_sink
from tests.acceptance.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.each_database]


async def refused_twice(api: Client, sink: Sink) -> None:
    sink.on("/job", 401)
    trigger = {"kind": "interval", "every": "1d"}
    document = {"id": "job", "triggers": [trigger], "target": sink.target("/job"), "pause_after_failures": 2}
    assert (await api.post("/schedules", document)).status == 201
    for _ in range(2):
        run = (await api.post("/schedules/job/trigger")).json["id"]
        await eventually(partial(ended, api, run))


async def ended(api: Client, run: str) -> bool:
    return bool((await api.get(f"/runs/{run}")).json["state"] == "failed")


async def test_it_pauses_with_a_reason_tells_it_and_is_resumed_by_one_request(tmp_path: Path) -> None:
    with listening_sink() as sink:
        async with api_on(tmp_path, turning=True) as api:
            route = {"id": "oncall", "events": ["auto_pause"], "target": sink.target("/alerts")}
            assert (await api.post("/notifications", route)).status == 201
            await refused_twice(api, sink)
            await eventually(lambda: sink.at("/alerts"))
            [alert] = sink.at("/alerts")
            event = json.loads(alert.body)
            assert alert.headers["content-type"].startswith("application/cloudevents+json")
            assert (event["specversion"], event["type"]) == ("1.0", "scheduler.notification.auto_pause")
            assert "401" in event["data"]["note"]
            shown = (await api.get("/schedules/job")).json
            assert (shown["state"], shown["note"], shown["note_by"]) == ("paused", event["data"]["note"], "scheduler")
            await _resume_as_told(api, event["data"])
            assert (await api.get("/schedules/job")).json["state"] == "active"
            changes = (await api.get("/audit", id="job")).json["items"]
            verbs = [(change["verb"], change["by"]) for change in changes]
            assert verbs == [("resumed", "key:admin"), ("paused", "scheduler"), ("created", "key:admin")]


async def _resume_as_told(api: Client, data: dict[str, Any]) -> None:
    method, place = data["resume"].split(" ")
    assert (await api.call(method, place.removeprefix("/api/v1").partition("?")[0])).status == 200
