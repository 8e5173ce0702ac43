"""P8: a deploy deleted 268 schedules, because it could not read their rows."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.server import Server, execute, until
from tests.acceptance.sink import listening_sink

SECONDLY = [{"kind": "interval", "every": "1s"}]
UNREADABLE = {
    "of-a-later-version": '[{"kind": "lunar", "phase": "full"}]',
    "pickled": "gASVKAAAAAAAAACMB2J1aWx0aW5zlIwEZXZhbJST",
    "cut-off": '[{"kind": "inter',
}


def test_what_a_deploy_cannot_read_is_kept_and_shown_and_mended_by_putting_it_again(tmp_path: Path) -> None:
    with listening_sink() as sink:
        with Server(tmp_path, poll_interval="50ms") as before:
            before.ready()
            for id_ in (*UNREADABLE, "neighbour"):
                before.create(id_, sink.target(f"/{id_}"), triggers=SECONDLY)
            assert before.stop() == 0
        for id_, triggers in UNREADABLE.items():
            execute(tmp_path, f"update schedules set triggers = '{triggers}' where id = '{id_}'")
        with Server(tmp_path, poll_interval="50ms") as after:
            after.ready()
            until("all in error", lambda: all(after.get(f"/schedules/{i}")["state"] == "error" for i in UNREADABLE))
            listed = {item["id"]: item for item in after.get("/schedules")["items"]}
            assert set(listed) == {*UNREADABLE, "neighbour"}
            assert all(listed[id_]["error"] for id_ in UNREADABLE)
            fired = len(sink.at("/neighbour"))
            until("the neighbour's next fire", lambda: len(sink.at("/neighbour")) > fired)
            for id_ in UNREADABLE:
                mended = {"triggers": SECONDLY, "target": sink.target(f"/{id_}"), "tags": {"mended": "yes"}}
                assert after.ask("PUT", f"/schedules/{id_}", mended).body["state"] == "active"
            assert after.stop() == 0
