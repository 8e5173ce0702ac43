"""Secrets and allowed hosts over the API, on both databases: who may do what, and what becomes of runs."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from backend.store.keyring import KeyRing, make_key
from tests.acceptance.api_client import Client, api_on, draft

pytestmark = [pytest.mark.anyio, pytest.mark.each_database]
KEYS = make_key("k1")
USER = {"kind": "command", "argv": ["/bin/sh", "-c", "echo $TOKEN | rev"], "env": {"TOKEN": {"secret": "token"}}}
ONCE = {"max_attempts": 1}


async def ended(api: Client, id_: str) -> dict[str, Any]:
    run = (await api.post(f"/schedules/{id_}/trigger")).json["id"]
    return await api.until_run(run, "succeeded", "failed", "dead", "timed_out")


async def test_a_secret_is_put_listed_replaced_used_and_deleted_when_nothing_uses_it(tmp_path: Path) -> None:
    async with api_on(tmp_path, turning=True, secret_keys=KEYS) as api:
        made = await api.put("/secrets/token", {"value": "first-value"})
        assert (made.status, made.json["name"], made.json["key_id"]) == (201, "token", "k1")
        assert (await api.post("/schedules", draft("job", target=USER, retry=ONCE))).status == 201
        assert (await ended(api, "job"))["output"].strip() == "eulav-tsrif"
        assert (await api.put("/secrets/token", {"value": "other-value"})).status == 200
        assert (await ended(api, "job"))["output"].strip() == "eulav-rehto"
        (listed,) = (await api.get("/secrets")).json["items"]
        assert set(listed) == {"name", "key_id", "created_at", "created_by", "updated_at", "updated_by"}
        refused = await api.delete("/secrets/token")
        assert (refused.status, "'token': job" in refused.json["detail"]) == (409, True)
        assert (await api.delete("/schedules/job")).status == 204
        assert (await api.delete("/secrets/token")).status == 204
        assert (await api.delete("/secrets/token")).status == 404


async def test_a_schedule_names_only_secrets_that_its_namespace_has(tmp_path: Path) -> None:
    async with api_on(tmp_path, secret_keys=KEYS) as api:
        await api.post("/namespaces", {"id": "growth"})
        assert (
            await api.call("PUT", "/secrets/token", document={"value": "x" * 9}, query={"namespace": "growth"})
        ).status == 201
        http = {
            "kind": "http",
            "url": "https://example.org",
            "body": [{"secret": "b"}],
            "signing_secret": {"secret": "c"},
        }
        for method, path, body in (
            ("POST", "/schedules", draft("job", target=USER)),
            ("PUT", "/schedules/job", draft(target=USER)),
        ):
            refused = await api.call(method, path, document=body)
            assert refused.errors == {
                "target.env.TOKEN": (
                    "there is no secret 'token' in this namespace",
                    "put it first, by PUT /api/v1/secrets/token",
                )
            }
        batch = await api.post("/schedules/batch", {"schedules": [draft("a"), draft("b", target=http)]})
        assert set(batch.errors) == {"schedules[1].target.body[0]", "schedules[1].target.signing_secret"}
        assert (await api.post("/schedules", draft("job"))).status == 201
        assert "target.body[0]" in (await api.patch("/schedules/job", {"target": {"body": [{"secret": "b"}]}})).errors


async def test_what_cannot_be_decrypted_or_found_is_told_by_the_run(tmp_path: Path) -> None:
    async with api_on(tmp_path, turning=True, secret_keys=f"{KEYS},{make_key('k0')}") as api:
        await api.put("/secrets/token", {"value": "first-value"})
        await api.post("/schedules", draft("job", target=USER, retry=ONCE))
        store = api.system.store
        old = KeyRing([("gone", b"g" * 32)])
        await store.admin().reseal("gone", lambda _, namespace, name: old.seal("first-value", namespace, name))
        failed = await ended(api, "job")
        assert "the secret 'token' is encrypted with the key 'gone', which SCHEDULER_SECRET_KEYS" in failed["error"]
        both = KeyRing([("k1", b64decode(KEYS.partition(":")[2])), ("gone", b"g" * 32)])
        assert await store.admin().reseal("k1", both.resealed) == 1
        assert await store.admin().reseal("k1", both.resealed) == 0
        assert (await ended(api, "job"))["state"] == "succeeded"


async def test_without_keys_a_secret_is_refused_with_the_setting(tmp_path: Path) -> None:
    async with api_on(tmp_path) as api:
        refused = await api.put("/secrets/token", {"value": "first-value"})
        assert refused.status == 409
        assert "SCHEDULER_SECRET_KEYS" in refused.json["detail"]
        assert "make-key" in refused.json["detail"]
        for name, value in (
            ("token", ""),
            ("token", 5),
            ("token", "a\x00b"),
            ("a:b", "value"),
            ("token", "x" * 70_000),
        ):
            assert (await api.put(f"/secrets/{name}", {"value": value})).status == 422


async def test_an_allow_list_holds_for_its_namespace_and_a_private_network_takes_an_admin_of_all(
    tmp_path: Path,
) -> None:
    async with api_on(tmp_path, turning=True, allow_private_urls=False) as api:
        await api.post("/namespaces", {"id": "growth"})
        key = (await api.post("/keys", {"namespace": "growth", "scopes": ["admin"]})).json["key"]
        theirs = Client(api.app, key, api.system)
        assert (await theirs.get("/egress")).json == {"allowed_hosts": None}
        for host in ("10.0.0.0/8", "127.0.0.1", "::1"):
            assert (await theirs.put("/egress", {"allowed_hosts": [host]})).status == 403
        assert (await theirs.put("/egress", {"allowed_hosts": ["api.example.org", "no name"]})).errors.keys() == {
            "allowed_hosts[1]"
        }
        assert (await theirs.put("/egress", {"allowed_hosts": ["api.example.org"]})).status == 200
        other = await theirs.post("/schedules", draft("other", target={"kind": "http", "url": "https://example.org"}))
        assert "not among the hosts that this namespace may call" in other.errors["target.url"][0]
        local = {"kind": "http", "url": "http://127.0.0.1:9/", "method": "GET"}
        assert (await theirs.post("/schedules", draft("local", target=local))).status == 422
        opened = {"allowed_hosts": ["api.example.org", "127.0.0.0/8"]}
        assert (await api.call("PUT", "/egress", document=opened, query={"namespace": "growth"})).status == 200
        assert (await theirs.put("/egress", opened)).status == 200, "what is open already may stay"
        assert (await theirs.post("/schedules", draft("local", target=local, retry=ONCE))).status == 201
        assert (await api.post("/schedules", draft("local", target=local))).status == 422
        assert "cannot connect to 127.0.0.1:9" in (await ended(theirs, "local"))["error"]
        assert (await theirs.put("/egress", {"allowed_hosts": []})).status == 200
        run = await ended(theirs, "local")
        assert (run["state"], run["attempt"]) == ("failed", 1)
        assert run["error"].startswith("blocked: 127.0.0.1 is not among the hosts")


async def test_a_name_that_resolves_to_a_private_address_is_recorded_as_blocked_and_not_tried_again(
    tmp_path: Path,
) -> None:
    async with api_on(tmp_path, turning=True, allow_private_urls=False, lease="1s") as api:
        target = {"kind": "http", "url": "http://localhost:9/hook"}
        assert (await api.post("/schedules", draft("job", target=target))).status == 201
        run = await ended(api, "job")
        assert (run["state"], run["attempt"]) == ("failed", 1)
        assert run["error"].startswith("blocked: localhost is at a loopback address")
        assert [one["error"] for one in run["attempts"]] == [run["error"]]
