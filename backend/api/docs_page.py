"""The documentation page: the OpenAPI document as plain HTML, without a script and without anything from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

Document = Mapping[str, Any]
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:70rem;padding:1rem;color:#1c2430;background:#fff}
code,pre{font:13px/1.45 ui-monospace,monospace}pre{background:#f3f5f8;padding:.7rem;overflow:auto;border-radius:4px}
table{border-collapse:collapse;width:100%}
td,th{border-bottom:1px solid #dde2e8;padding:.3rem .6rem;text-align:left;vertical-align:top}
summary{cursor:pointer;padding:.4rem 0}summary b{display:inline-block;min-width:4.5rem}section{margin-bottom:2rem}
nav a{margin-right:1rem}h4{margin:.8rem 0 .2rem}.why{color:#5a6675}
@media(prefers-color-scheme:dark){
body{background:#14181e;color:#dfe5ec}pre{background:#1f252d}td,th{border-color:#333c47}a{color:#8ab8ff}
.why{color:#98a4b3}}
"""
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
METHODS = ("get", "post", "put", "patch", "delete")


def docs_page(document: Document) -> str:
    """Render the document: routes by tag, with parameters, bodies, examples and answers; then the schemas."""
    info = document["info"]
    tags = document["tags"]
    return "".join(
        [
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>',
            f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>',
            f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>",
            *(f"<p>{escape(part)}</p>" for part in info["description"].strip().split("\n\n")),
            '<p>The same for programs: <a href="openapi.json">openapi.json</a>.</p><nav>',
            *(f'<a href="#{escape(tag["name"])}">{escape(tag["name"])}</a>' for tag in tags),
            '<a href="#schemas">schemas</a></nav>',
            *(_section(document, tag) for tag in tags),
            '<section id="schemas"><h2>Schemas</h2>',
            *(_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items())),
            "</section></html>",
        ]
    )


def _section(document: Document, tag: Mapping[str, str]) -> str:
    name = tag["name"]
    operations = [
        _operation(path, method, item[method])
        for path, item in document["paths"].items()
        for method in METHODS
        if name in item.get(method, {}).get("tags", ())
    ]
    return (
        f'<section id="{escape(name)}"><h2>{escape(name)}</h2><p>{escape(tag["description"])}</p>'
        f"{''.join(operations)}</section>"
    )


def _operation(path: str, method: str, operation: Document) -> str:
    scopes = sorted({scope for one in operation.get("security", ()) for many in one.values() for scope in many})
    takes = f"<p>Scope: {escape(', '.join(scopes))}</p>" if scopes else ""
    return "".join(
        [
            f'<details id="{escape(operation["operationId"])}"><summary><b>{method.upper()}</b> ',
            f'<code>{escape(path)}</code> <span class="why">{escape(operation["description"])}</span></summary>{takes}',
            _parameters(operation.get("parameters", ())),
            _body(operation.get("requestBody")),
            _answers(operation["responses"]),
            "</details>",
        ]
    )


def _parameters(parameters: Any) -> str:  # noqa: ANN401 - JSON
    rows: list[tuple[str, ...]] = [
        (parameter["name"], parameter["in"], _kind(parameter["schema"]), parameter.get("description", ""))
        for parameter in parameters
    ]
    return f"<h4>Parameters</h4>{_table(('name', 'in', 'type', ''), rows)}" if rows else ""


def _body(body: Any) -> str:  # noqa: ANN401 - JSON
    if body is None:
        return ""
    parts = ["<h4>Body</h4>"]
    for media, content in body["content"].items():
        parts.append(f"<p><code>{escape(media)}</code>: {_linked(content['schema'])}</p>")
        if "example" in content:
            parts.append(f"<pre>{escape(_pretty(content['example']))}</pre>")
    return "".join(parts)


def _answers(responses: Document) -> str:
    rows = "".join(
        f"<tr><td>{escape(status)}<td>{_contents(answer)}<td>{escape(answer['description'])}"
        for status, answer in sorted(responses.items())
    )
    return f"<h4>Answers</h4><table><tr><th>status<th>body<th>{rows}</table>"


def _contents(answer: Document) -> str:
    kinds = [_linked(content.get("schema", {})) for content in answer.get("content", {}).values()]
    headers = [f"<code>{escape(name)}</code>" for name in answer.get("headers", {})]
    return " ".join([*kinds, *headers])


def _schema(name: str, schema: Document) -> str:
    needed = set(schema.get("required", ()))
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code>{'' if field in needed else '?'}<td>{_linked(one)}"
        f"<td>{escape(_words(one))}"
        for field, one in schema.get("properties", {}).items()
    )
    told = escape(schema.get("description", ""))
    summary = f"<summary><code>{escape(name)}</code> {told}</summary>"
    return f'<details id="schema-{escape(name)}">{summary}<table>{rows}</table></details>'


def _words(schema: Document) -> str:
    default = f"Default: {json.dumps(schema['default'], ensure_ascii=False)}." if "default" in schema else ""
    return " ".join(filter(None, [schema.get("description", ""), default]))


def _linked(schema: Document) -> str:
    """Name a schema, with links to those that it consists of."""
    names = list(dict.fromkeys(_references(schema)))
    if not names:
        return escape(_kind(schema))
    links = " | ".join(f'<a href="#schema-{escape(name)}">{escape(name)}</a>' for name in names)
    return f"list of {links}" if schema.get("type") == "array" else links


def _references(schema: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].rpartition("/")[2]
        for key in ("anyOf", "oneOf", "allOf", "items", "additionalProperties"):
            yield from _references(schema.get(key))
    elif isinstance(schema, list):
        for one in schema:
            yield from _references(one)


def _kind(schema: Document) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return " | ".join(_kind(one) for one in options)
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    return str(schema.get("type", "any"))


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(text)}" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}" for text in row) for row in rows)
    return f"<table><tr>{head}{body}</table>"


def _pretty(example: object) -> str:
    return example if isinstance(example, str) else json.dumps(example, indent=2, ensure_ascii=False)
