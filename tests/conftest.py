"""Fixtures that every floor of the tests shares."""

from __future__ import annotations

import signal
from typing import Any

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say which histories the long simulation runs: `make soak SOAK="--seeds 1000000 --first-seed 5000"`."""
    parser.addoption("--seeds", type=int, default=20_000, help="histories of the long simulation")
    parser.addoption("--first-seed", type=int, default=0, help="the first of them")


def pytest_configure() -> None:
    """Let the processes that tests start have a SIGINT of their own, also when we run in the background.

    A shell starts what it puts into the background with SIGINT ignored, which children inherit; a handler they do not.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
