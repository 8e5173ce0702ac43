"""P20: no authentication, and a list without filter shows everybody's schedules."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.server import PREFIX, Server, _ask

TRUE = {"kind": "command", "argv": ["/bin/true"]}
LISTS = ("/schedules", "/runs", "/calendars", "/keys", "/namespaces", "/workers", "/audit/occurrences")


@pytest.mark.each_database
def test_nobody_lists_anything_without_a_key_and_a_tenant_only_its_own(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.ready()
        keys = {}
        for tenant in ("red", "blue"):
            server.post("/namespaces", {"id": tenant})
            scopes = ["read", "write", "trigger", "admin"]
            keys[tenant] = {"X-API-Key": server.post("/keys", {"namespace": tenant, "scopes": scopes})["key"]}
            document = {"id": f"of-{tenant}", "triggers": [{"kind": "interval", "every": "1h"}], "target": TRUE}
            assert _ask(server.where, "POST", f"{PREFIX}/schedules", keys[tenant], document).status == 201
            assert _ask(server.where, "POST", f"{PREFIX}/schedules/of-{tenant}/trigger", keys[tenant], {}).status == 202
        for path in LISTS:
            assert _ask(server.where, "GET", PREFIX + path, {}, None).status == 401
        for tenant, other in (("red", "blue"), ("blue", "red")):
            for path in ("/schedules", "/runs"):
                items = _ask(server.where, "GET", PREFIX + path, keys[tenant], None).body["items"]
                assert len(items) == 1
                assert f"of-{other}" not in str(items)
        assert server.stop() == 0
