"""Namespaces and keys over the API: what a tenant has, may, and is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.acceptance.api_client import Answer, Client, api_on, draft

pytestmark = pytest.mark.anyio
LOCAL = {"kind": "cron", "expression": "0 9 * * *"}


@pytest.fixture(scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    async with api_on(tmp_path_factory.mktemp("tenants")) as client:
        made = await client.post("/namespaces", {"id": "growth", "timezone": "Europe/London"})
        assert (made.status, made.headers["location"]) == (201, "/api/v1/namespaces/growth")
        yield client


async def key(api: Client, *scopes: str, namespace: str | None = "growth", **fields: Any) -> tuple[str, dict[str, str]]:
    made = await api.post("/keys", {"namespace": namespace, "scopes": scopes, **fields})
    assert made.status == 201, made.body
    return made.json["id"], {"x_api_key": made.json["key"]}


async def as_of(api: Client, headers: dict[str, str], path: str, **query: Any) -> Answer:
    return await api.call("GET", path, headers=headers, query=query)


async def test_a_key_is_shown_once_and_knows_what_it_is(api: Client) -> None:
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds").replace("+00:00", "Z")
    id_, mine = await key(api, "read", "trigger", name="newsletter", expires_at=until)
    own = (await as_of(api, mine, "/keys/self")).json
    assert own["scopes"] == ["read", "trigger"]
    assert (own["namespace"], own["name"], own["state"], own["expires_at"]) == ("growth", "newsletter", "active", until)
    assert own["created_by"] == "key:admin"
    assert mine["x_api_key"] == f"sched_{id_}_{mine['x_api_key'].rpartition(f'_{id_}_')[2]}"
    for path in (f"/keys/{id_}", "/keys"):
        assert mine["x_api_key"].encode() not in (await api.get(path)).body
    assert [one["id"] for one in (await api.get("/keys", namespace="growth", limit=500)).json["items"]].count(id_) == 1


async def test_a_key_is_used_rotated_and_revoked(api: Client) -> None:
    id_, mine = await key(api, "read")
    rotated = await api.post(f"/keys/{id_}/rotate")
    assert rotated.status == 201
    fresh = {"x_api_key": rotated.json["key"]}
    assert [(await as_of(api, one, "/schedules")).status for one in (mine, fresh)] == [200, 200]
    assert (await api.get(f"/keys/{id_}")).json["successor"] == rotated.json["id"]
    assert (await api.post(f"/keys/{id_}/rotate")).status == 409
    for _ in range(2):
        assert (await api.delete(f"/keys/{id_}")).status == 204
    assert [(await as_of(api, one, "/schedules")).status for one in (mine, fresh)] == [401, 200]
    assert (await api.get(f"/keys/{id_}")).json["state"] == "revoked"
    assert (await api.post("/keys/admin/rotate")).status == 409


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scopes": ["read"]}, "namespace"),
        ({"scopes": ["read"], "namespace": "nowhere"}, "namespace"),
        ({"scopes": [], "namespace": None}, "scopes"),
        ({"scopes": ["everything"], "namespace": None}, "scopes[0]"),
        ({"scopes": ["read"], "namespace": None, "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"scopes": ["read"], "namespace": None, "name": "x" * 201}, "name"),
        ({"scopes": ["read"], "namespace": None, "name": "a\nb"}, "name"),
        ({"scopes": ["read"], "namespace": None, "key": "sched_mine"}, "key"),
    ],
)
async def test_a_key_that_makes_no_sense_is_refused(api: Client, body: dict[str, Any], field: str) -> None:
    assert field in (await api.post("/keys", body)).errors


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"id": ""}, "id"),
        ({"id": "a b"}, "id"),
        ({"id": "x" * 101}, "id"),
        ({"id": "a", "timezone": "EST"}, "timezone"),
        ({"id": "a", "limits": {"schedules": -1}}, "limits.schedules"),
        ({"id": "a", "limits": {"minimum_interval": "1ms"}}, "limits.minimum_interval"),
        ({"id": "a", "limits": {"cows": 1}}, "limits.cows"),
    ],
)
async def test_a_namespace_that_makes_no_sense_is_refused(api: Client, body: dict[str, Any], field: str) -> None:
    assert field in (await api.post("/namespaces", body)).errors


async def test_a_key_without_a_namespace_chooses_by_query_or_by_body(api: Client) -> None:
    by_query = await api.call("POST", "/schedules", document=draft("q"), query={"namespace": "growth"})
    by_body = await api.post("/schedules", draft("b", namespace="growth"))
    assert [by_query.json["namespace"], by_body.json["namespace"]] == ["growth", "growth"]
    assert (await api.put("/schedules/b", draft("b", namespace="growth"))).status == 200
    assert [(await api.get(f"/schedules/{id_}")).status for id_ in "qb"] == [404, 404]
    _, mine = await key(api, "read")
    assert [(await as_of(api, mine, f"/schedules/{id_}")).status for id_ in "qb"] == [200, 200]
    listed = (await as_of(api, mine, "/namespaces")).json["items"]
    assert [one["id"] for one in listed] == ["growth"]


async def test_rules_that_name_no_zone_get_their_namespace_s(api: Client) -> None:
    _, mine = await key(api, "read", "write")
    excluded = [{"kind": "date", "date": "2026-12-25"}]
    made = await api.post("/schedules", draft("zoned", triggers=[LOCAL], exclusions=excluded), **mine)
    assert [made.json[rules][0]["timezone"] for rules in ("triggers", "exclusions")] == ["Europe/London"] * 2
    given = {**LOCAL, "timezone": "Africa/Cairo"}
    put = await api.put("/schedules/given", draft(triggers=[given, {"kind": "interval", "every": "1h"}]), **mine)
    assert put.json["triggers"][0]["timezone"] == "Africa/Cairo"
    changed = await api.patch("/schedules/given", {"triggers": [LOCAL]}, **mine)
    assert changed.json["triggers"][0]["timezone"] == "Europe/London"
    await api.post("/schedules/batch", {"schedules": [draft("batched", triggers=[LOCAL])]}, **mine)
    assert (await as_of(api, mine, "/schedules/batched")).json["triggers"][0]["timezone"] == "Europe/London"
    shown = (await api.post("/preview", {"triggers": [LOCAL]}, **mine)).json["occurrences"]
    assert {one["timezone"] for one in shown} == {"Europe/London"}
    assert (await api.post("/preview", {"triggers": [LOCAL]})).json["occurrences"][0]["timezone"] == "UTC"


async def test_a_tenant_may_narrow_its_limits_but_not_widen_them(api: Client) -> None:
    _, mine = await key(api, "admin")
    wide = {"limits": {"schedules": 100, "minimum_interval": "1m"}}
    assert (await api.patch("/namespaces/growth", wide)).json["limits"]["schedules"] == 100
    narrow = {"limits": {"schedules": 50, "minimum_interval": "5m", "concurrent_runs": 5}}
    answer = await api.patch("/namespaces/growth", narrow, **mine)
    assert answer.json["limits"]["minimum_interval"] == "5m"
    assert answer.json["limits"]["starts_per_minute"] is None
    for wider in ({"schedules": 51}, {"schedules": None}, {"minimum_interval": "1m"}, None):
        assert (await api.patch("/namespaces/growth", {"limits": wider}, **mine)).status == 403
    assert (await api.patch("/namespaces/growth", {"timezone": "Europe/Paris"}, **mine)).status == 200
    assert "timezone" in (await api.patch("/namespaces/growth", {"timezone": None}, **mine)).errors
    lifted = (await api.patch("/namespaces/growth", {"limits": None, "timezone": "Europe/London"})).json
    assert set(lifted["limits"].values()) == {None}


async def test_a_namespace_is_deleted_when_it_is_empty(api: Client) -> None:
    assert (await api.post("/namespaces", {"id": "brief"})).status == 201
    assert (await api.post("/namespaces", {"id": "brief"})).status == 409
    await api.call("PUT", "/calendars/uk", document={"days": []}, query={"namespace": "brief"})
    refused = await api.delete("/namespaces/brief")
    assert (refused.status, "calendars" in refused.json["detail"]) == (409, True)
    await api.call("DELETE", "/calendars/uk", query={"namespace": "brief"})
    assert (await api.delete("/namespaces/brief")).status == 204
    assert [(await api.get(path)).status for path in ("/namespaces/brief", "/nowhere")] == [404, 404]
    assert (await api.get("/schedules", namespace="brief")).status == 404
    # What a variable that is not set leaves is no namespace, and not the default one.
    for path in ("/schedules", "/keys", "/audit"):
        assert (await api.get(path, namespace="")).status == 404
