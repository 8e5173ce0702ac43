"""`/api/v1/simulate`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import APIRouter, Response
from starlette.exceptions import HTTPException

from backend.api.answers import answer
from backend.api.requests import Document, Reads
from backend.api.schemas import SIMULATE_EXAMPLE, body, responses
from backend.errors import FieldProblem, Refused
from backend.model.ids import NamespaceId
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
    with _turn(caller.context.simulated, caller.store.namespace):
        async with caller.context.simulating:
            simulation = await caller.simulations.simulate(given, caller.now)
    return answer(await asyncio.to_thread(simulation.model_dump, mode="json"))


@contextmanager
def _turn(taken: set[NamespaceId], namespace: NamespaceId) -> Iterator[None]:
    """Let a namespace wait in one place only, so that nobody waits for more than one simulation of each other."""
    if namespace in taken:
        text = f"a simulation of the namespace {namespace!r} is on its way; wait for its answer"
        raise HTTPException(429, text, {"Retry-After": "5"})
    taken.add(namespace)
    try:
        yield
    finally:
        taken.discard(namespace)
