"""Fixtures that every floor of the tests shares."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.databases import KINDS, POSTGRES, SQLITE, everything_on


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run on every kind of database what uses one, or is marked so, unless it says why it is about one kind."""
    if metafunc.definition.get_closest_marker("each_database") and "database_of_servers" not in metafunc.fixturenames:
        metafunc.fixturenames.insert(0, "database_of_servers")
    if "database_of_servers" in metafunc.fixturenames:
        kinds = _kinds(metafunc.definition)
        ids = kinds if len(kinds) > 1 else [pytest.HIDDEN_PARAM]
        metafunc.parametrize("database_of_servers", kinds, indirect=True, scope="module", ids=ids)


def _kinds(test: pytest.Item) -> Sequence[str]:
    for name, kind in (("sqlite_only", SQLITE), ("postgres_only", POSTGRES)):
        if marker := test.get_closest_marker(name):
            assert marker.args, f"{test.nodeid}: say why it is {name}"
            return [kind]
    return KINDS


@pytest.fixture(scope="module")
def database_of_servers(request: pytest.FixtureRequest) -> Iterator[str]:
    """Choose the databases of all that is opened by its folder; answers their kind."""
    with everything_on(request.param):
        yield request.param


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say which histories the long simulation runs: `make soak SOAK="--seeds 1000000 --first-seed 5000"`."""
    parser.addoption("--seeds", type=int, default=20_000, help="histories of the long simulation")
    parser.addoption("--first-seed", type=int, default=0, help="the first of them")


def pytest_configure() -> None:
    """Let the processes that tests start have a SIGINT of their own, also when we run in the background.

    A shell starts what it puts into the background with SIGINT ignored, which children inherit; a handler they do not.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
