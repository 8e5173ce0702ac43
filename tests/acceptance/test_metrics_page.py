"""The page of metrics, from a real system, also when its database is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.api_client import Client, api_on, ask, draft

pytestmark = pytest.mark.anyio
COMMAND = {"kind": "command", "argv": ["true"]}


class Page:
    """Samples by name and labels."""

    def __init__(self, text: str) -> None:
        self.samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """Sum what has these labels."""
        found = [s for s in self.samples if s.name == name and labels.items() <= s.labels.items()]
        assert found, f"{name}{labels} is not there"
        return sum(sample.value for sample in found)

    def has(self, name: str) -> bool:
        return any(sample.name == name for sample in self.samples)


async def page(api: Client) -> Page:
    answer = await ask(api.app, "GET", "/metrics", headers=api.key_and())
    assert answer.status == 200, answer
    return Page(answer.body.decode())


async def page_when(api: Client, condition: Callable[[Page], bool]) -> Page:
    async with asyncio.timeout(20):
        while not condition(found := await page(api)):  # noqa: ASYNC110 - what comes sets no event of ours
            await asyncio.sleep(0.05)
    return found


@pytest.mark.each_database
async def test_a_run_leaves_its_traces_in_every_part(tmp_path: Path) -> None:
    async with api_on(tmp_path, turning=True) as api:
        await api.put("/schedules/daily", draft(target=COMMAND))
        run = (await api.post("/schedules/daily/trigger")).json
        await api.until_run(run["id"], "succeeded")
        await api.get("/schedules/none-such")
        found = await page_when(api, lambda page: page.has("scheduler_attempts_total"))
    assert found.value("scheduler_attempts_total", target="command", outcome="succeeded") == 1
    assert found.value("scheduler_run_lateness_seconds_count") == 1
    assert found.value("scheduler_schedules", state="active") == 1
    assert found.value("scheduler_workers", state="working") == 1
    route = {"method": "GET", "route": "/api/v1/schedules/{id}"}
    assert found.value("scheduler_http_requests_total", **route, status="4xx") == 1
    assert found.value("scheduler_http_request_seconds_count", **route) == 1
    for access in ("read", "write"):
        assert found.value("scheduler_store_seconds_count", access=access) > 0
    assert [found.value(f"scheduler_{name}") for name in ("database_up", "live", "ready", "build_info")] == [1] * 4
    assert found.value("scheduler_engine_silence_seconds") < 30
    assert found.value("scheduler_loop_silence_seconds", loop="engine") < 30
    assert found.value("scheduler_data_free_bytes") > 0


async def test_without_its_database_the_page_still_answers_and_says_so(tmp_path: Path) -> None:
    async with api_on(tmp_path) as api:
        await api.put("/schedules/daily", draft(target=COMMAND))
        assert (await page(api)).value("scheduler_schedules", state="active") == 1
        await asyncio.to_thread(api.system.store.close)
        content, _ = await api.system.render_metrics()
        found = Page(content.decode())
    assert found.value("scheduler_database_up") == 0
    assert not found.has("scheduler_schedules")
    assert found.value("scheduler_due_backlog") != found.value("scheduler_due_backlog"), "it is not a number"
    assert found.value("scheduler_store_unavailable_total", access="read") > 0


async def test_no_label_takes_over_what_callers_make_up(tmp_path: Path) -> None:
    async with api_on(tmp_path) as api:
        await api.raw("GET", "/made/up")
        await ask(api.app, "MADEUP", "/api/v1/schedules", headers=api.key_and())
        answer = await ask(api.app, "GET", "/metrics", headers=api.key_and(**{"x-request-id": "made-up-id"}))
    assert b"made" not in answer.body.lower()
