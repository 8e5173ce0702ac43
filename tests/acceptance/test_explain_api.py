"""`explain` and `audit` over the API, on the whole system, and as the command line tells them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from backend.cli.audit import collect, show_audit
from backend.cli.explain import show_explanation
from backend.service import audit as audits
from tests.acceptance.api_client import Client, api_on, draft

pytestmark = pytest.mark.anyio
SECONDLY = {"kind": "interval", "every": "1s"}
SLEEPS = {"kind": "command", "argv": ["sleep", "60"]}
NAPS = {"kind": "command", "argv": ["sleep", "2"]}


async def until_runs(api: Client, id_: str, number: int) -> list[dict[str, Any]]:
    """Wait until a schedule has so many rows; answers them, oldest first."""
    async with asyncio.timeout(20):
        while True:
            items: list[dict[str, Any]] = (await api.get(f"/schedules/{id_}/runs")).json["items"]
            # On a slow machine several are recorded at once, before the first of them has begun.
            if len(items) >= number and items[-1]["state"] != "queued":
                return items[::-1]
            await asyncio.sleep(0.05)


async def test_an_instant_to_come_is_explained(tmp_path):
    async with api_on(tmp_path) as api:
        rule = {"kind": "cron", "expression": "0 9 * * mon-fri", "timezone": "Europe/London"}
        assert (await api.post("/schedules", draft("digest", triggers=[rule]))).status == 201
        answer = await api.get("/schedules/digest/explain", at="2096-07-02T09:00")
        assert (answer.status, answer.json["verdict"]) == (200, "will_fire")
        assert answer.json["at"] == "2096-07-02T08:00:00Z"
        assert answer.json["revision"]["number"] == 1
        wrong = (await api.get("/schedules/digest/explain", at="2096-07-01T09:30:00+01:00")).json
        assert wrong["verdict"] == "not_an_occurrence"
        assert [one["field"] for one in wrong["mismatch"]] == ["minute", "weekday"]


@pytest.mark.parametrize(
    ("query", "field"), [({}, "at"), ({"at": "soon"}, "at"), ({"at": "2026-13-01T00:00:00Z"}, "at")]
)
async def test_what_is_no_instant_is_refused(tmp_path, query, field):
    async with api_on(tmp_path) as api:
        await api.post("/schedules", draft("digest"))
        answer = await api.get("/schedules/digest/explain", **query)
        assert (answer.status, list(answer.errors)) == (422, [field])


async def test_who_is_not_there_is_not_explained_and_not_audited(tmp_path):
    async with api_on(tmp_path) as api:
        assert (await api.get("/schedules/nobody/explain", at="2026-01-01T00:00:00Z")).status == 404
        assert (await api.get("/audit/occurrences", schedule="nobody")).status == 404


async def test_real_runs_and_real_skips_are_explained_and_audited(tmp_path, capsys):
    async with api_on(tmp_path, turning=True) as api:
        await api.post("/schedules", draft("busy", triggers=[SECONDLY], target=SLEEPS))
        first, second, *_ = await until_runs(api, "busy", 3)
        fired = (await api.get("/schedules/busy/explain", at=first["nominal_time"])).json
        assert (fired["verdict"], fired["run"]["id"]) == ("fired", first["id"])
        skipped = (await api.get("/schedules/busy/explain", at=second["nominal_time"])).json
        assert skipped["verdict"] == "overlap"
        assert first["id"] in skipped["sentence"]
        await api.post("/schedules/busy/pause", {"note": "enough"})
        await api.post(f"/runs/{first['id']}/cancel")
        found = (await api.get("/audit/occurrences")).json
        assert (found["missing_count"], found["doubled_count"], found["unverified_count"]) == (0, 0, 0)
        assert found["expected"] == found["recorded"] >= 3
        metrics = (await api.raw("GET", "/metrics", headers=api.key_and())).body.decode()
        assert "scheduler_audit_missing 0.0" in metrics
        assert "scheduler_audit_doubled 0.0" in metrics
    show_explanation(skipped)
    show_audit(found)
    said = capsys.readouterr().out
    assert "verdict" in said
    assert "0 missing, 0 doubled" in said


class Pages:
    """Stands between the command line's collector and pages that were read before."""

    def __init__(self, pages: list[dict[str, Any]]) -> None:
        self.pages = pages

    def get(self, *_: str, query: dict[str, Any]) -> dict[str, Any]:
        place = [None, *(page["next_cursor"] for page in self.pages)].index(query.get("cursor"))
        return dict(self.pages[place])


async def test_an_audit_of_many_pages_adds_up(tmp_path, monkeypatch):
    async with api_on(tmp_path, turning=True) as api:
        for name in ("a", "b"):
            await api.post("/schedules", draft(name, triggers=[SECONDLY], target=NAPS))
        await until_runs(api, "b", 4)
        for name in ("a", "b"):
            await api.post(f"/schedules/{name}/pause", {"note": ""})
        to = (await api.get("/schedules/b")).json["note_at"]
        whole = (await api.get("/audit/occurrences", to=to)).json
        assert whole["next_cursor"] is None
        monkeypatch.setattr(audits, "MOST_OCCURRENCES", 3)
        pages = [(await api.get("/audit/occurrences", to=to)).json]
        while pages[-1]["next_cursor"]:
            pages.append((await api.get("/audit/occurrences", to=to, cursor=pages[-1]["next_cursor"])).json)
        assert len(pages) > 2
        assert collect(Pages(pages), {}) == whole  # type: ignore[arg-type] # what it asks of a client
        one = (await api.get("/audit/occurrences", schedule="a", to=to)).json
        assert (one["schedules"], one["missing_count"], one["doubled_count"]) == (1, 0, 0)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "to"),
        ({"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "to"),
        ({"from": "2999-01-01T00:00:00Z"}, "from"),
        ({"from": "then"}, "from"),
        ({"cursor": "abc"}, "cursor"),
    ],
)
async def test_an_audit_of_nothing_is_refused(tmp_path, query, field):
    async with api_on(tmp_path) as api:
        answer = await api.get("/audit/occurrences", **query)
        assert (answer.status, list(answer.errors)) == (422, [field])
