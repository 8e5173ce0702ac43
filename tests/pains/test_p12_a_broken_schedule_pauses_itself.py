"""P12: orphan schedules run and bill on, or are deleted by a fix: here they pause themselves, say why, and resume."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.api_client import api_on, draft

pytestmark = pytest.mark.anyio


@pytest.mark.each_database
async def test_what_fails_for_good_pauses_itself_with_the_reason_and_one_call_resumes_it(tmp_path: Path) -> None:
    async with api_on(tmp_path, turning=True) as api:
        gone = {"kind": "command", "argv": ["/no/such/program"]}
        await api.put("/schedules/orphan", draft(target=gone, retry={"max_attempts": 1}, pause_after_failures=2))
        for _ in range(2):
            run = (await api.post("/schedules/orphan/trigger")).json
            assert (await api.until_run(run["id"], "failed", "dead"))["error"]
        orphan = (await api.get("/schedules/orphan")).json
        assert (orphan["state"], orphan["note_by"], orphan["failure_streak"]) == ("paused", "scheduler", 2)
        assert "paused after 2 failed runs in a row" in orphan["note"]
        assert orphan["note_at"]
        assert orphan["target"]["argv"] == gone["argv"], "paused, not deleted"
        resumed = (await api.post("/schedules/orphan/resume")).json
        assert (resumed["state"], resumed["failure_streak"], resumed["note"]) == ("active", 0, "")
