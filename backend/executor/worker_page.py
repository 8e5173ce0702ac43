"""What a worker alone answers on a port of its own: whether it lives, and its metrics."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from backend.executor.scrape import ask_database
from backend.observe.metrics import Metrics
from backend.store.port import Store
from backend.worker.loop import Worker

FALTERING = 5.0
"""Seconds after which a worker whose turns fail is not ready; it goes on trying."""


@dataclass(frozen=True, slots=True)
class WorkerPage:
    """An ASGI application with `/livez`, `/readyz` and `/metrics`. `patience` in seconds."""

    store: Store
    worker: Worker
    metrics: Metrics
    patience: float

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI
        """Answer."""
        del receive
        if scope["type"] != "http":
            return
        routes: dict[str, Callable[[], Awaitable[tuple[int, str, bytes]]]] = {
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
        }
        status, kind, content = await routes.get(scope["path"], _nothing)()
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind.encode())]})
        await send({"type": "http.response.body", "body": content if scope["method"] != "HEAD" else b""})

    async def _livez(self) -> tuple[int, str, bytes]:
        return self._health(well=self._lives())

    async def _readyz(self) -> tuple[int, str, bytes]:
        claiming = self.worker.claiming
        return self._health(well=self._lives() and claiming.first_turn.is_set() and not claiming.falters(FALTERING))

    def _lives(self) -> bool:
        return self.worker.claiming.silence() < self.patience

    def _health(self, *, well: bool) -> tuple[int, str, bytes]:
        body = {
            "status": "ok" if well else "not ok",
            "worker_silence_seconds": round(self.worker.claiming.silence(), 3),
            "attempts_running": self.worker.active,
        }
        return 200 if well else 503, "application/json", json.dumps(body).encode()

    async def _metrics(self) -> tuple[int, str, bytes]:
        await ask_database(self.store.admin(), self.metrics)
        self.metrics.set_silence({loop.name: loop.silence() for loop in (self.worker.claiming, self.worker.beating)})
        content, content_type = self.metrics.render()
        return 200, content_type, content


async def _nothing() -> tuple[int, str, bytes]:
    return 404, "application/json", b'{"status": "there is only /livez, /readyz and /metrics"}'
