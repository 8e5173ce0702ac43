"""What a refusal says: the place, the rule in plain words, and what would be right."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.acceptance.api_client import PREFIX, Client, api_on, ask

pytestmark = pytest.mark.anyio

CALL = {"kind": "http", "url": "https://example.org/hook"}
HOURLY = {"kind": "interval", "every": "1h"}
GOOD: dict[str, Any] = {"triggers": [HOURLY], "target": CALL}
EVERY = "is outside 1 second to 3650 days"


@pytest.fixture(scope="module")
async def api(tmp_path_factory) -> AsyncIterator[Client]:
    async with api_on(tmp_path_factory.mktemp("wording")) as client:
        yield client


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"triggers": []}, "triggers: the list is empty; give at least one trigger"),
        ({"target": {"kind": "fax"}}, "target.kind: 'fax' is not a kind of target; use 'http', 'command' or 'python'"),
        (
            {"triggers": [{"kind": "x"}]},
            "triggers[0].kind: 'x' is not a kind of trigger; use 'cron', 'interval', 'once' or 'rrule'",
        ),
        ({"target": {"url": "https://example.org"}}, "target.kind: it is missing; say which kind of target it is"),
        ({"retries": 5}, "retries: there is no such field; did you mean retry?"),
        ({"retry": {"max_attemps": 5}}, "retry.max_attemps: there is no such field; did you mean max_attempts?"),
        ({"target": CALL | {"header": {}}}, "target.header: there is no such field; did you mean headers?"),
        ({"triggers": [HOURLY | {"evry": 1}]}, "triggers[0].evry: there is no such field; did you mean every?"),
        ({"colour": 1}, "colour: there is no such field; leave it out, or check its spelling"),
        ({"timeout": True}, "timeout: true is not a duration; "),
        ({"input": None}, "input: it is null; give an object"),
        ({"owner": 5}, "owner: it is a number; give a text"),
        ({"pause_after_failures": -1}, "pause_after_failures: -1 is below 0; give at least 0"),
        ({"name": ""}, "name: it is empty; give at least 1 character"),
        ({"name": "x" * 201}, "name: it is longer than 200 characters; shorten it"),
        (
            {"id": "bad id!"},
            "id: 'bad id!' has a character that ids cannot have; use letters, digits and . _ : @ ~ -, beginning",
        ),
        (
            {"overlap_policy": "foo"},
            "overlap_policy: 'foo' is not an overlap policy; give 'skip', 'buffer_one', 'buffer_all', ",
        ),
        (
            {"triggers": [{"kind": "cron", "expression": "@reboot"}]},
            "triggers[0].expression: @reboot is not a time; start it from your service manager",
        ),
        (
            {"triggers": [{"kind": "cron", "expression": "0 9 * * *", "timezone": "europe/london"}]},
            "triggers[0].timezone: 'europe/london' is not a known time zone; use Europe/London",
        ),
        *[
            ({"triggers": [{"kind": "interval", "every": given}]}, f"triggers[0].every: {shown} {EVERY}; ")
            for given, shown in [
                (0, "0"),
                (-1, "-1"),
                ("0s", "'0s'"),
                ("3651d", "'3651d'"),
                ("9" * 12 + "d", "'999999999999d'"),
            ]
        ],
    ],
)
async def test_a_definition_is_refused_in_plain_words(api, change, words):
    refused = await api.post("/schedules", GOOD | change)
    assert refused.status == 422
    assert refused.json["detail"].startswith(words.partition(EVERY)[0])
    assert all(part in refused.json["detail"] for part in words.split("; "))


async def test_a_wrong_rule_in_a_wrong_zone_is_told_both(api):
    rule = {"kind": "cron", "expression": "61 * * * *", "timezone": "Foo"}
    refused = await api.post("/preview", {"triggers": [rule]})
    assert list(refused.errors) == ["triggers[0].expression", "triggers[0].timezone"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[]", "it is a list"),
        (b"null", "it is null"),
        (b'"x"', "it is text"),
        (b"1", "it is a number"),
        (b"", "empty"),
    ],
)
@pytest.mark.parametrize("path", ["/schedules", "/schedules/batch", "/preview"])
async def test_a_body_that_is_no_object_is_called_what_it_is(api, path, body, words):
    refused = await api.raw("POST", PREFIX + path, headers=api.key_and(), pieces=[body])
    assert refused.status == 422
    assert words in refused.errors["body"][0]
    assert refused.errors["body"][1] == "send a JSON object"


async def test_a_filter_outside_its_list_is_told_the_list_once(api):
    detail = (await api.get("/runs", state="foo")).json["detail"]
    assert detail.startswith("state: 'foo' is not a state; give 'buffered', 'held'")
    assert detail.count("'skipped'") == 1


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health_check"])
async def test_health_can_be_asked_for_without_its_body(api, path):
    head, get = await ask(api.app, "HEAD", path), await ask(api.app, "GET", path)
    assert (head.status, head.headers["content-type"]) == (get.status, get.headers["content-type"])
    assert head.body == b""
