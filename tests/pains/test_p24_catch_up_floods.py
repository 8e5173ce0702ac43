"""P24: after a sleep every missed tick runs at once."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.server import Server, until
from tests.acceptance.sink import Sink, listening_sink

HOUR = 3600
CLOCKED = ("-m", "tests.acceptance.clocked")


def sleep_for_an_hour(folder: Path, sink: Sink) -> None:
    """Create three schedules of every second an hour ago, and stop at once."""
    with Server(folder, command=(*CLOCKED, str(-HOUR), "1", "30")) as server:
        server.ready()
        every = {"triggers": [{"kind": "interval", "every": "1s"}], "overlap_policy": "allow_all"}
        server.create("default", sink.target("/default"), **every | {"misfire_threshold": "1s"})
        server.create("all", sink.target("/all"), **every | {"misfire_threshold": "1s", "misfire_policy": "fire_all"})
        assert server.stop() == 0
    sink.seen.clear()


def test_after_an_hour_asleep_a_schedule_of_every_second_does_not_run_3600_times(tmp_path: Path) -> None:
    with listening_sink() as sink:
        sleep_for_an_hour(tmp_path, sink)
        with Server(tmp_path) as server:
            server.ready()
            count = "select count(*) from runs r join schedules s on s.key = r.schedule_key where s.id = ? and "
            until("3 fires after the sleep", lambda: len(sink.at("/default")) >= 3)
            for schedule in ("default", "all"):
                server.post(f"/schedules/{schedule}/pause")
            # At most the seconds that this has been up, and one for the hour.
            assert len(sink.at("/default")) < 30
            missed = server.query(
                "select sum(case when r.missed_count > 1 then r.missed_count else 1 end) "
                "from runs r join schedules s on s.key = r.schedule_key where s.id = 'default' and reason = 'missed'"
            )
            assert HOUR - 60 < missed[0][0] < HOUR + 60
            assert 1000 <= server.query(count + "reason is null and chained = 1", "all")[0][0] < 1060
            dropped = server.query(
                "select sum(case when r.missed_count > 1 then r.missed_count else 1 end) "
                "from runs r join schedules s on s.key = r.schedule_key where s.id = 'all' and reason = 'cap'"
            )
            assert HOUR - 1060 < dropped[0][0] < HOUR - 940
            # Twice the schedule's own rate, one after another: no flood either.
            caught_up = [request.at for request in sink.at("/all")]
            assert len(caught_up) < 60
            server.kill()
