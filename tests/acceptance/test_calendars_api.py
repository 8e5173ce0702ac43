"""Named calendars: put once, excluded by many; a change reaches all that use one, and nothing fires twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from backend.service import calendars
from backend.store import calendars as calendar_store
from tests.acceptance.api_client import PREFIX, Answer, Client, api_on, draft

pytestmark = pytest.mark.anyio
DAILY = {"kind": "cron", "expression": "0 9 * * *", "timezone": "Europe/London"}
WITHOUT_UK = {"kind": "calendar", "calendar": "uk", "timezone": "Europe/London"}
ICAL = b"""BEGIN:VCALENDAR\r
BEGIN:VEVENT\r
UID:christmas\r
DTSTART;VALUE=DATE:20981225\r
DTEND;VALUE=DATE:20981227\r
SUMMARY:Christmas\r
END:VEVENT\r
END:VCALENDAR\r
"""


def daily(**fields: Any) -> dict[str, Any]:
    """Write a schedule that begins in the far future and leaves the calendar's days out."""
    far = {"triggers": [DAILY], "exclusions": [WITHOUT_UK], "start_at": "2098-12-24T00:00:00Z"}
    return draft(**(far | fields))


async def put_days(api: Client, *days: str, id_: str = "uk") -> Answer:
    return await api.put(f"/calendars/{id_}", {"days": list(days)})


async def upcoming(api: Client, id_: str = "office", count: int = 3) -> list[str]:
    items = (await api.get(f"/schedules/{id_}/upcoming", count=count)).json["items"]
    return [item["local_time"][:10] for item in items]


async def test_a_calendar_is_put_read_listed_replaced_and_deleted(tmp_path):
    async with api_on(tmp_path) as api:
        made = await put_days(api, "2098-12-26", "2098-12-25", "2098-12-25")
        assert made.status == 201
        assert made.json["days"] == ["2098-12-25", "2098-12-26"]
        assert (made.json["updated_by"], made.json["replanned"]) == ("key:admin", [])
        assert (await put_days(api, "2098-12-25", id_="de")).status == 201
        shown = (await api.get("/calendars/uk")).json
        assert shown == {name: value for name, value in made.json.items() if name != "replanned"}
        first = (await api.get("/calendars", limit=1)).json
        second = (await api.get("/calendars", limit=1, cursor=first["next_cursor"])).json
        assert [page["items"][0]["id"] for page in (first, second)] == ["de", "uk"]
        assert second["next_cursor"] is None
        assert (await put_days(api, "2098-12-28")).status == 200
        assert (await api.get("/calendars/uk")).json["days"] == ["2098-12-28"]
        assert (await api.delete("/calendars/uk")).status == 204
        assert (await api.get("/calendars/uk")).status == 404
        assert (await api.delete("/calendars/uk")).status == 404


async def test_the_days_of_a_calendar_are_left_out(tmp_path):
    async with api_on(tmp_path) as api:
        await put_days(api, "2098-12-25", "2098-12-26")
        assert (await api.put("/schedules/office", daily())).status == 201
        assert await upcoming(api) == ["2098-12-24", "2098-12-27", "2098-12-28"]
        shown = (await api.get("/schedules/office")).json["exclusions"]
        assert shown == [WITHOUT_UK | {"days": None}]
        preview = await api.post(
            "/preview", {"triggers": [DAILY], "exclusions": [WITHOUT_UK], "from": "2098-12-25T00:00:00Z", "count": 1}
        )
        assert preview.json["occurrences"][0]["nominal_time"] == "2098-12-27T09:00:00Z"


@pytest.mark.parametrize("path", ["/schedules/office", "/schedules/batch", "/preview"])
async def test_a_calendar_that_is_not_there_is_refused_by_its_field(tmp_path, path):
    exclusions = [{"kind": "date", "date": "2098-01-01"}, WITHOUT_UK]
    async with api_on(tmp_path) as api:
        if path == "/preview":
            refused = await api.post(path, {"triggers": [DAILY], "exclusions": exclusions})
        elif path.endswith("batch"):
            refused = await api.post(path, {"schedules": [draft("a"), daily(id="b", exclusions=exclusions)]})
        else:
            refused = await api.put(path, daily(exclusions=exclusions))
        field = "schedules[1].exclusions[1].calendar" if path.endswith("batch") else "exclusions[1].calendar"
        assert refused.errors == {
            field: ("there is no calendar 'uk' in this namespace", "put it first, by PUT /api/v1/calendars/uk")
        }
        assert (await api.get("/schedules")).json["items"] == []


async def test_a_patch_may_bring_a_calendar_and_keeps_one(tmp_path):
    async with api_on(tmp_path) as api:
        await put_days(api, "2098-12-24")
        await api.put("/schedules/office", daily(exclusions=[]))
        assert (await api.patch("/schedules/office", {"exclusions": [WITHOUT_UK]})).status == 200
        assert await upcoming(api, count=1) == ["2098-12-25"]
        assert (await api.patch("/schedules/office", {"owner": "me"})).status == 200
        assert await upcoming(api, count=1) == ["2098-12-25"]


