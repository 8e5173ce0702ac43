"""`/api/v1/workers`."""

from __future__ import annotations

from fastapi import APIRouter, Response

from backend.api.answers import answer
from backend.api.requests import Cursor, Limit, ReadsAll
from backend.api.schemas import responses
from backend.service.views import Page
from backend.service.workers import WorkerView, page_of_workers

router = APIRouter(prefix="/workers", tags=["workers"])


@router.get("", responses=responses({200: Page[WorkerView]}))
async def list_workers(caller: ReadsAll, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """List the workers on the database by name, with how many runs each holds; who drained has gone."""
    page = await page_of_workers(caller.context.store.admin(), cursor=cursor, limit=limit)
    return answer(page.model_dump(mode="json"))
