"""The named statements as asyncpg takes them: `:name` becomes `$1`, once per text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson

from backend.store.queries import load_queries

PACKAGE = "backend.store.postgres"
ROWS, LOCKED = "rows", "locked"
_PARAMETER = re.compile(r"(?<!:):([a-z]\w*)")
_RECORDSET = re.compile(r"json_to_recordset\(:rows::json\) as x \((.*?)\)", re.DOTALL)
_NUL, _REPLACEMENT = "\x00", "\ufffd"


@dataclass(frozen=True, slots=True)
class Compiled:
    """A statement's text, the names of its parameters in order, and the columns it reads of a batch's rows."""

    text: str
    names: tuple[str, ...]
    columns: tuple[str, ...]

    def arguments(self, params: Mapping[str, Any]) -> list[Any]:
        """Put parameters in order; a list of mappings travels as JSON."""
        return [_adapted(params[name]) for name in self.names]

    def batch(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """Write rows as JSON, only those columns that are read."""
        return dumped([{name: row[name] for name in self.columns} for row in rows])


@dataclass(frozen=True, slots=True)
class Statements:
    """All statements by name, and what has to be locked before some of them."""

    named: Mapping[str, Compiled]
    locks: Mapping[str, Compiled]


@cache
def load_statements() -> Statements:
    """Compile every statement."""
    named, locks = (
        {name: compiled(text) for name, text in load_queries(PACKAGE, kind).items()} for kind in ("name", "lock")
    )
    return Statements(named, locks)


def compiled(text: str) -> Compiled:
    """Put numbers for the parameters of a text.

    >>> compiled("select :a::text, :b where x = :a")
    Compiled(text='select $1::text, $2 where x = $1', names=('a', 'b'), columns=())
    """
    names = tuple(dict.fromkeys(_PARAMETER.findall(text)))
    number = {name: f"${place}" for place, name in enumerate(names, 1)}
    read = _RECORDSET.search(text)
    columns = tuple(column.split()[0] for column in read[1].split(",")) if read else ()
    return Compiled(_PARAMETER.sub(lambda m: number[m[1]], text), names, columns)


def _adapted(value: object) -> object:
    match value:
        case [dict(), *_]:
            return dumped(value)
        case str() | [str(), *_]:
            return _without_nul(value)
        case _:
            return value


def dumped(value: object) -> str:
    """Write JSON. PostgreSQL keeps no NUL in texts: a replacement character stands for it."""
    text = orjson.dumps(value).decode()
    return orjson.dumps(_without_nul(value)).decode() if "\\u0000" in text else text


def _without_nul(value: object) -> object:
    match value:
        case str():
            return value.replace(_NUL, _REPLACEMENT)
        case dict():
            return {key: _without_nul(one) for key, one in value.items()}
        case list():
            return [_without_nul(one) for one in value]
        case _:
            return value
