"""What the driver raises, in the words of the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from backend.errors import ConfigurationError, StoreUnavailable
from backend.store.postgres.url import NAME

# By the first two characters of the SQLSTATE: connection, resources, limits, operator intervention, system.
_GONE_CLASSES = frozenset({"08", "53", "54", "57", "58"})
# Serialisation and deadlock; lock timeout; idle in transaction; read-only standby; a plan older than a migration.
_GONE_STATES = frozenset({"40001", "40P01", "55P03", "55006", "25P03", "25006", "0A000"})
# Neither a wait nor another try would help.
_REFUSED_CLASSES = frozenset({"28", "3D", "42"})


@contextmanager
def answering() -> Iterator[None]:
    """Raise StoreUnavailable for what may pass by itself; nothing of the transaction has been written then.

    After a commit whose answer never came, it may have been: whoever asks again finds it.
    """
    try:
        yield
    except asyncpg.PostgresError as error:
        if _is_gone(error):
            raise StoreUnavailable(f"the database did not answer: {error}") from error
        raise
    except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise StoreUnavailable(f"the database did not answer: {str(error) or type(error).__name__}") from error


def _is_gone(error: asyncpg.PostgresError) -> bool:
    state = str(error.sqlstate or "")
    return state[:2] in _GONE_CLASSES or state in _GONE_STATES


@contextmanager
def opening() -> Iterator[None]:
    """Raise ConfigurationError for what no wait will mend, StoreUnavailable for the rest."""
    try:
        with answering():
            yield
    except asyncpg.PostgresError as error:
        if str(error.sqlstate or "")[:2] in _REFUSED_CLASSES:
            raise ConfigurationError(f"{NAME}: the database refused ({error}), so mend that or name another") from None
        raise
    except (asyncpg.ClientConfigurationError, ValueError) as error:
        raise ConfigurationError(f"{NAME}: it cannot be used ({error}), so give another") from None
