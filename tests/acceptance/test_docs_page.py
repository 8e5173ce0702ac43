"""`/docs` shows the whole OpenAPI document, and needs nothing but this server."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape
from html.parser import HTMLParser

import pytest

from tests.acceptance.api_client import Answer, Client, api_on, ask

pytestmark = pytest.mark.anyio
LOADS = {"href", "src", "srcset", "action", "formaction", "data", "poster", "background", "cite", "ping", "http-equiv"}


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loads += [value or "" for name, value in attrs if name in LOADS]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        assert not any(name.startswith("on") for name, _ in attrs)


@pytest.fixture(scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    async with api_on(tmp_path_factory.mktemp("docs")) as client:
        yield client


@pytest.fixture
async def answer(api: Client) -> Answer:
    return await ask(api.app, "GET", "/docs")


async def test_nothing_in_it_leaves_the_server(answer: Answer) -> None:
    page = Page(answer.body.decode())
    assert set(page.loads) - {"openapi.json"} <= {f"#{id_}" for id_ in page.ids}
    assert not page.tags & {"script", "img", "link", "iframe", "object", "embed", "form", "base", "svg"}
    style = re.search("<style>(.*?)</style>", answer.body.decode(), re.DOTALL)
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


async def test_every_route_parameter_example_and_answer_is_in_it(api: Client, answer: Answer) -> None:
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    text, page = unescape(answer.body.decode()), Page(answer.body.decode())
    assert len(page.ids) == len(set(page.ids))
    for path, operations in api.document()["paths"].items():
        for operation in operations.values():
            block = text.partition(f'<details id="{operation["operationId"]}">')[2].partition("</details>")[0]
            assert path in block
            names = [parameter["name"] for parameter in operation.get("parameters", ())]
            assert all(word in block for word in [*names, *operation["responses"]])
            assert ("<pre>" in block) == ("requestBody" in operation)
    for name in api.document()["components"]["schemas"]:
        assert f"schema-{name}" in page.ids
