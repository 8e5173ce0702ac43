"""What PostgreSQL says of a statement that it has run: its plan, and what it has read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import asyncpg
import orjson

from backend.store.postgres.statements import Compiled, load_statements

STATEMENTS = load_statements()
CLAIMING = [STATEMENTS.named[name] for name in ("waiting_namespaces", "claim_runs", "next_available")]
"""What a claim asks, after it has told the planner how."""


def statement(name: str) -> Compiled:
    return STATEMENTS.locks[name.removeprefix("lock ")] if name.startswith("lock ") else STATEMENTS.named[name]


def written(value: object) -> str:
    match value:
        case None:
            return "null"
        case int():
            return str(value)
        case list():
            return "'{" + ",".join(map(str, value)) + "}'"
        case _:
            return "'" + str(value).replace("'", "''") + "'"


async def explained(url: str, one: Compiled, values: dict[str, Any], mode: str) -> dict[str, Any]:
    connection = await asyncpg.connect(url, server_settings={"search_path": "scheduler", "jit": "off"})
    try:
        types = [parameter.name for parameter in (await connection.prepare(one.text)).get_parameters()]
        names = {"bool": "boolean"}
        typed = [f"{name[:-2]}[]" if name.endswith("[]") else names.get(name, name) for name in types]
        await connection.execute(f"begin; set local plan_cache_mode = {mode}")
        if one in CLAIMING:
            await connection.execute(STATEMENTS.locks["waiting_namespaces"].text)
        await connection.execute(f"prepare one{'(' + ','.join(typed) + ')' if typed else ''} as {one.text}")
        given = ",".join(written(values[name]) for name in one.names)
        call = f"one({given})" if given else "one"
        found = await connection.fetchval(f"explain (analyze, buffers, timing off, format json) execute {call}")
        told = orjson.loads(found)[0]
        return {**told["Plan"], "Execution Time": told["Execution Time"]}
    finally:
        await connection.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def touched(plan: dict[str, Any]) -> int:
    """Rows that all scans of tables read, those included that a filter then left out."""
    scans = [node for node in nodes(plan) if "Relation Name" in node and "Scan" in node["Node Type"]]
    counted = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    return sum(int(sum(node.get(name, 0) for name in counted) * node["Actual Loops"]) for node in scans)
