"""P10: the port is closed for minutes at the start, since what is slow comes before listening."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.server import Server, free_port, until, write_lock


def test_the_port_is_open_and_says_starting_while_the_database_holds_the_start_up(tmp_path: Path) -> None:
    with Server(tmp_path) as first:
        assert first.ready().stop() == 0
    port = free_port()
    with write_lock(tmp_path):
        server = Server(tmp_path, port=str(port))
        server.at(port)
        until("an open port", lambda: server.health("/livez") == 200)
        assert server.health("/readyz") == 503
    with server:
        server.ready()
        assert server.stop() == 0
