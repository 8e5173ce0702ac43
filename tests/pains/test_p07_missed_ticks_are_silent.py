"""P7: ticks that did not run are silent. Here each of them stands in the ledger with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.acceptance.server import Server, until
from tests.acceptance.sink import Answer, listening_sink

SECONDLY = [{"kind": "interval", "every": "1s"}]


def reasons(server: Server, schedule: str) -> dict[str | None, int]:
    counts: dict[str | None, int] = {}
    for run in server.runs(schedule=schedule):
        counts[run["reason"]] = counts.get(run["reason"], 0) + (max(run["missed"]["count"], 1) if run["reason"] else 1)
    return counts


def instants(server: Server, schedule: str) -> tuple[int, int]:
    """Count the seconds from the first to the last that the ledger knows, and the entries for them."""
    rows: list[Any] = server.query(
        "select min(r.nominal_at), "
        "max(coalesce(case when r.reason is not null then r.missed_last_at end, r.nominal_at)), "
        "sum(case when r.reason is not null and r.missed_count > 1 then r.missed_count else 1 end) "
        "from runs r join schedules s on s.key = r.schedule_key where s.id = ?",
        schedule,
    )
    first, last, entries = rows[0]
    return (last - first) // 1_000_000 + 1, entries


def test_every_tick_that_did_not_run_has_its_reason(tmp_path: Path) -> None:
    with listening_sink() as sink:
        sink.on("/slow", Answer(after=60))
        with Server(tmp_path, lease="1s") as server:
            server.ready().create("slow", sink.target("/slow"), triggers=SECONDLY)
            until("overlap", lambda: reasons(server, "slow").get("overlap", 0) >= 2)
            server.post("/schedules/slow/pause", {"note": "a while"})
            until("pause", lambda: reasons(server, "slow").get("paused", 0) >= 2)
            server.post("/schedules/slow/resume")
            server.kill()
            before = server.query("select count(*) from runs")[0][0]
        with Server(tmp_path, lease="1s") as server:
            server.ready()
            until("new entries", lambda: server.query("select count(*) from runs")[0][0] > before)
            counts = reasons(server, "slow")
            known, entries = instants(server, "slow")
    assert known == entries, counts
    assert set(counts) == {None, "overlap", "paused"}
    assert counts[None] == 1
