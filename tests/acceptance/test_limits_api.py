"""Limits and figures of a namespace, as callers of the API see them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.api_client import Client, api_on, draft

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Client]:
    async with api_on(tmp_path) as api:
        yield api


async def test_who_is_over_a_limit_is_told_which_and_when_to_ask_again(api: Client) -> None:
    limits = {"schedules": 1, "starts_per_minute": 1, "minimum_interval": "30m"}
    assert (await api.patch("/namespaces/default", {"limits": limits})).status == 200
    assert (await api.post("/schedules", draft("first"))).status == 201
    refused = await api.post("/schedules", draft("second"))
    assert refused.status == 429
    assert refused.json["limit"] == {"name": "schedules", "limit": 1, "used": 1}
    assert "is reached (1 used): no room for 1 more; give" in refused.json["detail"]
    assert int(refused.headers["retry-after"]) > 0
    often = await api.put("/schedules/first", draft(triggers=[{"kind": "interval", "every": "29m"}]))
    assert (often.status, list(often.errors)) == (422, ["triggers[0]"])
    started = [await api.post("/schedules/first/trigger") for _ in range(3)]
    assert [one.status for one in started if one.status != 202] in ([429, 429], [429]), "a minute may have passed"
    assert 1 <= int(started[-1].headers["retry-after"]) <= 60
    shown = (await api.get("/stats")).json
    assert shown["limits"] == [
        {"name": "schedules", "limit": 1, "used": 1},
        {"name": "starts_per_minute", "limit": 1, "used": 1},
        {"name": "minimum_interval", "limit": "30m", "used": None},
    ]
    assert shown["schedules"]["active"] == 1
    assert sum(shown["last_hour"].values()) in {1, 2}
    assert (await api.patch("/namespaces/default", {"limits": {"schedules": 3}})).status == 200
    many = await api.post("/schedules/batch", {"schedules": [draft(f"s{number}") for number in range(3)]})
    assert (many.status, many.json["limit"]["used"]) == (429, 1)
    assert "3 more are beyond the limit 'schedules' of 3 (1 used); ask for fewer" in many.json["detail"]


async def test_a_namespace_that_asks_too_often_is_told_to_wait(api: Client) -> None:
    assert (await api.post("/namespaces", {"id": "hasty", "limits": {"requests_per_second": 1}})).status == 201
    made = await api.post("/keys", {"namespace": "hasty", "scopes": ["read"]})
    key = {"x_api_key": made.json["key"]}
    answers = [await api.call("GET", "/stats", headers=key) for _ in range(10)]
    refused = [answer for answer in answers if answer.status == 429]
    assert refused
    assert refused[0].json["limit"]["name"] == "requests_per_second"
    assert refused[0].headers["retry-after"] == "1"
    assert (await api.get("/stats")).status == 200, "others are not concerned"


async def test_figures_of_an_empty_namespace_are_zero(api: Client) -> None:
    assert (await api.post("/namespaces", {"id": "empty"})).status == 201
    shown = (await api.get("/stats", namespace="empty")).json
    assert (shown["namespace"], shown["failures"], shown["last_hour_complete"]) == ("empty", 0, True)
    assert shown["lateness"] == {"runs": 0, "p50": None, "p95": None, "p99": None}
    assert set(shown["open_runs"].values()) == {0}
    assert shown["limits"] == []
