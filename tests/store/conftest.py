"""A world of its own for each test of the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backend.store.open import open_store
from tests.store.world import StillClock, World


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "scheduler.db"


@pytest.fixture
async def world(path: Path) -> AsyncIterator[World]:
    clock = StillClock()
    store = await open_store(f"sqlite:///{path}", clock=clock)
    try:
        yield World(store, clock, path)
    finally:
        store.close()
