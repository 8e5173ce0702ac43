"""The options of a postgresql:// URL: which there are, and what they may say."""

from __future__ import annotations

import difflib
import re
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from backend.errors import FieldError

SCHEMA = "scheduler"
POOL, MOST_CONNECTIONS = 10, 1000
CONNECT_TIMEOUT, LONGEST_CONNECT = 5, 300
_SCHEMA = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,47}")
_DRIVER = frozenset(
    {"host", "port", "user", "password", "dbname", "database", "passfile", "service", "servicefile", "krbsrvname"}
    | {"sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation"}
    | {"ssl_min_protocol_version", "ssl_max_protocol_version", "target_session_attrs", "gsslib"}
)
_OURS = frozenset({"schema", "pgbouncer", "pool_size", "connection_limit", "connect_timeout"})
_IGNORED = frozenset({"pool_timeout", "statement_cache_size", "socket_timeout", "application_name", "options"})


class Options(NamedTuple):
    """What the options say; `driver` are those that are passed on. `pooled`: see `pgbouncer=`."""

    driver: dict[str, str]
    schema: str = SCHEMA
    pool_size: int = POOL
    connect_timeout: int = CONNECT_TIMEOUT
    pooled: bool = False


def read_options(url: str) -> Options:
    """Read the options of a URL; FieldError names the one that is wrong, and never the URL: it may hold a password."""
    try:
        parts = urlsplit(url)
        given = dict(parse_qsl(parts.query, keep_blank_values=True))
        _ = parts.port
    except ValueError:
        raise FieldError("it is not a URL", "give postgresql://USER:PASSWORD@HOST/DATABASE") from None
    for name in sorted(given.keys() - _DRIVER - _OURS - _IGNORED):
        raise _unknown(name)
    schema = given.get("schema", SCHEMA)
    if not _SCHEMA.fullmatch(schema):
        raise FieldError("schema= is no plain name", "give letters, digits and _, at most 48")
    size = _number(given, "connection_limit", POOL, MOST_CONNECTIONS)
    return Options(
        {name: value for name, value in given.items() if name in _DRIVER},
        schema,
        _number(given, "pool_size", size, MOST_CONNECTIONS),
        _number(given, "connect_timeout", CONNECT_TIMEOUT, LONGEST_CONNECT),
        given.get("pgbouncer", "false").lower() == "true" or given.get("statement_cache_size") == "0",
    )


def _unknown(name: str) -> FieldError:
    (nearest,) = difflib.get_close_matches(name.lower(), _OURS | _DRIVER, n=1, cutoff=0)
    return FieldError(f"its option {name[:40]!r} is not known; the nearest is {nearest}=", "write that or leave it out")


def _number(given: dict[str, str], name: str, default: int, highest: int) -> int:
    text = given.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= highest:
        raise FieldError(f"{name}= is not accepted", f"give a whole number from 1 to {highest}")
    return int(text)
