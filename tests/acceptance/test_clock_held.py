"""While the database's clock is wrong, changes are refused with the reason, and what is asked is answered."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from backend.clock import SystemClock
from backend.model.instants import SECOND
from tests.acceptance.api_client import PREFIX, Answer, Client, api_on, ask, draft

pytestmark = pytest.mark.anyio
HOUR = 3600 * SECOND


class JumpingClock(SystemClock):
    """This machine's clock, and how far the database's is ahead of it."""

    ahead = 0

    def now(self) -> int:
        return super().now() + self.ahead


async def status(api: Client, wanted: str) -> None:
    async with asyncio.timeout(20):
        while True:
            if (await ask(api.app, "GET", "/readyz")).json["status"] == wanted:
                return
            await asyncio.sleep(0.02)


async def sent(api: Client, method: str, path: str, document: object) -> Answer:
    return await ask(api.app, method, PREFIX + path, headers=api.key_and(), pieces=[json.dumps(document).encode()])


async def test_changes_are_refused_until_the_clock_is_right_again(tmp_path: Path):
    clock = JumpingClock()
    async with api_on(tmp_path, turning=True, database_clock=clock) as api:
        assert (await api.post("/schedules", draft("job"))).status == 201
        clock.ahead = HOUR
        await status(api, "clock_held")
        for method, path, document in (
            ("POST", "/schedules", draft("other")),
            ("PUT", "/schedules/job", draft("job", name="new")),
            ("POST", "/schedules/job/pause", {}),
            ("POST", "/schedules/job/trigger", {}),
        ):
            refused = await sent(api, method, path, document)
            assert refused.status == 503
            assert refused.headers["retry-after"] == "30"
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.json["detail"].startswith("the database's clock is 36")
            assert refused.json["detail"].endswith("nothing is planned, claimed or changed until it is set right")
        assert (await api.get("/schedules/job")).json["state"] == "active"
        audited = await api.get("/audit/occurrences")
        assert audited.json["missing"] == [], audited.json
        assert (await ask(api.app, "GET", "/livez")).status == 200
        clock.ahead = 0
        await status(api, "ready")
        assert (await api.post("/schedules/job/pause")).status == 200
