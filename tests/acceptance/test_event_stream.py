"""`GET /api/v1/events` over a real connection: events as they happen, to be gone on with after the last one."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from backend.api.context import Follower
from backend.api.routes.events import MOST, MOST_OF_A_KEY, MOST_OF_A_NAMESPACE
from backend.cli.client import Client as Connection
from backend.cli.failures import Unreachable
from backend.client.events import Event
from backend.model.ids import NamespaceId
from tests.acceptance.api_client import Client, api_on
from tests.acceptance.server import Server

pytestmark = pytest.mark.anyio
INTERVAL = [{"kind": "interval", "every": "1d"}]
JOB: dict[str, Any] = {"id": "job", "triggers": INTERVAL, "target": {"kind": "command", "argv": ["true"]}}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as server:
        yield server.ready()


def url_of(server: Server) -> str:
    host, port = server.where
    return f"http://{host}:{port}"


def test_events_come_as_they_happen_and_go_on_after_the_last_one(server: Server) -> None:
    client = Connection(url_of(server), api_key=server.key)
    stream = client.events({}, None)
    assert list(next(stream)) == []
    client.post("schedules", body=JOB)
    client.post("schedules", "job", "trigger")
    seen = [{**one.fact, "id": one.id} for one in _until_finished(stream)]
    assert [one["kind"] for one in seen] == ["schedule.created", "run.queued", "run.started", "run.finished"]
    assert seen[-1]["state"] == "succeeded"
    again = [one.fact["kind"] for one in _until_finished(client.events({}, seen[1]["id"]))]
    assert again[-2:] == ["run.started", "run.finished"]


def _until_finished(stream: Iterator[Sequence[Event]]) -> Iterator[Event]:
    for one in chain.from_iterable(stream):
        yield one
        if one.fact["kind"] == "run.finished":
            return


def test_a_server_that_drains_ends_its_streams(server: Server) -> None:
    stream = Connection(url_of(server), api_key=server.key).events({}, None)
    next(stream)
    ended = threading.Event()

    def read() -> None:
        try:
            for _ in stream:
                pass
        except Unreachable:
            pass
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    assert server.stop() == 0
    assert ended.wait(30)


async def test_a_key_has_a_few_streams_and_a_wrong_place_is_refused(tmp_path: Path) -> None:
    async with api_on(tmp_path) as api:
        assert (await api.get("/events", follow="false")).status == 200
        headers = {"last_event_id": "yesterday"}
        assert (await api.call("GET", "/events", query={"follow": "false"}, headers=headers)).status == 422
        key_id = (await api.get("/keys/self")).json["id"]
        streams = api.app.state.context.streams
        assert streams.total() == 0
        streams[Follower(None, key_id)] = MOST_OF_A_KEY
        assert (await api.get("/events")).status == 429


async def test_a_tenant_has_a_share_of_the_streams_and_takes_nobody_else_s(tmp_path: Path) -> None:
    async with api_on(tmp_path) as api:
        keys = {name: await _key_of(api, name) for name in ("growth", "billing")}

        async def status(key: str) -> int:
            query = {"follow": "false"}
            return (await api.call("GET", "/events", query=query, headers={"x_api_key": key})).status

        streams = api.app.state.context.streams
        for number in range(MOST_OF_A_NAMESPACE):
            streams[Follower(NamespaceId("growth"), f"key-{number}")] = 1
        assert [await status(key) for key in (keys["growth"], keys["billing"], api.key)] == [429, 200, 200]
        for number in range(MOST):
            streams[Follower(NamespaceId(f"tenant-{number}"), "key")] = 1
        assert [await status(key) for key in (keys["billing"], api.key)] == [429, 200]
        streams.clear()
        for number in range(MOST // MOST_OF_A_KEY):
            streams[Follower(None, f"key-{number}")] = MOST_OF_A_KEY
        assert [await status(key) for key in (keys["billing"], api.key)] == [200, 429]


async def _key_of(api: Client, namespace: str) -> str:
    assert (await api.post("/namespaces", {"id": namespace})).status == 201
    made = await api.post("/keys", {"name": namespace, "namespace": namespace, "scopes": ["read"]})
    assert made.status == 201, made.body
    key: str = made.json["key"]
    return key
