"""One PostgreSQL that may be killed, for all fault tests of one worker of the test run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.cluster import Cluster
from tests.fault.stage import Stage, staged


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what breaks real servers, so that `make faults` finds it."""
    for item in items:
        if {"cluster", "stage"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.fault)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def stage(tmp_path: Path, cluster: Cluster) -> Iterator[Stage]:
    with staged(tmp_path, cluster) as stage:
        yield stage
