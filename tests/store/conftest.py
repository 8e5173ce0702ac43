"""A world of its own for each test of the store, on every kind of database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from backend.store.open import open_store
from tests.databases import KINDS, database
from tests.store.world import StillClock, World


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "scheduler.db"


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database(request.param, tmp_path) as url:
        yield url


@pytest.fixture
async def world(url: str) -> AsyncIterator[World]:
    clock = StillClock()
    store = await open_store(url, clock=clock)
    try:
        yield World(store, clock, url)
    finally:
        store.close()
