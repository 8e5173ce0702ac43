"""A maintenance window: many schedules paused by a filter, and those resumed, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from backend.service import maintenance
from tests.acceptance.api_client import Client, api_on, draft
from tests.databases import sql, url_in

pytestmark = pytest.mark.anyio
GROWTH = {"tag": "team:growth"}


@pytest.fixture
async def api(tmp_path_factory: pytest.TempPathFactory, monkeypatch: Any) -> AsyncIterator[Client]:
    monkeypatch.setattr(maintenance, "AT_ONCE", 3)
    folder = tmp_path_factory.mktemp("maintenance")
    async with api_on(folder) as client:
        made = [draft(f"g{n}", tags={"team": "growth"}) for n in range(8)] + [draft("other", owner="u1")]
        assert (await client.post("/schedules/batch", {"schedules": made})).status == 200
        yield client


async def states(api: Client) -> dict[str, tuple[str, str]]:
    items = (await api.get("/schedules", limit=500)).json["items"]
    return {item["id"]: (item["state"], item["note"]) for item in items}


async def test_what_fits_is_paused_and_resumed_and_nothing_else(api: Client) -> None:
    await api.post("/schedules/g0/pause", {"note": "mine"})
    rehearsed = (await api.post("/schedules/pause", {"filter": GROWTH, "dry_run": True})).json
    assert (rehearsed["matched"], rehearsed["changed"]) == (8, 7)
    assert {state for state, _ in (await states(api)).values() if state != "active"} == {"paused"}
    paused = (await api.post("/schedules/pause", {"filter": GROWTH, "note": "upgrade"})).json
    assert (paused["matched"], paused["changed"], paused["refused"], paused["next_cursor"]) == (8, 7, 0, None)
    assert [item["change"] for item in paused["items"]] == ["paused"] * 7
    found = await states(api)
    assert (found["g0"], found["other"]) == (("paused", "mine"), ("active", ""))
    assert all(found[f"g{n}"] == ("paused", "upgrade") for n in range(1, 8))
    again = (await api.post("/schedules/pause", {"filter": GROWTH, "note": "other"})).json
    assert (again["matched"], again["changed"]) == (8, 0)
    resumed = (await api.post("/schedules/resume", {"filter": GROWTH, "note": "upgrade"})).json
    assert (resumed["matched"], resumed["changed"]) == (8, 7)
    assert (await states(api))["g0"] == ("paused", "mine")
    rest = (await api.post("/schedules/resume", {"all": True})).json
    assert (rest["matched"], rest["changed"]) == (9, 1)


async def test_ten_thousand_at_a_time_and_the_rest_by_a_cursor(api: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr(maintenance, "MOST", 6)
    first = (await api.post("/schedules/pause", {"all": True})).json
    assert (first["matched"], first["changed"]) == (6, 6)
    second = (await api.post("/schedules/pause", {"all": True, "cursor": first["next_cursor"]})).json
    assert (second["matched"], second["changed"]) == (3, 3)


async def test_an_empty_filter_needs_all(api: Client) -> None:
    bodies: list[dict[str, Any]] = [{}, {"filter": {}}, {"note": "x"}]
    for body in bodies:
        for verb in ("pause", "resume"):
            refused = await api.post(f"/schedules/{verb}", body)
            assert (refused.status, set(refused.errors)) == (422, {"filter"})


async def test_what_has_paused_itself_is_resumed_by_its_note_alone(api: Client) -> None:
    note = "paused after 5 failed runs in a row"
    await api.post("/schedules/other/pause", {"note": note})
    folder = api.system.settings.data_dir
    url = url_in(folder)
    await asyncio.to_thread(sql, url, "update schedules set note_by = 'scheduler' where id = 'other'")
    resumed = [
        (await api.post("/schedules/resume", {"filter": {"owner": "u1"}} | more)).json["changed"]
        for more in ({}, {"note": "another"}, {"note": note})
    ]
    assert resumed == [0, 0, 1]


async def test_it_is_answered_again_when_it_is_sent_again(api: Client) -> None:
    body = {"filter": GROWTH, "note": "upgrade"}
    first, again = [await api.post("/schedules/pause", body, idempotency_key="window") for _ in range(2)]
    assert (first.body, first.status) == (again.body, again.status)
    assert again.headers["idempotency-replayed"] == "true"
