"""`/api/v1/stats`."""

from __future__ import annotations

from fastapi import APIRouter, Response

from backend.api.answers import answer
from backend.api.requests import Reads
from backend.api.schemas import responses
from backend.service.stats import StatsView, stats_view

router = APIRouter(prefix="/stats", tags=["stats"])


@router.get("", responses=responses({200: StatsView}, 404))
async def get_stats(caller: Reads) -> Response:
    """Show how the namespace is doing: counts, lateness, backlog, failures, limits with their use."""
    return answer(stats_view(caller.store.namespace, await caller.store.stats()))
