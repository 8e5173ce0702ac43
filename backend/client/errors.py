"""Every error that a client raises.

ClientError
├── Unreachable             no answer came: refused, broken off, or too late
│   └── NoScheduler         something answers, but not like a scheduler: a redirect, somebody's page
└── Problem                 the server answered with a problem document (RFC 9457)
    ├── Refused             400, 413, 415, 422: the request breaks a rule; `problems` names fields
    ├── Unauthorized        401: no key that is in force
    ├── Forbidden           403: the key may not do that
    ├── NotFound            404: no such thing in this namespace
    ├── Conflict            409: the state of the thing forbids it
    ├── PreconditionFailed  412: it has another revision than the one named
    ├── RateLimited         429: a rate or a quota is used up
    └── ServerError         5xx: it could not, and it was not the request's fault
        └── Unavailable     503: starting, draining, or its database does not answer
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from backend.errors import FieldProblem

PASSING = frozenset({502, 503, 504})
"""What a server or a proxy answers for a while."""


class ClientError(Exception):
    """Base of all errors of the client. `maybe_done`: it may have been carried out all the same."""

    maybe_done = False

    @property
    def passes(self) -> bool:
        """Whether the same request may well succeed a little later."""
        return False

    @property
    def retry_after(self) -> float | None:
        """How many seconds the server asks to wait."""
        return None


class Unreachable(ClientError):
    """No answer came."""

    def __init__(self, url: str, why: str, *, maybe_done: bool = False) -> None:
        super().__init__(f"no scheduler answers at {url} ({why})")
        self.url = url
        self.maybe_done = maybe_done

    @property
    def passes(self) -> bool:
        return True


class NoScheduler(Unreachable):
    """Something answers at the URL, but not like a scheduler."""

    def __init__(self, url: str, status: int, location: str | None = None) -> None:
        super().__init__(url, f"HTTP {status}", maybe_done=status in PASSING)
        self.args = (_unlike(url, status, location),)
        self.status = status
        self.location = location

    @property
    def passes(self) -> bool:
        return self.status in PASSING


def _unlike(url: str, status: int, location: str | None) -> str:
    if 300 <= status < 400:
        return f"{url} redirects to {location}"
    return f"{url} answers (HTTP {status}), but not like a scheduler"


class Problem(ClientError):
    """The server said no, and why. `document` is its whole answer."""

    def __init__(self, document: Mapping[str, Any], retry_after: float | None = None) -> None:
        self.document = dict(document)
        self.status = int(document["status"])
        self.detail = str(document.get("detail") or document.get("title") or f"HTTP {self.status}")
        self._retry_after = retry_after
        super().__init__(self.detail)

    @property
    def retry_after(self) -> float | None:
        return self._retry_after


class Refused(Problem):
    """The request breaks a rule; nothing was changed."""

    @property
    def problems(self) -> tuple[FieldProblem, ...]:
        """What is wrong with which field, and what would be right."""
        errors = self.document.get("errors")
        found = (one for one in errors if isinstance(one, dict)) if isinstance(errors, list) else ()
        return tuple(FieldProblem(*(str(one.get(part, "")) for part in ("field", "rule", "fix"))) for one in found)


class Unauthorized(Problem):
    """No key that is in force."""


class Forbidden(Problem):
    """The key may not do that, whether or not it exists."""


class NotFound(Problem):
    """No such thing in this namespace."""


class Conflict(Problem):
    """The state of the thing forbids it, or it exists already."""


class PreconditionFailed(Problem):
    """The thing has another revision than the one named.

    With `maybe_done` it may be our own, made by an earlier try that got no answer. Read it, and decide again.
    """


class RateLimited(Problem):
    """A rate or a quota is used up: `limit` says which, as `{"name", "limit", "used"}`, where the server does."""

    @property
    def passes(self) -> bool:
        # A quota is no matter of time: the server says after how many seconds only where waiting helps.
        return self._retry_after is not None

    @property
    def limit(self) -> dict[str, Any] | None:
        """Which limit it is, and how much of it is used."""
        found = self.document.get("limit")
        return found if isinstance(found, dict) else None


class ServerError(Problem):
    """The server could not, and it was not the request's fault."""

    def __init__(self, document: Mapping[str, Any], retry_after: float | None = None) -> None:
        super().__init__(document, retry_after)
        self.maybe_done = True

    @property
    def passes(self) -> bool:
        return self.status in PASSING


class Unavailable(ServerError):
    """Starting, draining, or the database does not answer. `state` is what the server says of itself, if it does."""

    def __init__(
        self, document: Mapping[str, Any], retry_after: float | None = None, *, state: str | None = None
    ) -> None:
        super().__init__(document, retry_after)
        self.state = state
        self.maybe_done = state is None


KINDS: Mapping[int, type[Problem]] = {
    HTTPStatus.BAD_REQUEST: Refused,
    HTTPStatus.UNAUTHORIZED: Unauthorized,
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.PRECONDITION_FAILED: PreconditionFailed,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Refused,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: Refused,
    HTTPStatus.UNPROCESSABLE_ENTITY: Refused,
    HTTPStatus.TOO_MANY_REQUESTS: RateLimited,
    HTTPStatus.SERVICE_UNAVAILABLE: Unavailable,
}


def problem_of(document: Mapping[str, Any], retry_after: float | None = None) -> Problem:
    """Make the error that a problem document stands for."""
    status = int(document["status"])
    kind = KINDS.get(status) or (ServerError if status >= 500 else Problem)
    return kind(document, retry_after)
