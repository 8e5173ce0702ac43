"""P11: a restart arms interval jobs anew, so that frequent deploys starve them."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.server import Server
from tests.acceptance.sink import listening_sink


def test_neither_restarts_nor_registering_again_move_the_next_time_of_an_interval(tmp_path: Path) -> None:
    with listening_sink() as sink:
        definition = {"triggers": [{"kind": "interval", "every": "1h"}], "target": sink.target()}
        with Server(tmp_path) as server:
            first = server.ready().ask("PUT", "/schedules/hourly", definition).body
            assert server.stop() == 0
        for crash in (False, True):
            with Server(tmp_path) as server:
                server.ready()
                again = server.ask("PUT", "/schedules/hourly", definition)
                assert again.status == 200
                assert again.body == first
                server.kill() if crash else server.stop()


def test_an_interval_fires_at_its_time_although_the_server_restarts_more_often(tmp_path: Path) -> None:
    with listening_sink() as sink:
        definition = {"triggers": [{"kind": "interval", "every": "3s"}], "target": sink.target("/tick")}
        for _ in range(6):  # lives of about a second each, all shorter than the interval
            with Server(tmp_path) as server:
                server.ready().ask("PUT", "/schedules/often", definition)
                assert server.stop() == 0
            if sink.at("/tick"):
                break
        assert sink.at("/tick"), "it starved"
