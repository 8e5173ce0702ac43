"""How answers leave: JSON by orjson, problem documents (RFC 9457) for everything that is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

import orjson
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

from backend import errors
from backend.events import LimitReached
from backend.service.validation import problem_of

PROBLEM = "application/problem+json"

STATUS: Mapping[type[errors.SchedulerError], HTTPStatus] = {
    errors.Malformed: HTTPStatus.BAD_REQUEST,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.Refused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.Unauthorized: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.PreconditionFailed: HTTPStatus.PRECONDITION_FAILED,
    errors.OverLimit: HTTPStatus.TOO_MANY_REQUESTS,
    errors.StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ClockAhead: HTTPStatus.SERVICE_UNAVAILABLE,
}


class FieldErrorBody(BaseModel):
    """What is wrong with one field, which rule says so, and what would be right."""

    field: str
    rule: str
    fix: str


class LimitBody(BaseModel):
    """A quota or rate that is used up."""

    name: str
    limit: int
    used: int


class ProblemBody(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldErrorBody] | None = Field(default=None, description="Only when fields were refused.")
    limit: LimitBody | None = Field(default=None, description="Only on 429.")
    state: str | None = Field(default=None, description="For a callee whose run is over: where that stands.")
    cancelled: bool | None = Field(default=None, description="For a callee whose run is over: whether to stop.")


def answer(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with JSON."""
    if isinstance(content, BaseModel):
        content = content.model_dump(mode="json")
    return Response(orjson.dumps(content), status, dict(headers or {}), "application/json")


def problem(
    status: int,
    detail: str,
    fields: Sequence[errors.FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, object] | None = None,
) -> Response:
    """Answer with a problem document."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    } | dict(members or {})
    if fields:
        body["errors"] = [{"field": p.field, "rule": p.rule, "fix": p.fix} for p in fields]
    text = orjson.dumps(body, default=repr)
    return Response(text, status, dict(headers or {}), PROBLEM)


async def on_scheduler_error(request: Request, error: Exception) -> Response:
    """Word an error that was raised on purpose."""
    assert isinstance(error, errors.SchedulerError)
    status = next(code for kind, code in STATUS.items() if isinstance(error, kind))
    headers = {}
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        # A person has to set a clock right; a database comes back by itself.
        headers["Retry-After"] = "30" if isinstance(error, errors.ClockAhead) else "1"
    if isinstance(error, errors.OverLimit):
        headers["Retry-After"] = str(error.retry_after)
        request.app.state.context.around.events.emit(LimitReached(error.namespace, error.name))
    fields = error.problems if isinstance(error, errors.Refused) else ()
    return problem(status, _clean(str(error)), fields, headers, error.members)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Word what the framework refuses: no such route, wrong method, a body that is no JSON."""
    assert isinstance(error, HTTPException)
    words = {
        404: "there is no such route; /openapi.json lists them",
        405: f"{request.method} is not possible here; Allow says what is",
    }
    detail = words.get(error.status_code) or str(error.detail)
    headers = {"Allow": ", ".join(_methods_at(request))} if error.status_code == 405 else error.headers
    return problem(error.status_code, detail, headers=headers)


def _methods_at(request: Request) -> list[str]:
    """List what is possible at a path; the framework knows only the first route that fits it."""
    tried = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
    routes = request.app.router.routes
    return [method for method in tried if any(_fits(route, request, method) for route in routes)]


def _fits(route: BaseRoute, request: Request, method: str) -> bool:
    return route.matches({**request.scope, "method": method})[0] is Match.FULL


async def on_bad_query(_: Request, error: Exception) -> Response:
    """Word refused query parameters."""
    assert isinstance(error, RequestValidationError)
    # Places begin with where the parameter stands: query, path or header.
    fields = [problem_of(cast("ErrorDetails", {**detail, "loc": detail["loc"][1:]})) for detail in error.errors()]
    return problem(422, "; ".join(map(str, fields)), fields)


async def on_defect(_: Request, error: Exception) -> Response:
    """Answer for an error nobody raised on purpose, without its text; the server's log has the traceback."""
    return problem(500, f"an internal error occurred ({type(error).__name__}); the server's log has the details")


def _clean(text: str) -> str:
    return text.encode(errors="replace").decode()
