"""Many at once on a real server: updates with If-Match are all kept, and a request that is repeated is done once."""

from __future__ import annotations

import http.client
import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.server import PREFIX, Server

AT_ONCE = 50
CALL = {"kind": "http", "url": "https://example.org"}


@pytest.mark.each_database
def test_of_fifty_updates_with_if_match_none_is_lost_and_fifty_repeats_do_one_thing(tmp_path: Path) -> None:
    with Server(tmp_path).ready() as server, ThreadPoolExecutor(AT_ONCE) as pool:
        server.create("shared", CALL)

        def add_tag(n: int) -> int:
            return retried(server, lambda seen: {"tags": {**seen.get("tags", {}), f"t{n}": str(n)}})

        refused = sum(pool.map(add_tag, range(AT_ONCE)))
        assert server.get("/schedules/shared")["tags"] == {f"t{n}": str(n) for n in range(AT_ONCE)}
        assert server.get("/schedules/shared")["revision"] == AT_ONCE + 1
        assert refused, "nobody met anybody; that is no proof"

        draft = {"triggers": [{"kind": "interval", "every": "1d"}], "target": CALL, "name": "one of fifty"}
        answers = list(pool.map(lambda _: send(server, "POST", "/schedules", draft, key="k"), range(AT_ONCE)))
        assert Counter(status for status, _, _ in answers) == {201: AT_ONCE}
        assert len({body["id"] for _, _, body in answers}) == 1
        assert len(server.get("/schedules?name=one%20of%20fifty")["items"]) == 1


def retried(server: Server, change: Callable[[dict[str, Any]], dict[str, Any]]) -> int:
    """Read, change, write unless somebody else has written; answers how often somebody had."""
    for refused in range(50 * AT_ONCE):
        _, etag, seen = send(server, "GET", "/schedules/shared")
        status, _, body = send(server, "PATCH", "/schedules/shared", change(seen), if_match=etag)
        if status == 200:
            return refused
        assert status == 412, body
    raise AssertionError("always somebody else")


def send(
    server: Server, method: str, path: str, body: Any = None, *, if_match: str = "", key: str = ""
) -> tuple[int, str, Any]:
    """Ask; answers status, ETag and body."""
    headers = {"X-API-Key": server.key, "If-Match": if_match, "Idempotency-Key": key}
    with closing(http.client.HTTPConnection(*server.where, timeout=60)) as connection:
        given = {name: value for name, value in headers.items() if value}
        connection.request(method, PREFIX + path, None if body is None else json.dumps(body), given)
        answer = connection.getresponse()
        return answer.status, answer.headers.get("ETag", ""), json.loads(answer.read())
