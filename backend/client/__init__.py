"""A client of the REST API: `Client` answers, `AsyncClient` is awaited; both have the same methods.

Results are the server's own models. Importing this imports neither of the server nor of pydantic: models come with
the first answer that is read, aiohttp with the first mention of `AsyncClient`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backend.client.blocking import Client
from backend.client.errors import (
    ClientError,
    Conflict,
    Forbidden,
    NoScheduler,
    NotFound,
    PreconditionFailed,
    Problem,
    RateLimited,
    Refused,
    ServerError,
    Unauthorized,
    Unavailable,
    Unreachable,
)
from backend.client.retry import NEVER, Retry

if TYPE_CHECKING:
    from backend.client.awaiting import AsyncClient

__all__ = [
    "NEVER",
    "AsyncClient",
    "Client",
    "ClientError",
    "Conflict",
    "Forbidden",
    "NoScheduler",
    "NotFound",
    "PreconditionFailed",
    "Problem",
    "RateLimited",
    "Refused",
    "Retry",
    "ServerError",
    "Unauthorized",
    "Unavailable",
    "Unreachable",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - as Python has it
    if name == "AsyncClient":
        from backend.client.awaiting import AsyncClient

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
