"""Every answer has an id, and its lines in the log have it, too."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from backend import events
from backend.observe.logs import configure_logging
from tests.acceptance.api_client import Client, api_on, ask, draft
from tests.acceptance.server import Server, until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Client]:
    async with api_on(tmp_path) as client:
        yield client


@pytest.fixture
def facts(api: Client) -> list[events.RequestAnswered]:
    found: list[events.RequestAnswered] = []

    def note(fact: events.Fact) -> None:
        if isinstance(fact, events.RequestAnswered):
            found.append(fact)

    api.system.events.subscribe(note)
    return found


@pytest.fixture
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize("given", ["req-1", "~" * 128, "a/b:c=d;e"])
async def test_a_sane_id_is_adopted(api: Client, given: str) -> None:
    answer = await api.call("GET", "/schedules", headers={"X-Request-Id": given})
    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "~" * 129, "tab\t", "é"])
async def test_any_other_is_replaced_by_one_of_ours(api: Client, given: str) -> None:
    first = (await api.call("GET", "/schedules", headers={"X-Request-Id": given})).headers["x-request-id"]
    second = (await api.call("GET", "/schedules", headers={"X-Request-Id": given})).headers["x-request-id"]
    assert len(first) == 32
    assert len({given, first, second}) == 3


async def test_what_is_told_of_a_request_names_its_template_its_key_and_its_run(
    api: Client, facts: list[events.RequestAnswered]
) -> None:
    await api.post("/schedules", draft("daily"))
    run = (await api.post("/schedules/daily/trigger")).json
    await api.get("/schedules/none-such")
    await api.raw("GET", "/no/such/route")
    told = [(fact.method, fact.route, fact.status) for fact in facts]
    assert told == [
        ("POST", "/api/v1/schedules", 201),
        ("POST", "/api/v1/schedules/{id}/trigger", 202),
        ("GET", "/api/v1/schedules/{id}", 404),
        ("GET", "", 404),
    ]
    assert {fact.by for fact in facts[:3]} == {"key:" + facts[0].by.removeprefix("key:")}
    assert [fact.run_id for fact in facts] == ["", run["id"], "", ""]


async def test_an_answer_that_nobody_foresaw_has_an_id_too(
    api: Client, facts: list[events.RequestAnswered], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> tuple[bytes, str]:
        raise ZeroDivisionError

    object.__setattr__(api.app.state.context, "metrics", broken)
    with pytest.raises(ZeroDivisionError):
        await ask(api.app, "GET", "/metrics", headers=[(b"x-api-key", api.key.encode()), (b"x-request-id", b"oops")])
    assert [(fact.route, fact.status, fact.request_id) for fact in facts] == [("/metrics", 500, "oops")]


@pytest.mark.usefixtures("_logging_as_it_was")
async def test_lines_that_a_request_causes_carry_its_id(api: Client, tmp_path: Path) -> None:
    from backend.observe.logs import log_fact

    log = tmp_path / "log"
    configure_logging("info", "json", log)
    api.system.events.subscribe(log_fact)
    await api.call("POST", "/schedules", document=draft("daily"), headers={"X-Request-Id": "req-7"})
    (changed,) = [line for line in log.read_text().splitlines() if "schedule_changed" in line]
    assert '"request_id":"req-7"' in changed
    assert "request_id" not in structlog.contextvars.get_contextvars()


def test_requests_are_logged_only_when_asked_for(tmp_path: Path) -> None:
    with Server(tmp_path, log_requests="true") as server:
        server.ready().get("/schedules")
        line = until("its line", lambda: next(iter(about_schedules(server)), None))
        assert (line["method"], line["status"]) == ("GET", 200)
        assert line["by"].startswith("key:")
        assert server.key not in str(server.lines)
        assert server.stop() == 0
    with Server(tmp_path) as server:
        server.ready().get("/schedules")
        assert server.stop() == 0
        assert server.said("request_answered") == []


def about_schedules(server: Server) -> list[dict[str, Any]]:
    return [line for line in server.said("request_answered") if line["route"] == "/api/v1/schedules"]
