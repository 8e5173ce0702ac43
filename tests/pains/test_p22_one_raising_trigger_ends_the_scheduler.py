"""P22: one trigger that raises ends the whole scheduler."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.server import Server, execute, until
from tests.acceptance.sink import listening_sink

SECONDLY = [{"kind": "interval", "every": "1s"}]
POISONS = {
    "no-json": "not json",
    "unknown-kind": '[{"kind": "lunar"}]',
    "bad-cron": '[{"kind": "cron", "expression": "61 * * * *"}]',
    "no-list": "null",
}


def test_schedules_that_cannot_be_planned_stop_alone_and_visibly_and_can_be_mended(tmp_path: Path) -> None:
    with listening_sink() as sink, Server(tmp_path, poll_interval="50ms") as server:
        server.ready()
        for id_ in (*POISONS, "neighbour"):
            server.create(id_, sink.target(f"/{id_}"), triggers=SECONDLY)
        for id_, triggers in POISONS.items():
            execute(tmp_path, f"update schedules set triggers = '{triggers}' where id = '{id_}'")
        until("quarantine", lambda: all(server.get(f"/schedules/{id_}")["state"] == "error" for id_ in POISONS))
        assert all(server.get(f"/schedules/{id_}")["error"] for id_ in POISONS)
        fired = len(sink.at("/neighbour"))
        until("the neighbour's next fires", lambda: len(sink.at("/neighbour")) >= fired + 2)
        assert server.health("/readyz") == 200
        assert server.get("/schedules/neighbour")["state"] == "active"
        before = {id_: len(sink.at(f"/{id_}")) for id_ in POISONS}
        for id_ in POISONS:
            mended = {"triggers": SECONDLY, "target": sink.target(f"/{id_}"), "tags": {"mended": "yes"}}
            assert server.ask("PUT", f"/schedules/{id_}", mended).body["state"] == "active"
        until("fires after the mend", lambda: all(len(sink.at(f"/{id_}")) > n for id_, n in before.items()))
        assert server.stop() == 0
