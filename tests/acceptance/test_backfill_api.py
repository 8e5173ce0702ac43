"""Backfills through the API: what is asked, what is refused, and real runs that stand back behind live ones."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.api_client import HOURLY, Client, api_on, draft
from tests.acceptance.server import Server, until
from tests.acceptance.sink import Answer, listening_sink

pytestmark = pytest.mark.anyio
MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def days(first: int, last: int = 0) -> dict[str, str]:
    return {"from": text(MIDNIGHT - timedelta(days=first)), "to": text(MIDNIGHT - timedelta(days=last))}


async def asked(api: Client, **body: Any) -> Any:
    return await api.post("/schedules/hourly/backfill", days(2) | body)


async def test_a_dry_run_answers_200_and_the_real_one_202_with_runs_that_carry_its_id(tmp_path: Path) -> None:
    async with api_on(tmp_path) as api:
        await api.post("/schedules", draft("hourly"))
        dry = await asked(api, dry_run=True)
        assert (dry.status, dry.json["count"], dry.json["backfill_id"]) == (200, 48, None)
        assert (await api.get("/runs")).json["items"] == []
        real = await asked(api)
        assert real.status == 202
        assert real.json | {"backfill_id": None} == dry.json
        assert dry.json["first"] == days(2)["from"]
        assert dry.json["nominal_times"][-1] == dry.json["last"]
        runs = (await api.get("/schedules/hourly/runs", limit=100)).json["items"]
        assert {(run["backfill_id"], run["trigger_type"]) for run in runs} == {(real.json["backfill_id"], "backfill")}
        assert [run["nominal_time"] for run in reversed(runs)] == dry.json["nominal_times"]
        assert [run["state"] for run in reversed(runs)] == ["queued"] + ["held"] * 47


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"to": "2999-01-01T00:00:00Z"}, "to"),
        ({"from": "2999-01-01T00:00:00Z"}, "to"),
        ({"from": "1970-01-01T00:00:00Z"}, "to"),
        ({"from": "soon"}, "from"),
        ({"overlap_policy": "skip"}, "overlap_policy"),
        ({"dry_run": "perhaps"}, "dry_run"),
        ({"speed": 9}, "speed"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_its_field(tmp_path: Path, body: dict[str, Any], field: str) -> None:
    async with api_on(tmp_path) as api:
        await api.post("/schedules", draft("hourly"))
        answer = await asked(api, **body)
        assert answer.status == 422
        assert field in answer.errors
        assert (await api.get("/runs")).json["items"] == []


async def test_a_schedule_that_is_not_there_is_404_and_an_empty_body_422(tmp_path: Path) -> None:
    async with api_on(tmp_path) as api:
        assert (await asked(api)).status == 404
        await api.post("/schedules", draft("hourly"))
        assert (await api.post("/schedules/hourly/backfill")).status == 422


async def test_exclusions_apply(tmp_path: Path) -> None:
    async with api_on(tmp_path) as api:
        nights = {"kind": "cron", "expression": "* 0-5 * * *", "timezone": "UTC"}
        await api.post("/schedules", draft("hourly", triggers=[HOURLY], exclusions=[nights]))
        assert (await asked(api, dry_run=True)).json["count"] == 36


async def test_two_backfills_at_once_double_nothing_within_one(tmp_path: Path) -> None:
    async with api_on(tmp_path) as api:
        await api.post("/schedules", draft("hourly"))
        one, two = await asyncio.gather(asked(api), asked(api))
        assert one.json["backfill_id"] != two.json["backfill_id"]
        runs = (await api.get("/runs", limit=500)).json["items"]
        assert len({(run["nominal_time"], run["backfill_id"]) for run in runs}) == len(runs) == 96


def test_a_thousand_backfill_runs_do_not_delay_a_live_run(tmp_path: Path) -> None:
    with listening_sink() as sink:
        sink.on("/past", Answer(after=0.4))
        with Server(tmp_path, poll_interval="50ms", worker_concurrency="4") as server:
            server.ready()
            minutely = [{"kind": "cron", "expression": "* * * * *"}]
            to = MIDNIGHT
            for number in range(5):
                server.create(f"past-{number}", sink.target("/past"), triggers=minutely, overlap_policy="skip")
                body = {"from": text(to - timedelta(minutes=200)), "to": text(to), "overlap_policy": "allow_all"}
                assert server.post(f"/schedules/past-{number}/backfill", body)["count"] == 200
            until("some that run", lambda: len(sink.at("/past")) >= 2)
            server.create("live", sink.target("/live"))
            ids = [server.post("/schedules/live/trigger")["id"] for _ in range(2)]
            for id_ in ids:
                run = server.run(id_)
                assert run["state"] == "succeeded"
            # Two slots of four at the most: in the time of the live runs hardly any of the thousand came to its end.
            waiting = server.query("select count(*) from runs where lane = 1 and finished_at is null")[0][0]
            assert waiting > 900
            [[busy]] = server.query("select count(*) from runs where lane = 1 and state = 'running'")
            assert busy <= 2
            server.kill()


def test_the_runs_of_a_backfill_run_one_after_another_with_their_nominal_times(tmp_path: Path) -> None:
    with listening_sink() as sink, Server(tmp_path, poll_interval="50ms") as server:
        server.ready().create("hourly", sink.target("/past"), triggers=[HOURLY])
        answer = server.post("/schedules/hourly/backfill", days(1))
        assert answer["count"] == 24
        until("all of them", lambda: len(sink.at("/past")) == 24)
        server.all_final()
        assert [request.headers["x-nominal-time"] for request in sink.at("/past")] == answer["nominal_times"]
        assert {run["state"] for run in server.runs()} == {"succeeded"}
        assert server.heard("backfill_started")["runs"] == 24
