"""P16: a run that failed is a line in some log: no outcome per attempt, no retries, no dead letters, nobody is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message

from tests.acceptance.api_client import Client, api_on
from tests.acceptance.server import free_port
from tests.acceptance.sink import Sink, listening_sink
from tests.acceptance.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.each_database]
RETRY = {"max_attempts": 2, "initial": "10ms", "maximum": "20ms"}


class Letters(Message):
    """Keeps what a mail server was handed."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[str, str, str]] = []

    def handle_message(self, message):
        body = message.get_payload(decode=True).decode()
        self.kept.append((message["Subject"], message["X-RcptTo"], body))


@pytest.fixture
def letters() -> Iterator[tuple[Letters, int]]:
    handler = Letters()
    controller = Controller(handler, hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        yield handler, controller.port
    finally:
        controller.stop()


async def failing(api: Client, sink: Sink) -> str:
    sink.on("/job", 503)
    trigger = {"kind": "interval", "every": "1d"}
    document = {"id": "job", "triggers": [trigger], "target": sink.target("/job"), "retry": RETRY}
    assert (await api.post("/schedules", document)).status == 201
    return str((await api.post("/schedules/job/trigger")).json["id"])


async def test_every_attempt_has_its_outcome_and_the_end_is_told_until_somebody_hears(tmp_path: Path) -> None:
    with listening_sink() as sink:
        async with api_on(tmp_path, turning=True) as api:
            sink.on("/alerts", 500, 200)
            route = {"id": "oncall", "events": ["failure", "recovery"], "target": sink.target("/alerts")}
            assert (await api.put("/notifications/oncall", route)).status == 201
            run = await failing(api, sink)
            await eventually(lambda: _in_state(api, run, "failed"))
            attempts = (await api.get(f"/runs/{run}")).json["attempts"]
            assert [(one["state"], one["status_code"]) for one in attempts] == [("failed", 503)] * 2
            await eventually(lambda: sink.at("/alerts"))
            event = json.loads(sink.at("/alerts")[0].body)
            assert (event["data"]["run"]["id"], event["data"]["run"]["attempt"]) == (run, 2)
            [told] = (await api.get("/notifications/oncall/runs")).json["items"]
            assert (told["trigger_type"], told["id"]) == ("notification", event["id"])
            assert sink.at("/alerts")[0].headers["idempotency-key"] == event["id"]
            await eventually(lambda: _refused_once(api))


async def _in_state(api: Client, run: str, state: str) -> bool:
    return bool((await api.get(f"/runs/{run}")).json["state"] == state)


async def _refused_once(api: Client) -> bool:
    [told] = (await api.get("/notifications/oncall/runs")).json["items"]
    return bool(told["state"] == "retrying" and told["attempts"][0]["status_code"] == 500)


async def test_a_failure_is_told_by_e_mail_too(tmp_path: Path, letters: tuple[Letters, int]) -> None:
    handler, port = letters
    mail: dict[str, Any] = {"smtp_url": f"smtp://127.0.0.1:{port}?starttls=false", "smtp_from": "jobs@example.org"}
    with listening_sink() as sink:
        async with api_on(tmp_path, turning=True, **mail) as api:
            target = {"kind": "email", "to": ["ops@example.org"]}
            assert (
                await api.post("/notifications", {"id": "m", "events": ["failure"], "target": target})
            ).status == 201
            run = await failing(api, sink)
            await eventually(lambda: handler.kept)
            [(subject, to, body)] = handler.kept
            assert (subject.startswith("[default] job failed"), to) == (True, "ops@example.org")
            assert run in body
            assert (await api.post("/notifications/m/test")).status == 202
            await eventually(lambda: len(handler.kept) == 2)


async def test_without_a_mail_server_a_route_by_e_mail_is_refused(tmp_path: Path) -> None:
    async with api_on(tmp_path) as api:
        body = {"id": "m", "events": ["failure"], "target": {"kind": "email", "to": ["ops@example.org"]}}
        answer = await api.post("/notifications", body)
        assert answer.status == 422
        assert "SCHEDULER_SMTP_URL" in answer.errors["target.kind"][1]
        both = {**body, "target": {"kind": "http", "url": "https://example.org/", "body": {"a": 1}}}
        assert (await api.post("/notifications", both)).status == 422
