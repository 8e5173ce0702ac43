"""Bodies: read up to a limit, as strict JSON without doubled names."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections import Counter
from typing import Any

import orjson
from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from backend.errors import FieldProblem, Malformed, Refused, TooLarge

MIB = 1024 * 1024
BODY_LIMIT = MIB
BATCH_LIMIT = 32 * MIB
LARGE = 64 * 1024
"""Bytes from which on reading takes long enough for other requests and schedules to notice."""


async def read_body(request: Request, limit: int) -> bytes:
    """Read the body's bytes; TooLarge over the limit. Keeps its hash, for requests that may come again."""
    # One that says so is refused before its bytes are read; of one that does not, no more is read than the limit.
    declared = request.headers.get("content-length", "")
    pieces, size = [], int(declared) if declared.isdecimal() and len(declared) < 20 else 0
    _check_size(size, limit)
    size = 0
    try:
        async for piece in request.stream():
            size += len(piece)
            _check_size(size, limit)
            pieces.append(piece)
    except ClientDisconnect:
        raise HTTPException(408, "the body did not come to its end") from None
    raw = b"".join(pieces)
    request.state.body_hash = hashlib.sha256(raw).hexdigest()
    return raw


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        rule = f"the body is larger than {limit // MIB} MiB"
        raise TooLarge([FieldProblem("body", rule, "send less, or several requests")])


async def read_json(raw: bytes) -> Any:  # noqa: ANN401 - JSON
    """Read a body as JSON; a large one in a thread, since the event loop has schedules to fire."""
    return await asyncio.to_thread(strict_json, raw) if len(raw) > LARGE else strict_json(raw)


def strict_json(raw: bytes) -> Any:  # noqa: ANN401 - JSON
    """Read JSON in UTF-8; Malformed if it is not that, Refused if an object has a name twice."""
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise malformed(f"it is not valid JSON in UTF-8: {error}", "send one JSON document, encoded as UTF-8") from None
    # Which of two values counts differs from parser to parser: what a proxy has checked need not be what we would do.
    if b"\\" not in raw and len(_END_OF_NAME.findall(raw)) == _count_names(document):
        return document
    # This takes about five times as long as the reading, and finds nothing else that orjson would have let pass.
    try:
        json.loads(raw, object_pairs_hook=_names, parse_int=_nothing, parse_float=_nothing)
    except _Doubled as doubled:
        raise Refused([FieldProblem(doubled.name, "it stands twice in one object", "give it once")]) from None
    except RecursionError:
        raise Refused([FieldProblem("body", "it is nested too deep", "flatten it")]) from None
    return document


def malformed(rule: str, fix: str) -> Malformed:
    """Word that a body is not what its route reads."""
    return Malformed([FieldProblem("body", rule, fix)])


_END_OF_NAME = re.compile(rb'"\s*:')
"""In JSON without escapes this is the end of a name, and nothing else: no text holds a quote."""


def _count_names(document: object) -> int:
    number, level = 0, [document]
    while level:
        below: list[object] = []
        for value in level:
            if isinstance(value, dict):
                number += len(value)
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
        level = below
    return number


class _Doubled(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name[:80].encode(errors="replace").decode() or "body"


def _names(pairs: list[tuple[str, object]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise _Doubled(Counter(name for name, _ in pairs).most_common(1)[0][0])


def _nothing(_: str) -> None:
    """Read no number: they may be longer than Python reads."""
