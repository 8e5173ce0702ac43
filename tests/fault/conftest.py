"""One PostgreSQL that may be killed, for all fault tests of a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.cluster import Cluster
from tests.fault.stage import Stage, staged


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def stage(tmp_path: Path, cluster: Cluster) -> Iterator[Stage]:
    with staged(tmp_path, cluster) as stage:
        yield stage
