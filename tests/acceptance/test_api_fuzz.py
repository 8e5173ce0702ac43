"""Whatever JSON is thrown at the API, it answers below 500, as documented, and with well-formed problems."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.acceptance.api_client import CALL, HOURLY, Client, api_on

TEXTS = ["", "0", "\0", "\ud800", "🕰", "default", "1h", "* * * * *", "@daily", "UTC", "2030-01-01T00:00:00Z", "a:b"]
VALUES = [0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 1e308, 0.1, True, False, None]
ODD = st.sampled_from(TEXTS) | st.sampled_from(VALUES)
JSON = st.recursive(
    ODD | st.text(max_size=20) | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
TRIGGER = st.fixed_dictionaries(
    {"kind": st.sampled_from(["cron", "interval", "once"]) | JSON},
    optional={
        "expression": st.from_regex(r"[-*/,0-9LWH#?a-z]{1,6}( [-*/,0-9LWH#?a-z]{1,6}){4,5}", fullmatch=True) | JSON,
        "timezone": st.sampled_from(["UTC", "Africa/Cairo", "Antarctica/Troll", "Etc/GMT+12"]) | JSON,
        "every": JSON,
        "anchor": JSON,
        "at": JSON,
        "allow_past": JSON,
        "dst_gap": JSON,
    },
)
FIELDS = {
    "id": JSON,
    "name": JSON,
    "triggers": st.lists(TRIGGER | JSON, max_size=3) | JSON,
    "target": st.just(CALL)
    | st.fixed_dictionaries({"kind": st.sampled_from(["http", "command"])}, optional={"url": JSON, "argv": JSON})
    | JSON,
    "input": JSON,
    "tags": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2) | JSON,
    "owner": JSON,
    "misfire_threshold": JSON,
    "catchup_window": JSON,
    "overlap_policy": st.sampled_from(["skip", "buffer_one", "cancel_other", "allow_all"]) | JSON,
    "retry": st.dictionaries(st.sampled_from(["max_attempts", "initial", "maximum", "multiplier"]), JSON) | JSON,
    "timeout": JSON,
    "pause_after_failures": JSON,
    "exclusions": JSON,
    "namespace": JSON,
    "state": JSON,
    "revision": JSON,
}
NEEDED = {"triggers": [HOURLY], "target": CALL}
WHOLE = st.fixed_dictionaries({}, optional=FIELDS).map(lambda fields: fields | NEEDED)
DRAFT = st.fixed_dictionaries({}, optional=FIELDS) | WHOLE | JSON
PREVIEW = st.fixed_dictionaries(
    {"triggers": st.lists(TRIGGER, max_size=2) | JSON},
    optional={"from": JSON, "count": st.integers(-1, 50) | JSON, "id": JSON, "exclusions": JSON},
)
BATCH = st.fixed_dictionaries(
    {"schedules": st.lists(DRAFT, max_size=3) | JSON}, optional={"source": JSON, "prune": JSON, "dry_run": JSON}
)
DAYS = st.lists(st.dates().map(str) | JSON, max_size=4)
WINDOW = {"from": st.just("2026-12-01T00:00:00Z") | JSON, "to": st.just("2026-12-01T02:00:00Z") | JSON}
SIMULATE = st.fixed_dictionaries(
    WINDOW,
    optional={
        "schedules": st.lists(DRAFT, max_size=2) | JSON,
        "durations": st.dictionaries(st.sampled_from(["x", "*"]), st.just("5m") | JSON, max_size=2) | JSON,
        "outage": st.fixed_dictionaries(WINDOW) | JSON,
    },
)
REQUESTS = st.one_of(
    st.tuples(st.just("PUT"), st.just("/calendars/uk"), st.fixed_dictionaries({"days": DAYS | JSON}) | JSON),
    st.tuples(st.just("POST"), st.just("/simulate"), SIMULATE | JSON),
    st.tuples(st.just("POST"), st.just("/schedules"), DRAFT),
    st.tuples(st.just("PUT"), st.just("/schedules/x"), DRAFT),
    st.tuples(st.just("PATCH"), st.just("/schedules/x"), DRAFT),
    st.tuples(st.just("POST"), st.just("/schedules/batch"), BATCH),
    st.tuples(st.just("POST"), st.just("/preview"), PREVIEW | JSON),
    st.tuples(st.just("POST"), st.sampled_from([f"/schedules/x/{v}" for v in ("pause", "resume", "trigger")]), JSON),
)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, Client]]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def opened() -> Client:
            client = await stack.enter_async_context(api_on(tmp_path_factory.mktemp("fuzz")))
            await client.put("/schedules/x", NEEDED)
            return client

        yield runner, runner.run(opened())
        runner.run(stack.aclose())


@settings(
    max_examples=400,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(request=REQUESTS)
def test_no_json_gives_a_500(api: tuple[asyncio.Runner, Client], request: tuple[str, str, Any]) -> None:
    runner, client = api
    method, path, document = request
    # The client insists on a documented status, a fitting body, and a problem document for refusals.
    answer = runner.run(client.call(method, path, document=document))
    if answer.status in {200, 201} and "/schedules" in path and "batch" not in path and path.count("/") < 3:
        again = runner.run(client.put(f"/schedules/{answer.json['id']}", answer.json))
        assert (again.status, again.json) == (200, answer.json), "what was read could not be written back unchanged"
