"""P26: the history grows without bound."""

from __future__ import annotations

from pathlib import Path

from backend.model.instants import DAY
from tests.acceptance.server import Server, execute, until

TRUE = {"kind": "command", "argv": ["/bin/true"]}


def test_a_server_deletes_what_is_old_by_itself_with_its_attempts_and_keeps_what_is_not(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.ready().create("job", TRUE, overlap_policy="allow_all")
        old, failed, young = (server.post("/schedules/job/trigger")["id"] for _ in range(3))
        server.all_final()
        assert server.stop() == 0
    execute(tmp_path, f"update runs set finished_at = finished_at - {31 * DAY} where id in ('{old}', '{failed}')")
    execute(tmp_path, f"update runs set state = 'failed' where id = '{failed}'")
    with Server(tmp_path) as server:
        until("its end", lambda: server.ready().ask("GET", f"/runs/{old}").status == 404)
        assert server.get(f"/runs/{failed}")["state"] == "failed", "failures are kept for ninety days"
        assert server.get(f"/runs/{young}")["state"] == "succeeded"
        assert server.query("select count(*) from attempts") == [(2,)]
        found = server.get("/audit/occurrences")
        assert (found["missing_count"], found["doubled_count"]) == (0, 0)
        assert server.stop() == 0
