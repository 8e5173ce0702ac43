"""Waits for what is to come, with a deadline for a busy machine."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

PATIENCE = 30.0


async def eventually(look: Callable[[], Any]) -> Any:
    """Look again and again until there is something true to see; answers it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            seen = look()
            seen = await seen if inspect.isawaitable(seen) else seen
            if seen:
                return seen
            await asyncio.sleep(0.02)
