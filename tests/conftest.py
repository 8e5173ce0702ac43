"""Fixtures that every floor of the tests shares."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.databases import KINDS, SQLITE, placed


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked so on every kind of database."""
    if metafunc.definition.get_closest_marker("each_database"):
        metafunc.fixturenames.append("database_of_servers")
        metafunc.parametrize("database_of_servers", KINDS, indirect=True)


@pytest.fixture
def database_of_servers(request: pytest.FixtureRequest) -> Iterator[str]:
    """Choose the database of the servers that a test starts in its temporary folder; answers its kind."""
    kind = getattr(request, "param", SQLITE)
    with placed(kind, request.getfixturevalue("tmp_path")):
        yield kind


def pytest_configure() -> None:
    """Let the processes that tests start have a SIGINT of their own, also when we run in the background.

    A shell starts what it puts into the background with SIGINT ignored, which children inherit; a handler they do not.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
