"""Health, open without a key, and metrics, outside the prefix."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.security import SecurityScopes

from backend.api.answers import answer
from backend.api.context import Context
from backend.api.requests import anywhere, principal
from backend.api.schemas import refusals
from backend.model.access import Scope

router = APIRouter(tags=["health"])


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


def _to(request: Request, content: object, status: int) -> Response:
    """Answer GET, or HEAD with the same headers and no body."""
    response = answer(content, status)
    if request.method == "HEAD":
        response.body = b""
    return response


@router.head("/livez", include_in_schema=False)
@router.get("/livez", responses={503: {"description": "The engine's heartbeat has stopped."}})
async def livez(request: Request) -> Response:
    """Say whether the engine's heartbeat goes on; restart the server if not."""
    health = _context(request).health()
    return _to(
        request, {"status": "ok" if health.live else health.status, **health.details}, 200 if health.live else 503
    )


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", responses={503: {"description": "Starting, draining, or the engine does not turn."}})
async def readyz(request: Request) -> Response:
    """Say whether the engine turns and requests are welcome."""
    health = _context(request).health()
    return _to(request, {"status": health.status, **health.details}, 200 if health.ready else 503)


@router.head("/health_check", include_in_schema=False)
@router.get("/health_check", responses={503: {"description": "Not ready."}})
async def health_check(request: Request) -> Response:
    """Say "OK" when ready."""
    health = _context(request).health()
    return _to(request, "OK" if health.ready else health.status, 200 if health.ready else 503)


async def scraper(request: Request) -> None:
    """Insist on a key that may read everything, unless metrics are for everybody."""
    if not _context(request).metrics_public:
        await anywhere(await principal(request, SecurityScopes([Scope.READ])))


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    dependencies=[Depends(scraper)],
    responses=refusals(401, 403, 503),
    openapi_extra={"security": [{}, {"bearer": ["read"]}, {"key": ["read"]}]},
)
async def metrics(request: Request) -> Response:
    """Give metrics in Prometheus' text format; without a key only where the server's settings say so."""
    content, media_type = await _context(request).metrics()
    return Response(content, media_type=media_type)