async def test_a_change_reaches_every_schedule_that_uses_the_calendar_and_no_other(tmp_path):
    async with api_on(tmp_path) as api:
        await put_days(api, "2098-12-24")
        await put_days(api, "2098-12-24", id_="de")
        await api.put("/schedules/office", daily())
        await api.put("/schedules/shop", daily(exclusions=[WITHOUT_UK, {"kind": "calendar", "calendar": "de"}]))
        await api.put("/schedules/german", daily(exclusions=[{"kind": "calendar", "calendar": "de"}]))
        await api.put("/schedules/pretender", daily(exclusions=[], input={"kind": "calendar", "calendar": "uk"}))
        before = (await api.get("/schedules/german")).json
        changed = await put_days(api, "2098-12-25")
        assert changed.json["replanned"] == ["office", "shop"]
        assert await upcoming(api, "office") == ["2098-12-24", "2098-12-26", "2098-12-27"]
        assert await upcoming(api, "shop") == ["2098-12-26", "2098-12-27", "2098-12-28"]
        assert (await api.get("/schedules/german")).json == before
        office = (await api.get("/schedules/office")).json
        assert (office["revision"], office["next_nominal_time"]) == (2, "2098-12-24T09:00:00Z")
        assert (await put_days(api, "2098-12-25")).json["replanned"] == []
        assert (await api.get("/schedules/office")).json == office
        # What was read is still what was written, so that applying the same file again changes nothing.
        assert (await api.put("/schedules/office", daily())).json["revision"] == 2


async def test_a_calendar_in_use_cannot_be_deleted_and_the_answer_names_who_uses_it(tmp_path):
    async with api_on(tmp_path) as api:
        await put_days(api, "2098-12-24")
        await api.put("/schedules/office", daily())
        refused = await api.delete("/calendars/uk")
        assert refused.status == 409
        assert "office" in refused.json["detail"]
        for n in range(12):
            await api.put(f"/schedules/shop-{n}", daily())
        assert "shop-8 and more" in (await api.delete("/calendars/uk")).json["detail"]
        for n in range(12):
            await api.delete(f"/schedules/shop-{n}")
        await api.patch("/schedules/office", {"exclusions": []})
        assert (await api.delete("/calendars/uk")).status == 204


async def test_a_calendar_that_takes_the_only_time_away_completes_the_schedule_and_gives_it_back(tmp_path):
    once = {"kind": "once", "at": "2098-12-25T09:00:00", "timezone": "Europe/London"}
    async with api_on(tmp_path) as api:
        await put_days(api)
        await api.put("/schedules/office", daily(triggers=[once]))
        await put_days(api, "2098-12-25")
        assert (await api.get("/schedules/office")).json["state"] == "completed"
        await put_days(api, "2098-12-26")
        office = (await api.get("/schedules/office")).json
        assert (office["state"], office["next_nominal_time"]) == ("active", "2098-12-25T09:00:00Z")


async def test_a_paused_schedule_stays_paused_when_its_calendar_changes(tmp_path):
    async with api_on(tmp_path) as api:
        await put_days(api, "2098-12-24")
        await api.put("/schedules/office", daily())
        await api.post("/schedules/office/pause", {"note": "audit"})
        assert (await put_days(api, "2098-12-25")).json["replanned"] == ["office"]
        assert (await api.get("/schedules/office")).json["state"] == "paused"
        await api.post("/schedules/office/resume")
        assert (await api.get("/schedules/office")).json["next_nominal_time"] == "2098-12-24T09:00:00Z"


async def test_an_icalendar_file_is_read(tmp_path):
    async with api_on(tmp_path) as api:
        headers = api.key_and(**{"content-type": "Text/Calendar; charset=utf-8"})
        made = await api.raw("PUT", f"{PREFIX}/calendars/uk", headers=headers, pieces=[ICAL])
        assert (made.status, made.json["days"]) == (201, ["2098-12-25", "2098-12-26"])
        for wrong, status in ((b"BEGIN:VCALENDAR\r\nnonsense\r\n", 422), (b"\xff\xfe", 400), (b"", 422)):
            refused = await api.raw("PUT", f"{PREFIX}/calendars/uk", headers=headers, pieces=[wrong])
            assert refused.status == status
        assert len((await api.get("/calendars/uk")).json["days"]) == 2


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "days"),
        ({"days": ["2026-02-30"]}, "days[0]"),
        ({"days": ["tomorrow"]}, "days[0]"),
        ({"days": "2026-12-25"}, "days"),
        ({"days": [], "name": "x"}, "name"),
        ({"days": ["2026-01-01"] * 4001}, "days"),
    ],
)
async def test_days_that_are_none_are_refused(tmp_path, document, field):
    async with api_on(tmp_path) as api:
        assert list((await api.put("/calendars/uk", document)).errors) == [field]


async def test_an_id_that_no_schedule_could_name_is_refused(tmp_path):
    async with api_on(tmp_path) as api:
        assert list((await api.put("/calendars/-uk", {"days": []})).errors) == ["id"]
        assert (await api.put("/calendars/a%20b", {"days": []})).status == 422


async def test_calendars_and_their_days_are_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(calendar_store, "MOST_CALENDARS", 1)
    monkeypatch.setattr(calendars, "MOST_DAYS", 1)
    async with api_on(tmp_path) as api:
        await put_days(api)
        assert (await put_days(api, id_="de")).status == 409
        assert (await put_days(api, "2098-12-25")).status == 200
        headers = api.key_and(**{"content-type": "text/calendar"})
        refused = await api.raw("PUT", f"{PREFIX}/calendars/uk", headers=headers, pieces=[ICAL])
        assert "2 days" in refused.errors["body"][0]


async def test_changes_that_cross_leave_every_schedule_with_the_days_of_the_calendar(tmp_path):
    async with api_on(tmp_path) as api:
        await put_days(api, "2098-12-24")
        puts = [api.put(f"/schedules/job-{n}", daily()) for n in range(10)]
        await asyncio.gather(*puts[:5], put_days(api, "2098-12-25"), *puts[5:], put_days(api, "2098-12-26"))
        # Whichever of the two came last: with a server for a database, that is nobody's choice.
        (free,) = (await api.get("/calendars/uk")).json["days"]
        left = [day for day in ("2098-12-24", "2098-12-25", "2098-12-26", "2098-12-27") if day != free][:3]
        for n in range(10):
            assert await upcoming(api, f"job-{n}") == left
