"""What a postgresql:// URL says: where the database is, and how it is to be used."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from backend.errors import ConfigurationError

NAME = "SCHEDULER_DATABASE_URL"
SCHEMA = "scheduler"
POOL, MOST_CONNECTIONS = 10, 1000
CONNECT_TIMEOUT, LONGEST_CONNECT = 5, 300
_SCHEMA = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,47}")
_SCHEMES = ("postgresql", "postgres")
_DRIVER = frozenset(
    {"host", "port", "user", "password", "dbname", "database", "passfile", "service", "servicefile", "krbsrvname"}
    | {"sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation"}
    | {"ssl_min_protocol_version", "ssl_max_protocol_version", "target_session_attrs", "gsslib"}
)
_OURS = frozenset({"schema", "pgbouncer", "pool_size", "connection_limit", "connect_timeout"})
_IGNORED = frozenset({"pool_timeout", "statement_cache_size", "socket_timeout", "application_name", "options"})


@dataclass(frozen=True, slots=True)
class Target:
    """A database, the schema in it, and how to connect. `pooled`: a pooler stands before it in transaction mode."""

    dsn: str
    schema: str = SCHEMA
    pool_size: int = POOL
    connect_timeout: int = CONNECT_TIMEOUT
    pooled: bool = False

    @property
    def channel(self) -> str:
        """Name the channel on which servers of this schema wake each other."""
        return f"scheduler_{self.schema}"


def is_postgres(url: str) -> bool:
    """Tell whether a URL names a PostgreSQL database."""
    return url.startswith(tuple(f"{scheme}://" for scheme in _SCHEMES))


def read_url(url: str) -> Target:
    """Read a URL; ConfigurationError names what is wrong with it, and never the URL, which may hold a password."""
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        _ = parts.port
    except ValueError:
        raise ConfigurationError(f"{NAME}: it is not a URL, so give postgresql://USER:PASSWORD@HOST/DATABASE") from None
    for name in options.keys() - _DRIVER - _OURS - _IGNORED:
        raise ConfigurationError(f"{NAME}: the option {name!r} is not known, so leave it out")
    schema = options.get("schema", SCHEMA)
    if not _SCHEMA.fullmatch(schema):
        raise ConfigurationError(f"{NAME}: schema= is no plain name, so give letters, digits and _, at most 48")
    size = _number(options, "connection_limit", POOL, MOST_CONNECTIONS)
    return Target(
        _dsn(parts, {name: value for name, value in options.items() if name in _DRIVER}),
        schema,
        _number(options, "pool_size", size, MOST_CONNECTIONS),
        _number(options, "connect_timeout", CONNECT_TIMEOUT, LONGEST_CONNECT),
        options.get("pgbouncer", "false").lower() == "true" or options.get("statement_cache_size") == "0",
    )


def _dsn(parts: SplitResult, options: dict[str, str]) -> str:
    # By hand: urlunsplit leaves out the slashes of an empty host, which stands for a socket.
    return f"postgresql://{parts.netloc}{parts.path}" + (f"?{urlencode(options)}" if options else "")


def _number(options: dict[str, str], name: str, default: int, highest: int) -> int:
    text = options.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= highest:
        raise ConfigurationError(f"{NAME}: {name}= is not accepted, so give a whole number from 1 to {highest}")
    return int(text)
