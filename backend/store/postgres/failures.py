"""What the driver raises, in the words of the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from backend.errors import ConfigurationError, StoreUnavailable
from backend.store.postgres.url import NAME

# By the first two characters of the SQLSTATE (PostgreSQL's manual, appendix A): connection, resources, operator,
# system; and who may connect to which database: a server that could, until now, keeps what it has and asks again.
_GONE_CLASSES = frozenset({"08", "28", "3D", "53", "57", "58"})
_GONE_STATES = frozenset(
    {
        "25006",  # read-only: a standby, until it is promoted
        "25P03",  # idle in transaction for too long
        "25P04",  # in a transaction for too long
        "40001",  # serialisation
        "40003",  # nobody knows whether it was completed
        "40P01",  # deadlock
        "55006",  # in use
        "55P03",  # lock timeout
        "72000",  # a snapshot that is too old
    }
)
# Of those classes, what the same statement would meet again.
_STAYS = frozenset(
    {
        "53400",  # a limit of the configuration, such as for temporary files
        "58P01",  # a file is missing, there twice, or has too long a name: the installation or the data are damaged
        "58P02",
        "58P03",
    }
)
# At the start, neither a wait nor another try would help: features, authorisation, no such database or schema, syntax
# and rights.
_REFUSED_CLASSES = frozenset({"0A", "28", "3D", "3F", "42"})
_OUTDATED = asyncpg.InvalidCachedStatementError
"""A plan older than a migration, which is made anew; its state is that of features not supported."""
# Raised by the driver itself, of what it was given or asked for, not of what became of the connection.
_MISUSED = (ValueError, asyncpg.UnsupportedClientFeatureError, asyncpg.UnsupportedServerFeatureError)


@contextmanager
def answering() -> Iterator[None]:
    """Raise StoreUnavailable for what may pass by itself; nothing of the transaction has been written then.

    After a commit whose answer never came, it may have been: whoever asks again finds it. What does not pass is raised
    as it is: a result that the database cannot take must not be offered for ever.
    """
    try:
        yield
    except asyncpg.PostgresError as error:
        if passes(error):
            raise StoreUnavailable(f"the database did not answer: {error}") from error
        raise
    except OSError as error:
        raise _unavailable(error) from error
    except _MISUSED:
        raise
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise _unavailable(error) from error


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"the database did not answer: {str(error) or type(error).__name__}")


def passes(error: asyncpg.PostgresError) -> bool:
    """Say whether the same statement may succeed later, with nothing mended in this program or in what it was given."""
    if isinstance(error, _OUTDATED):
        return True
    state = str(error.sqlstate or "")
    return state in _GONE_STATES or (state[:2] in _GONE_CLASSES and state not in _STAYS)


@contextmanager
def opening() -> Iterator[None]:
    """Raise ConfigurationError for what no wait will mend, StoreUnavailable for the rest."""
    try:
        with answering(), _refusing():
            yield
    except _MISUSED as error:
        raise ConfigurationError(f"{NAME}: it cannot be used ({error}), so give another") from None


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except asyncpg.PostgresError as error:
        if str(error.sqlstate or "")[:2] in _REFUSED_CLASSES and not isinstance(error, _OUTDATED):
            raise ConfigurationError(f"{NAME}: the database refused ({error}), so mend that or name another") from None
        raise
