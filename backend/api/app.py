"""Puts the HTTP surface together."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from backend.api import answers
from backend.api.context import Context
from backend.api.docs_page import POLICY, docs_page
from backend.api.request_ids import PREFIX, Observed
from backend.api.requests import scopes_of
from backend.api.routes import (
    audit,
    calendars,
    callbacks,
    egress,
    events,
    explain,
    health,
    keys,
    maintenance,
    namespaces,
    notifications,
    preview,
    runs,
    schedules,
    secrets,
    simulate,
    stats,
    workers,
)
from backend.api.schemas import BODIES
from backend.clock import SystemClock
from backend.errors import SchedulerError
from backend.service.last_use import LastUse
from backend.service.rates import Rates
from backend.service.times import PreviewRequest

NOUNS = (
    schedules,
    maintenance,
    explain,
    runs,
    callbacks,
    calendars,
    secrets,
    egress,
    preview,
    simulate,
    audit,
    workers,
    namespaces,
    keys,
    notifications,
    events,
    stats,
)
DESCRIPTION = """Schedules in, runs out: every occurrence becomes exactly one recorded run.

Instants are RFC 3339 in UTC. Durations are seconds, or text such as `90s`, `15m`, `2h`, `1d`, `PT15M`.
Every refusal is a problem document (RFC 9457); on 422 its `errors` name field, rule and fix.
Every answer has an `X-Request-Id`: yours, if you send one of up to 128 visible ASCII characters.
"""
TAGS = [
    {
        "name": "schedules",
        "description": "When something runs, what it is, and what becomes of it.",
    },
    {"name": "runs", "description": "What became of each occurrence, with its attempts and output."},
    {"name": "calendars", "description": "Days such as holidays, kept once, which schedules exclude by name."},
    {"name": "secrets", "description": "Values that targets refer to by name; kept encrypted, never shown."},
    {"name": "egress", "description": "Which hosts the http targets of the namespace may call."},
    {"name": "audit", "description": "Whether the record is complete, and nothing in it twice."},
    {"name": "stats", "description": "How a namespace is doing, in figures."},
    {"name": "workers", "description": "Who is at work, on which host, and on how many runs."},
    {"name": "namespaces", "description": "Tenants: nothing in one is seen from another."},
    {"name": "keys", "description": "Who may come in, to which namespace, to do what, and until when."},
    {"name": "notifications", "description": "Who is told what, and how; and what has been sent."},
    {"name": "events", "description": "What happens, as it happens."},
    {"name": "preview", "description": "Try triggers out; nothing is stored."},
    {"name": "simulate", "description": "Foresee the load of a range; nothing fires."},
    {"name": "health", "description": "For whoever watches the server. Open without a key."},
]


def create_app(context: Context) -> FastAPI:
    """Build the application on what the wiring gives."""
    app = FastAPI(
        # On by default and dear: a span per request without anybody to read it.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
        title="Agent Scheduler",
        description=DESCRIPTION,
        version=context.version,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        openapi_tags=TAGS,
    )
    app.state.context = context
    app.state.describing = Lock()
    app.state.last_use = LastUse()
    app.state.scrapers = set()
    app.state.rates = Rates(SystemClock(), context.requests_per_second)
    app.include_router(health.router)
    for noun in NOUNS:
        app.include_router(noun.router, prefix=PREFIX)
    app.add_exception_handler(SchedulerError, answers.on_scheduler_error)
    app.add_exception_handler(HTTPException, answers.on_http_exception)
    app.add_exception_handler(RequestValidationError, answers.on_bad_query)
    app.add_exception_handler(Exception, answers.on_defect)
    # Written beside the loop, as functions that are not async are called: it takes half a second.
    app.add_route("/openapi.json", lambda _: _described(app), methods=["GET"], include_in_schema=False)
    app.add_route("/docs", lambda _: _docs(app), methods=["GET"], include_in_schema=False)
    stack = app.build_middleware_stack
    # Around all else: what the framework adds by its own means does not see answers to errors that nobody foresaw.
    app.build_middleware_stack = lambda: Observed(stack(), SystemClock(), context.around.events)  # type: ignore[method-assign]
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign] # the framework's documented way
    return app


def _described(app: FastAPI) -> Response:
    return Response(orjson.dumps(app.openapi()), media_type="application/json")


def _docs(app: FastAPI) -> HTMLResponse:
    if not hasattr(app.state, "docs"):
        app.state.docs = docs_page(app.openapi())
    return HTMLResponse(app.state.docs, headers={"Content-Security-Policy": POLICY})


def _openapi(app: FastAPI) -> dict[str, Any]:
    with app.state.describing:  # once: many at a time would leave the loop nothing of the processor
        if app.openapi_schema is None:
            app.openapi_schema = _documented(app)
    return app.openapi_schema


def _documented(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=TAGS
    )
    models: tuple[type[BaseModel], ...] = (*BODIES, PreviewRequest, answers.ProblemBody)
    _, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    components = schema.setdefault("components", {})
    components.setdefault("schemas", {}).update(definitions["$defs"])
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    for path, method, scopes in guarded_operations():
        schema["paths"][path][method]["security"] = [{"bearer": scopes}, {"key": scopes}]
    return schema


def guarded_operations() -> Iterator[tuple[str, str, list[str]]]:
    """List path, method and scopes of every operation below the prefix; none of them is open."""
    for route in (route for noun in NOUNS for route in noun.router.routes):
        assert isinstance(route, APIRoute)
        for method in route.methods or ():
            yield PREFIX + route.path_format, method.lower(), sorted(set(scopes_of(route.dependant)))
