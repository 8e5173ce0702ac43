"""P15: a pause has no author, no reason and no way back: here all three are kept, and told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.api_client import api_on, draft

pytestmark = pytest.mark.anyio


@pytest.mark.each_database
async def test_a_pause_says_who_when_and_why_and_is_undone_by_one_call(tmp_path: Path) -> None:
    async with api_on(tmp_path) as api:
        for id_ in ("one", "many"):
            await api.put(f"/schedules/{id_}", draft(tags={"part": id_}))
        key = (await api.post("/keys", {"namespace": "default", "scopes": ["read", "write"]})).json
        await api.post("/schedules/one/pause", {"note": "the partner is down"}, x_api_key=key["key"])
        await api.post("/schedules/pause", {"filter": {"tag": "part:many"}, "note": "upgrade"}, x_api_key=key["key"])
        for id_, note in (("one", "the partner is down"), ("many", "upgrade")):
            paused = (await api.get(f"/schedules/{id_}")).json
            assert (paused["state"], paused["note"], paused["note_by"]) == ("paused", note, f"key:{key['id']}")
            assert paused["note_at"] >= paused["created_at"]
            resumed = (await api.post(f"/schedules/{id_}/resume")).json
            assert (resumed["state"], resumed["note"], resumed["note_by"]) == ("active", "", "key:admin")
            assert resumed["next_scheduled_time"]
