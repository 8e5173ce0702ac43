"""`/api/v1/simulate`."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response

from backend.api.answers import answer
from backend.api.requests import Document, Reads
from backend.api.schemas import SIMULATE_EXAMPLE, body, responses
from backend.errors import FieldProblem, Refused
from backend.service.simulate import SimulateRequest
from backend.service.simulate_views import Simulation

router = APIRouter(tags=["simulate"])


@router.post(
    "/simulate",
    responses=responses({200: Simulation}, 400, 413),
    openapi_extra=body(SimulateRequest, example=SIMULATE_EXAMPLE),
)
async def simulate_range(caller: Reads, given: Document) -> Response:
    """Replay schedules over a range without firing: starts per minute, peak, overlaps, what an outage costs."""
    if given is None:
        raise Refused([FieldProblem("body", "it is empty", 'send {"from": …, "to": …}')])
    # One at a time: it is a matter of seconds of a processor that has schedules to fire.
    async with caller.context.simulating:
        simulation = await caller.simulations.simulate(given, caller.now)
    return answer(await asyncio.to_thread(simulation.model_dump, mode="json"))
