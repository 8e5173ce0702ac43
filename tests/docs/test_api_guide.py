"""The examples of the API guide do what the guide says."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from backend.store.keyring import make_key
from tests.acceptance.api_client import PREFIX, Client, api_on, ask

pytestmark = pytest.mark.anyio
GUIDE = Path(__file__).parents[2] / "docs" / "reference" / "api.md"


class Example(NamedTuple):
    method: str
    target: str
    query: str
    headers: dict[str, str]
    body: str
    status: int


def examples() -> Iterator[str]:
    """Give the commands of the guide's shell blocks, each with the status behind it."""
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    for block in blocks:
        yield from re.findall(r"^curl .*?#\s*\d{3}$", block, re.DOTALL | re.MULTILINE)


def read(command: str, key: str, run: str) -> Example:
    """Read a curl command as curl would."""
    text, _, status = command.rpartition("#")
    words = iter(shlex.split(text.replace("$KEY", key).replace("$URL", PREFIX).replace("$RUN", run))[1:])
    method, url, headers, body = "", "", {}, ""
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name.lower()] = value
        elif word == "-d":
            body = next(words)
        else:
            assert not word.startswith("-"), word
            url = word
    target, _, query = url.partition("?")
    return Example(method or ("POST" if body else "GET"), target, query, headers, body, int(status))


async def do(api: Client, example: Example) -> str | None:
    answer = await api.raw(
        example.method,
        example.target,
        query=example.query.encode(),
        headers=[(name.encode(), value.encode()) for name, value in example.headers.items()],
        pieces=[example.body.encode()],
    )
    assert answer.status == example.status, (example, answer.body)
    return answer.headers.get("location")


async def test_every_example_answers_what_the_guide_says(tmp_path):
    run = "none-yet"
    # Engine and worker stand still, so that the run of the example is still open when it is cancelled.
    async with api_on(tmp_path, secret_keys=make_key("k1")) as api:
        commands = list(examples())
        assert len(commands) > 20
        for command in commands:
            location = await do(api, read(command, api.key, run))
            if location and "/runs/" in location:
                run = location.rpartition("/")[2]


async def test_the_refusal_in_the_guide_is_the_real_one(tmp_path):
    shown = json.loads(re.findall(r"```json\n(.*?)```", GUIDE.read_text(), re.DOTALL)[0])
    async with api_on(tmp_path, secret_keys=make_key("k1")) as api:
        wrong = {"triggers": [{"kind": "cron", "expression": "61 * * * *"}]}
        assert (await api.post("/preview", wrong)).json == shown


async def test_the_guide_mentions_every_route_and_status(tmp_path):
    text = GUIDE.read_text()
    async with api_on(tmp_path, secret_keys=make_key("k1")) as api:
        document = api.document()
        assert (await ask(api.app, "GET", "/openapi.json")).status == 200
    for route, operations in document["paths"].items():
        step = route.removeprefix(PREFIX).rpartition("/")[2]
        assert step.strip("{}") in text, route
        for operation in operations.values():
            assert all(status in text for status in operation["responses"]), route
