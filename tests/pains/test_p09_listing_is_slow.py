"""P9: listing is slow, since the owner stands in a pickle: here it is a column, with an index, and pages by key."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.api_client import api_on, draft

pytestmark = pytest.mark.anyio
OWNERS = 50
SCHEDULES = 2000


@pytest.mark.each_database
async def test_an_owner_lists_what_is_theirs_page_by_page_while_others_come_and_go(tmp_path: Path) -> None:
    async with api_on(tmp_path) as api:
        made = [draft(f"s{n:04}", owner=f"user-{n % OWNERS}", tags={"n": str(n % 2)}) for n in range(SCHEDULES)]
        assert (await api.post("/schedules/batch", {"schedules": made})).status == 200
        listed: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await api.get("/schedules", owner="user-7", limit=7, **({"cursor": cursor} if cursor else {}))
            listed += [item["id"] for item in page.json["items"]]
            cursor = page.json["next_cursor"]
            # Neither what goes nor what comes shifts a page: a cursor is a place, not a number of rows.
            if len(listed) == 7:
                assert (await api.delete(f"/schedules/{listed[0]}")).status == 204
                assert (await api.post("/schedules", draft("newest", owner="user-7"))).status == 201
        theirs = [one["id"] for one in made if one["owner"] == "user-7"]
        assert listed == [*theirs, "newest"]
        both = await api.get("/schedules", owner="user-7", tag="n:1", limit=500)
        assert [item["id"] for item in both.json["items"]] == theirs[1:]
