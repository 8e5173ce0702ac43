"""Loads named statements from .sql files.

A block starts with `-- name: claim_due` and a line of intent. `-- fragment: columns` names a text that other
blocks of the same dialect include as `{{columns}}`. `-- lock: claim_due` is what has to be locked before the statement
of that name, for a database in which writers do not take turns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

_BLOCK = re.compile(r"^-- (name|lock|fragment): (\w+)\n", re.MULTILINE)
_INCLUDE = re.compile(r"\{\{(\w+)\}\}")


@cache
def load_queries(package: str, kind: str = "name") -> Mapping[str, str]:
    """Read every statement of the .sql files in `package`, or every `lock`; each name occurs once."""
    blocks: dict[str, dict[str, str]] = {"name": {}, "lock": {}, "fragment": {}}
    for entry in sorted(files(package).iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".sql"):
            _split(entry.read_text(), blocks)
    return {name: _included(text, blocks["fragment"]) for name, text in blocks[kind].items()}


def _included(text: str, fragments: Mapping[str, str]) -> str:
    # A fragment may include another.
    while _INCLUDE.search(text):
        text = _INCLUDE.sub(lambda m: fragments[m[1]], text)
    return text


def _split(text: str, blocks: dict[str, dict[str, str]]) -> None:
    parts = _BLOCK.split(text)[1:]
    for kind, name, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if name in blocks[kind]:
            raise ValueError(f"two statements are named {name}")
        lines = [line for line in body.splitlines() if not line.startswith("--")]
        blocks[kind][name] = "\n".join(lines).strip()
