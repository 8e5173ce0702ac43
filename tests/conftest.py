"""Fixtures that every floor of the tests shares."""

from __future__ import annotations

import signal
from typing import Any

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


def pytest_configure() -> None:
    """Let the processes that tests start have a SIGINT of their own, also when we run in the background.

    A shell starts what it puts into the background with SIGINT ignored, which children inherit; a handler they do not.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
