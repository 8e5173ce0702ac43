"""What a postgresql:// URL says: where the database is, and how it is to be used."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, urlencode, urlsplit

from backend.database_url import CONNECT_TIMEOUT, POOL, SCHEMA, read_options
from backend.errors import ConfigurationError, FieldError

NAME = "SCHEDULER_DATABASE_URL"
_SCHEMES = ("postgresql", "postgres")


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

    @property
    def application(self) -> str:
        """Name our sessions, for operators and for whoever has to tell them from others'; PostgreSQL keeps 63 bytes."""
        return f"scheduler/{self.schema}"


def is_postgres(url: str) -> bool:
    """Tell whether a URL names a PostgreSQL database."""
    return url.startswith(tuple(f"{scheme}://" for scheme in _SCHEMES))


def read_url(url: str) -> Target:
    """Read a URL; ConfigurationError names what is wrong with it, and never the URL, which may hold a password."""
    try:
        options = read_options(url)
    except FieldError as error:
        raise ConfigurationError(f"{NAME}: {error.rule}, so {error.fix}") from None
    dsn = _dsn(urlsplit(url), options.driver)
    return Target(dsn, options.schema, options.pool_size, options.connect_timeout, options.pooled)


def _dsn(parts: SplitResult, options: dict[str, str]) -> str:
    # By hand: urlunsplit leaves out the slashes of an empty host, which stands for a socket.
    return f"postgresql://{parts.netloc}{parts.path}" + (f"?{urlencode(options)}" if options else "")
