"""A server with nothing to do needs next to nothing."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from tests.acceptance.server import Server

MIB = 1024 * 1024
SETTLING = 3.0
MEASURED = 10.0


def test_idle_it_uses_less_than_120_mb_and_one_percent_of_a_processor(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.ready()
        process = psutil.Process(server.process.pid)
        time.sleep(SETTLING)
        before, began = process.cpu_times(), time.monotonic()
        time.sleep(MEASURED)
        after, seconds = process.cpu_times(), time.monotonic() - began
        used = (after.user + after.system - before.user - before.system) / seconds
        memory = process.memory_info().rss
    print(f"{used:.2%} of a processor, {memory / MIB:.0f} MiB")
    assert used < 0.01
    assert memory < 120 * MIB
